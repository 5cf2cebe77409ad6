"""RSS and Atom feeds as a source: blog posts, comments and forums. They can be read, and not answered."""

"""Google Business Profile as a source: reviews of a company's locations in, the owner's replies out."""

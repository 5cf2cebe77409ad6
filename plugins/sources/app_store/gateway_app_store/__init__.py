"""The App Store as a source: customer reviews of an app, and the one response that each of them has room for."""

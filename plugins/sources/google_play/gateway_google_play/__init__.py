"""Google Play as a source: reviews of an app, and the one reply that each of them has room for."""

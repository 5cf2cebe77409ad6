"""Rules without code: a condition in CEL and what follows from it."""

"""Policies: which are in force, and what they say."""

"""Policies that ask for a second person."""

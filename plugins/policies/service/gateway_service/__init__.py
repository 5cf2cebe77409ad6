"""Policies on service: how fast, as promised, as well in private as in public, and whether it helped."""

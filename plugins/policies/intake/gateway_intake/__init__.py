"""Policies on what comes in: what is critical, what needs no ticket, what many say at once, and what caused it."""

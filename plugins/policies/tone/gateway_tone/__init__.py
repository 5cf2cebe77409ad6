"""Policies on manners: acknowledge first, no argument, listen first."""

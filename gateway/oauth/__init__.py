"""Connecting accounts by OAuth: people sent to providers and back, tokens kept, tokens renewed."""

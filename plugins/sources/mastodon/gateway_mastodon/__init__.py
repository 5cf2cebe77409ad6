"""Mastodon as a source of the helpdesk gateway."""

"""E-mail as a source of the gateway."""

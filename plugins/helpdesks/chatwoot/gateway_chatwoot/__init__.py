"""Chatwoot as a helpdesk of the gateway."""

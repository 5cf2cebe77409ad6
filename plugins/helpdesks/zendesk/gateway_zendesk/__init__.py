"""Zendesk as a helpdesk of the gateway."""

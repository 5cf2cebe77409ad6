"""Freshdesk as a helpdesk of the gateway."""

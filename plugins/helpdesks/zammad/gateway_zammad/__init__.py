"""Zammad as a helpdesk of the gateway."""

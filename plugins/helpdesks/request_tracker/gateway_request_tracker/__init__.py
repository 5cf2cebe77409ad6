"""Request Tracker as a helpdesk of the gateway."""

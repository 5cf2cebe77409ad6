"""The helpdesk integration gateway."""

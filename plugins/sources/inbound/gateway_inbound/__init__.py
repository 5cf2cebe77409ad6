"""Any system as a source: it pushes its interactions as signed webhooks and gets the replies as signed webhooks."""

"""The outgoing HTTP client: budgets, deadlines, size cap and address guard between plugins and the network."""

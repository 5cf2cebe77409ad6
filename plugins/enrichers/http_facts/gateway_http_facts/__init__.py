"""Facts about customers from an address of the company's own, asked for with a signed request."""

"""Time targets: the hours a company keeps, the clocks that count them, and the sweep that says when one runs out."""

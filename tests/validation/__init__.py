"""Are the numbers what they say? Simulations with a known truth, of the functions that make the report's numbers."""

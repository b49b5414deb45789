"""The program from Python: `comparisons.run` and what it returns."""

"""Measuring: from log-probabilities to result rows, and from rows to the numbers of the summary."""

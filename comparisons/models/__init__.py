"""Loading models, and what they are: blocks, weights, where they lie, on which processes."""

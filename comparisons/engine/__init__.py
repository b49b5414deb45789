"""The only code that runs a model."""

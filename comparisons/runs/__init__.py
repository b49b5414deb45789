"""A run on disk: written whole or not at all, read, joined, compared, scored again, cleared up."""

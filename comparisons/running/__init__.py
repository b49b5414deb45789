"""From a specification to a finished run, here or on Ray; and runs joined, compared, scored again, shared."""

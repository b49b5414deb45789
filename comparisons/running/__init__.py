"""From a specification to rows: stacks and settings, what is chosen and fitted, where cells run."""

"""From files that people wrote to items, behaviors and texts."""

"""Behaviors and their items: read from files, checked, cut into parts, fetched."""

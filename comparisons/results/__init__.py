"""A run on disk: its folder, rows and summary, and what makes a cell broken or its questions too few."""

"""What knows nothing of models: errors, files and artifacts on disk, the terminal, texts."""

__version__ = "0.1.0"

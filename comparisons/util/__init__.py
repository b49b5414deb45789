"""What knows nothing of models: errors, files and artifacts on disk, the terminal, texts."""

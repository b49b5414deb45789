"""What cells are asked: a file an evaluation, each a plugin as anybody's may be."""

"""Steering vectors as files: fitted on contrast pairs at every layer, compared, diagnosed, brought in and out."""

from __future__ import annotations

from comparisons.method.vector_files import Origin, Vectors, load_vectors, save_vectors

__all__ = ["Origin", "Vectors", "load_vectors", "save_vectors"]

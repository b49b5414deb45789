"""The vectors to look along: of a file, or fitted on a behavior."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from comparisons.dataset.behaviors import Behavior
    from comparisons.method.vector_files import Vectors
    from comparisons.model.lm import LM


def fitted_vectors(lm: LM, behavior: Behavior) -> Vectors:
    """Mean activation differences of the behavior's contrast pairs, matching minus contrast answer, at every layer.

    Source: Rimsky et al. 2024, section 3.
    """
    from comparisons.engine.activations import contrast_means
    from comparisons.method.vector_files import Vectors

    return Vectors(dict(enumerate(contrast_means(lm, behavior.train).matching.float())))


def vectors_of_file(lm: LM, path: Path) -> tuple[Vectors, str]:
    """The vectors of a file, and what they are in words: the file's name, their behavior and another model of theirs.

    Raises:
        CompareError: the file can't be read, or its vectors don't fit the model's width and layers.
    """
    from comparisons.method.vector_files import load_vectors

    vectors = load_vectors(path).check_model(lm, str(path))
    origin = vectors.origin
    foreign = origin.digest is not None and origin.digest != lm.digest
    told = [origin.behavior, f"fitted on {origin.model}" if foreign else None]
    words = ", ".join(word for word in told if word)
    return vectors, f"the vectors of {path.name}" + (f" ({words})" if words else "")

"""All that a method needs: the plugin interface, and helpers for vectors and for training.

A method is a frozen dataclass whose fields are its settings. What stands here may be imported by anybody's method and
stays; all else in `comparisons` is the program's own.
"""

from __future__ import annotations

from comparisons.dataset.behaviors import Behavior
from comparisons.dataset.items import Item
from comparisons.intervention import Condition, Edit, Intervention
from comparisons.method.conformance import check_method, examine_method
from comparisons.method.interface import Fit, Method, Need, Use, by_measure, use_only
from comparisons.method.recipes import Descent, Questions, Target, Training, epoch_folder, questions
from comparisons.method.training import (
    ADAPTER_FILES,
    TrainedAdapter,
    linear_modules,
    shuffled,
    take_adapter,
    train_adapter,
    train_edit,
)
from comparisons.method.vectors import (
    LayerVector,
    PlacedVector,
    Reading,
    block_outputs,
    contrast_activations,
    contrast_means,
    mean_difference,
    pair_activations,
    prompt_activations,
    read_vector,
    read_vectors,
    reading,
    scaled_like_difference,
    unit,
    vectors_of_file,
    write_vectors,
)
from comparisons.model.lm import LM
from comparisons.model.loading import folder_digest
from comparisons.model.prompts import Turn
from comparisons.util.directions import Direction
from comparisons.util.errors import CompareError
from comparisons.util.files import file_digest
from comparisons.util.hub import local_folder

__all__ = [
    "ADAPTER_FILES",
    "LM",
    "Behavior",
    "CompareError",
    "Condition",
    "Descent",
    "Direction",
    "Edit",
    "Fit",
    "Intervention",
    "Item",
    "LayerVector",
    "Method",
    "Need",
    "PlacedVector",
    "Questions",
    "Reading",
    "Target",
    "TrainedAdapter",
    "Training",
    "Turn",
    "Use",
    "block_outputs",
    "by_measure",
    "check_method",
    "contrast_activations",
    "contrast_means",
    "epoch_folder",
    "examine_method",
    "file_digest",
    "folder_digest",
    "linear_modules",
    "local_folder",
    "mean_difference",
    "pair_activations",
    "prompt_activations",
    "questions",
    "read_vector",
    "read_vectors",
    "reading",
    "scaled_like_difference",
    "shuffled",
    "take_adapter",
    "train_adapter",
    "train_edit",
    "unit",
    "use_only",
    "vectors_of_file",
    "write_vectors",
]

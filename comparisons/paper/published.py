"""What the paper published, and the grid that measures it again; names of methods stand in methods/ alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from comparisons.method.registry import METHODS

MULTIPLIERS = (-1.0, 0.0, 1.0)
"""Of the columns of every published table."""


@dataclass(frozen=True)
class Context:
    """What a vector is added on top of: nothing, a system prompt, a finetuning.

    Attributes:
        name: as the paper's tables call it.
        steered: the stack of the columns -1 and +1.
        plain: stack and direction of the column 0; None for the unchanged model.
    """

    name: str
    steered: str
    plain: tuple[str, str] | None


@dataclass(frozen=True)
class PublishedModel:
    """One model's published numbers.

    Attributes:
        name: of the model.
        blocks: its decoder blocks.
        layer: where its vectors were added, 0-based.
        p_match: behavior -> context -> p(behavior) at the multipliers -1, 0, +1.
        knowledge: behavior -> p(correct) at the same; of `knowledge_set`.
        knowledge_set: its name; None where none was published.
    """

    name: str
    blocks: int
    layer: int
    p_match: Mapping[str, Mapping[str, Sequence[float]]]
    knowledge: Mapping[str, Sequence[float]]
    knowledge_set: str | None


@dataclass(frozen=True)
class Published:
    """The paper's numbers and grid.

    Attributes:
        source: what was published where.
        models: "7b" and "13b".
        contexts: of the multiple-choice tables, in their order.
        stacks, strengths, settings: of the grid, as typed on a command line.
        vector: the paper's method.
        layer_setting: "method.setting" of its layer.
        result_keys: the key in a result file's name -> the method that it stands for.
    """

    source: str
    models: Mapping[str, PublishedModel]
    contexts: tuple[Context, ...]
    stacks: tuple[str, ...]
    strengths: tuple[float, ...]
    settings: tuple[str, ...]
    vector: str
    layer_setting: str
    result_keys: Mapping[str, str]


@cache
def published() -> Published:
    """Reads methods/published.json."""
    file = files(METHODS.package).joinpath("published.json")
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    grid, results = found["grid"], dict(found["results"])
    models = {
        key: PublishedModel(
            model["name"],
            model["blocks"],
            model["layer"],
            model["p_match"],
            model.get("knowledge", {}),
            model.get("knowledge_set"),
        )
        for key, model in found["models"].items()
    }
    contexts = tuple(
        Context(name, context["steered"], tuple(context["plain"]) if context["plain"] else None)
        for name, context in grid["contexts"].items()
    )
    return Published(
        source=found["source"],
        models=models,
        contexts=contexts,
        stacks=tuple(grid["stacks"]),
        strengths=tuple(grid["strengths"]),
        settings=tuple(grid["settings"]),
        vector=results.pop("vector"),
        layer_setting=results.pop("layer"),
        result_keys=results,
    )

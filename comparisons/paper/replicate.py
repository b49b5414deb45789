"""What the paper published, its grid on any model, and our numbers beside the published ones.

Names of methods stand in methods/ alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from typing import Any

from comparisons.experiment.specification import Specification
from comparisons.method.registry import METHODS
from comparisons.method.settings import parse_set_options
from comparisons.model.loading import load_without_weights
from comparisons.results.findings import is_broken
from comparisons.results.summary import SummaryRow
from comparisons.util.errors import CompareError, unknown

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
    knowledge: Mapping[str, Sequence[float]] = field(default_factory=dict)
    knowledge_set: str | None = None


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
    contents: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    grid, results = contents["grid"], dict(contents["results"])
    contexts = [
        Context(name, context["steered"], tuple(context["plain"]) if context["plain"] else None)
        for name, context in grid["contexts"].items()
    ]
    return Published(
        source=contents["source"],
        models={key: PublishedModel(**model) for key, model in contents["models"].items()},
        contexts=tuple(contexts),
        stacks=tuple(grid["stacks"]),
        strengths=tuple(grid["strengths"]),
        settings=tuple(grid["settings"]),
        vector=results.pop("vector"),
        layer_setting=results.pop("layer"),
        result_keys=results,
    )


def replication(spec: Specification, layer: str | None = None) -> Specification:
    """The paper's grid: the vector alone, on both system prompts and on both finetunings, and each of these alone.

    Args:
        spec: the rest; its settings win over the grid's own. Letters are measured unless it says "answers".
        layer: by default the paper's where the model has a published one's number of blocks, else chosen on dev.
    """
    grid = published()
    typed = parse_set_options(grid.settings)
    settings = {name: {**typed.get(name, {}), **spec.settings.get(name, {})} for name in {**typed, **spec.settings}}
    if layer is None:
        known = _by_blocks(len(load_without_weights(spec.model).blocks))
        layer = "auto" if known is None else str(known.layer)
    texts = spec.measure == "answers"
    how: dict[str, Any] = {"measure": "answers"} if texts else {"measure": "letters", "orders": "given"}
    return replace(
        spec, stacks=grid.stacks, strengths=grid.strengths, layer=layer, settings=settings, allow_leaks=True, **how
    )


def _by_blocks(blocks: int) -> PublishedModel | None:
    return next((model for model in published().models.values() if model.blocks == blocks), None)


def beside(blocks: int | None, name: str | None = None) -> PublishedModel:
    """Whose published numbers ours are put beside.

    Args:
        blocks: of our model; one of as many blocks is taken, else the 7B one.
        name: "7b" or "13b" where the user has said so.

    Raises:
        CompareError: nothing was published of that name.
    """
    models = published().models
    if name is not None and name not in models:
        raise unknown("published model", name, models)
    return models[name] if name is not None else _by_blocks(blocks or 0) or next(iter(models.values()))


@dataclass(frozen=True)
class Line:
    """One number of ours beside the published one.

    Attributes:
        behavior: its name.
        context: what the vector stands on, as the paper's tables call it; "knowledge" for the knowledge set.
        multiplier: -1, 0 or +1.
        ours, ours_ci: our mean probability and its 95% interval; None where the run has no such number, or where most
            of the probability went to neither letter.
        theirs: the published one; None where none was published.
        alike: whether ours was measured by letters, as theirs was.
    """

    behavior: str
    context: str
    multiplier: float
    ours: float | None
    ours_ci: Sequence[float] | None
    theirs: float | None
    alike: bool = True

    @property
    def difference(self) -> float | None:
        """Ours minus theirs; None where they are measured differently."""
        return None if self.ours is None or self.theirs is None or not self.alike else self.ours - self.theirs


KNOWLEDGE = "knowledge"


def notes(model: PublishedModel, name: str, embedded: bool, measure: str | None = "letters") -> tuple[str, ...]:
    """What must be said below the table.

    Args:
        model: whose published numbers stand in it.
        name: our model's.
        embedded: whether that is the embedded one.
        measure: by what ours was measured.
    """
    letters = measure != "answers"
    texts = [f"Theirs: {model.name}, layer {model.layer}; {published().source}."]
    if embedded:
        texts.append("Ours is the embedded model: a rehearsal of the grid, whose numbers can't agree with theirs.")
    else:
        texts.append(f"Ours: {name}{'; asked in the order given, as theirs were' if letters else ''}.")
    if not letters:
        texts.append("Ours is measured by the answers' texts, theirs by letters: the numbers are not one measure's.")
    texts.append("The paper finetuned all weights; what ours did stands in the report's settings.")
    return tuple(texts)


def lines(rows: Sequence[SummaryRow], model: PublishedModel) -> list[Line]:
    """Every number of the paper's grid that the rows hold, beside the published one where there is one.

    Raises:
        CompareError: the rows hold none of them.
    """
    stacks = {context.steered for context in published().contexts}
    if not any(row.method in stacks for row in rows):
        raise CompareError("the run holds no number of the paper's grid: run `compare replicate paper`.")
    by_behavior: dict[str, list[SummaryRow]] = {}
    for row in rows:
        by_behavior.setdefault(row.behavior, []).append(row)
    return [line for name, of_behavior in by_behavior.items() for line in _lines(name, of_behavior, model)]


def _lines(behavior: str, rows: Sequence[SummaryRow], model: PublishedModel) -> Iterator[Line]:
    for context in published().contexts:
        theirs = model.p_match.get(behavior, {}).get(context.name)
        for i, multiplier in enumerate(MULTIPLIERS):
            row = _row(rows, context, multiplier)
            number = theirs[i] if theirs else None
            if row is not None or number is not None:
                ours = (row.p_match, row.p_match_ci) if row and not is_broken(row) else (None, None)
                yield Line(behavior, context.name, multiplier, *ours, number, row is None or row.measure != "answers")
    theirs = model.knowledge.get(behavior)
    for i, multiplier in enumerate(MULTIPLIERS):
        row = _row(rows, published().contexts[0], multiplier)
        if row is not None and row.knowledge is not None:
            same = theirs is not None and row.knowledge_set == model.knowledge_set
            number = theirs[i] if same and theirs else None
            yield Line(behavior, KNOWLEDGE, multiplier, row.knowledge, None, number, row.measure != "answers")


def _row(rows: Sequence[SummaryRow], context: Context, multiplier: float) -> SummaryRow | None:
    if multiplier:
        direction = "pos" if multiplier > 0 else "neg"
        wanted = (context.steered, direction)
        return next((r for r in rows if (r.method, r.direction) == wanted and r.strength == abs(multiplier)), None)
    if context.plain is None:
        return next((r for r in rows if r.is_baseline), None)
    return next((r for r in rows if (r.method, r.direction) == context.plain), None)

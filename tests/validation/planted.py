"""A planted letter bias: a constant on one letter's logit, which must show as letter and not as content."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from comparisons.engine.choices import choice_logps
from comparisons.evaluation.measures import item_measures, letter_shifts, letter_split, paired
from comparisons.evaluation.questions import questions, result_rows
from comparisons.intervention import Context, Intervention
from comparisons.model.lm import LM
from tests.validation.subjects import ModelSizes, Subject

CHOICES = "choices"


@dataclass(frozen=True)
class Planted:
    """One cell with a constant on one letter's logit, against the unchanged model without it.

    Attributes:
        behavior: its name.
        steered: whether the behavior's vector is in place too, at strength 1.
        constant: added to the first letter's logit where positive; −constant to the second's where negative; at 0
            nothing is planted.
        content: content shift in logits.
        content_ci: its 95% interval.
        letter: letter shift in logits.
        letter_ci: its 95% interval.
        shift: shift of p(matching).
        shift_ci: its 95% interval.
    """

    behavior: str
    steered: bool
    constant: float
    content: float
    content_ci: tuple[float, float]
    letter: float
    letter_ci: tuple[float, float]
    shift: float
    shift_ci: tuple[float, float]


def biased_head(token: int, constant: float) -> Context:
    """A context in which a constant is added to one token's logit."""

    def add(module: torch.nn.Module, inputs: Any, logits: torch.Tensor) -> torch.Tensor:
        biased = logits.clone()
        biased[..., token] += constant
        return biased

    @contextmanager
    def biased(lm: LM) -> Iterator[None]:
        hook = lm.model.get_output_embeddings().register_forward_hook(add)
        try:
            yield
        finally:
            hook.remove()

    return Context(biased, f"{constant} on the logit of token {token}")


def planted(subject: Subject, sizes: ModelSizes) -> list[Planted]:
    """Each constant on either letter, alone and under the behavior's vector, read as a report reads a cell."""
    lm, items = subject.lm, subject.behavior.limited(None, sizes.items, sizes.seed).test
    asked = questions(items)
    letters = {letter for q in asked for letter in (q.shown.matching, q.shown.contrast)}
    assert len(letters) == 2, "one constant is one bias only where all items share two letters"
    tokens = lm.choice_prompt(asked[0].shown.question, (min(letters), max(letters))).targets
    constants = [0.0, *(sign * size for size in sizes.constants for sign in (1.0, -1.0))]
    bases = (Intervention(), subject.steered(subject.vector))
    cells = [(base, by) for base in bases for by in constants]
    found = choice_logps(lm, [q.shown for q in asked], [_with(base, tokens, by) for base, by in cells])
    rows = [result_rows(asked, found, index, CHOICES, {}) for index in range(len(found.logps))]
    templates = {item.id: item.template for item in items}
    plain, plain_split = item_measures(rows[0], CHOICES), letter_split(rows[0], CHOICES)
    results = []
    for (base, constant), mine in list(zip(cells, rows, strict=True))[1:]:
        apart = letter_shifts(letter_split(mine, CHOICES), plain_split, templates, sizes.seed)
        moved = paired(item_measures(mine, CHOICES), plain, templates)
        across = moved.interval(sizes.seed)
        assert across is not None, "a behavior has several templates"
        results.append(
            Planted(
                behavior=subject.behavior.name,
                steered=bool(base.edits),
                constant=constant,
                content=apart["content_shift"],
                content_ci=tuple(apart["content_shift_ci"]),
                letter=apart["letter_shift"],
                letter_ci=tuple(apart["letter_shift_ci"]),
                shift=float(np.mean(moved.difference)),
                shift_ci=(across[0], across[1]),
            )
        )
    return results


def _with(base: Intervention, tokens: Sequence[int], constant: float) -> Intervention:
    if not constant:
        return base
    return Intervention(edits=base.edits, context=biased_head(tokens[0 if constant > 0 else 1], abs(constant)))

"""On which prompts the edits of an intervention that have a condition act."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from comparisons.engine.activations import prompt_end_activations
from comparisons.intervention import Intervention
from comparisons.model.lm import LM


def acting(lm: LM, questions: Sequence[str], interventions: Sequence[Intervention]) -> torch.Tensor:
    """Where any edit with a condition acts; no block above a condition's runs.

    Args:
        lm: the model.
        questions: user turns; the model's prompt format is put around them.
        interventions: what each changes below a condition is in place; equal states are read once.

    Returns:
        [interventions, questions]: 1 where one acts, 0 where none does, NaN where a prompt exceeds the model's context.
    """
    acts = torch.zeros(len(interventions), len(questions))
    read: dict[tuple[str, int], torch.Tensor] = {}
    for row, intervention in enumerate(interventions):
        found = intervention.simplified()
        for when in (edit.when for edit in found.edits if edit.when is not None):
            below = replace(found, edits=tuple(edit for edit in found.edits if edit.start <= when.layer))
            key = (below.digest, when.layer)
            if key not in read:
                read[key] = prompt_end_activations(lm, questions, [when.layer], below)[:, 0]
            acts[row] = acts[row].maximum(when.holds(read[key]).float())
            acts[row, read[key].isnan().any(dim=-1)] = torch.nan
    return acts

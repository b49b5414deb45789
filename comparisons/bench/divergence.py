"""The work `kl`: the KL of some strengths along given answers, by the engine and by a loop of one pass a strength."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import numpy as np

from comparisons.intervention import Edit, Intervention

if TYPE_CHECKING:
    import torch

    from comparisons.bench.works import GivenAnswers, Work
    from comparisons.model.lm import LM

Steering = Callable[["LM", Edit, int], AbstractContextManager[object]]
"""Adds an edit to all tokens of a pass from one on, while the context lasts."""


def engine_kl(lm: LM, work: Work) -> np.ndarray:
    """[questions, settings] of the mean KL over an answer's tokens, in nats, by the engine."""
    from comparisons.engine.divergence import Answers, token_kl

    given = work.given_answers(lm)
    tokens = tuple(each.texts[0][len(each.ids) :] for each in given)
    answers = Answers(tuple(q.question for q in work.questions), tokens, tuple(map(len, tokens)))
    found = token_kl(lm, answers, [Intervention(edits=(edit,)) for edit in work.settings])
    return np.array([[np.mean(each) for each in own] for own in found]).T


def loop_kl(lm: LM, work: Work, given: GivenAnswers, steering: Steering) -> tuple[np.ndarray, int]:
    """The same of one question, [settings], by a pass of the unchanged model and one a setting that changes something.

    Returns:
        The values, and the tokens that were run.
    """
    plain = logps_along(lm, given.texts[0], len(given.ids)).double()
    values = np.zeros(len(work.settings))
    for place, edit in enumerate(work.settings):
        if edit.effective:
            with steering(lm, edit, given.start):
                changed = logps_along(lm, given.texts[0], len(given.ids)).double()
            values[place] = float((plain.exp() * (plain - changed)).sum(-1).mean())
    return values, (1 + len(work.members)) * len(given.texts[0])


def logps_along(lm: LM, ids: tuple[int, ...], start: int) -> torch.Tensor:
    """Log-probabilities of every token at the places from `start` on, [places, vocabulary], by a pass over all."""
    import torch

    with torch.no_grad():
        logits: torch.Tensor = lm.model(torch.tensor([ids], device=lm.device)).logits
    return logits[0, start - 1 : -1].float().log_softmax(-1)

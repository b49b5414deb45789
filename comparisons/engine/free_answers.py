"""Free answers, behind a thought where the model is to think."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from comparisons.engine.generate import generate, generate_tokens
from comparisons.engine.plan import group_by_prefix
from comparisons.engine.sampling import GREEDY
from comparisons.intervention import Intervention
from comparisons.model.lm import LM
from comparisons.model.thinking import Thinking


@dataclass(frozen=True)
class FreeAnswer:
    """An answer, with what was thought before it.

    Attributes:
        text: the answer; empty where the thought came to no end.
        thought: its text, without the marks around it; None where the model wasn't asked to think.
        thought_tokens: tokens of the thought, its marks included.
        finished: whether an answer was come to.
    """

    text: str
    thought: str | None = None
    thought_tokens: int = 0
    finished: bool = True


def free_answers(
    lm: LM, questions: Sequence[str], interventions: Sequence[Intervention], tokens: int, thought_tokens: int
) -> list[list[FreeAnswer]]:
    """Greedy answers to every question under every intervention, behind a thought where the model is to think.

    Args:
        lm: the model.
        questions: user turns.
        interventions: equal ones are run once.
        tokens: of an answer, at most.
        thought_tokens: of a thought, at most; one that goes on then has no answer.

    Returns:
        [intervention][question].
    """
    thinking = lm.prompts.thinking
    if thinking is None:
        return [[FreeAnswer(text) for text in each] for each in generate(lm, questions, interventions, tokens)]
    answers = [[FreeAnswer("")] * len(questions) for _ in interventions]
    with torch.no_grad():
        for group in group_by_prefix(interventions):
            found = generate_tokens(lm, questions, group, tokens, GREEDY, lm.prompts.stops, thought_tokens)
            for (member, question), ids in found.items():
                answer = _apart(lm, thinking, ids)
                for cell in group.cells[member]:
                    answers[cell][question] = answer
    return answers


def _apart(lm: LM, thinking: Thinking, ids: Sequence[int]) -> FreeAnswer:
    """Tells the answer from the thought before it."""
    start = thinking.answer_start(ids, lm.tokenizer.decode)
    end = len(ids) if start is None else start
    text = lm.tokenizer.decode(ids[end:], skip_special_tokens=True).strip()
    return FreeAnswer(text, thinking.within(lm.tokenizer.decode(ids[:end])), end, start is not None)

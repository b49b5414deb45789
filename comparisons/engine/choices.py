"""Log-probabilities of a question's letters under many interventions at once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from comparisons.dataset.behaviors import Item, Presentation
from comparisons.engine.adapters import in_place
from comparisons.engine.completions import completion_logps
from comparisons.engine.head import token_logps
from comparisons.engine.plan import Branch, Group, group_by_prefix
from comparisons.engine.prompts import Batch, Prompts, in_batches
from comparisons.intervention import Intervention
from comparisons.model.lm import LM
from comparisons.model.prompts import ChoicePrompt
from comparisons.util.errors import CompareError

WINDOW = 4096
"""Contrast pairs whose prompts are held at once."""

MAX_LEFT_OUT = 0.02
"""Share of prompts that may exceed the model's context before it is an error."""


@dataclass(frozen=True)
class ChoiceLogps:
    """What the model gives to the letters of each question.

    Attributes:
        logps: [interventions, questions, 2] float32, in nats: the matching letter and the contrast letter, or all
            contrast letters together where there are several; NaN where the prompt is too long. Of texts the sums over
            their tokens: the matching one, and the likeliest of the others by its unit.
        too_long: [interventions, questions] bool: the prompt exceeds the model's context.
        sizes: what texts' log-likelihoods are divided by, like `logps`; None for letters.
        tokens: the tokens of the texts, like `logps`; None for letters.
        letters: each letter's own, [interventions, questions, letters]: the matching one first, the contrast letters
            in their order, NaN beyond a question's; None for texts.
    """

    logps: np.ndarray
    too_long: np.ndarray
    sizes: np.ndarray | None = None
    tokens: np.ndarray | None = None
    letters: np.ndarray | None = None

    @property
    def logits(self) -> np.ndarray:
        """The logit of p_match, [interventions, questions] float64: of texts a difference of log-likelihoods a unit."""
        values = self.logps.astype(np.float64)
        values = values if self.sizes is None else values / self.sizes
        return values[..., 0] - values[..., 1]


def choice_logps(lm: LM, questions: Sequence[Presentation], interventions: Sequence[Intervention]) -> ChoiceLogps:
    """Evaluates every intervention on every question, with one prefill a question and prefix.

    Args:
        lm: the model.
        questions: with their letters, or all of them with texts.
        interventions: equal ones are run once.
    """
    if questions and questions[0].texts:
        return _text_logps(lm, questions, interventions)
    most = max((1 + len(question.contrast) for question in questions), default=2)
    letters = np.full((len(interventions), len(questions), most), np.nan, dtype=np.float32)
    too_long = np.zeros((len(interventions), len(questions)), dtype=bool)
    prompts: dict[object, list[ChoicePrompt]] = {}
    for group in group_by_prefix(interventions):
        prompts[group.shown] = prompts.get(group.shown) or choice_prompts(lm, questions, group.head)
        values, long = _evaluate_group(lm, prompts[group.shown], group)
        for cells, row in zip(group.cells, values, strict=True):
            letters[list(cells)] = row
            too_long[list(cells)] = long
    kept = np.arange(most) < np.array([1 + len(question.contrast) for question in questions])[:, None]
    return ChoiceLogps(_against_the_others(letters, kept), too_long, letters=letters)


def _text_logps(lm: LM, questions: Sequence[Presentation], interventions: Sequence[Intervention]) -> ChoiceLogps:
    texts = [question.texts for question in questions]
    found = completion_logps(lm, [question.question for question in questions], texts, interventions, leave_out=True)
    shape = (len(interventions), len(questions), 2)
    logps, sizes, tokens = np.full(shape, np.nan), np.ones(shape), np.ones(shape, dtype=int)
    for i, answers in enumerate(found):
        for j, (question, each) in enumerate(zip(questions, answers, strict=True)):
            if not all(each):
                continue
            sums = [math.fsum(values) for values in each]
            counts = [len(values) for values in each]
            units = counts if question.unit == "token" else [len(text.encode()) for text in question.texts]
            contrast = max(range(1, len(sums)), key=lambda k: sums[k] / units[k])
            for values, of in ((logps, sums), (sizes, units), (tokens, counts)):
                values[i, j] = of[0], of[contrast]
    too_long = np.array([[not all(each) for each in answers] for answers in found], dtype=bool)
    return ChoiceLogps(logps, too_long, sizes, tokens)


def choice_prompts(lm: LM, questions: Sequence[Presentation], head: Intervention) -> list[ChoicePrompt]:
    """The questions as the model reads them under an intervention's prompt."""
    return [lm.choice_prompt(q.question, (q.matching, *q.contrast), head.system, head.examples) for q in questions]


def pair_prompts(lm: LM, items: Sequence[Item], head: Intervention) -> dict[int, ChoicePrompt]:
    """Contrast pairs as given, by their index; those that leave no room for the letter are left out.

    Raises:
        CompareError: more than 2% are left out.
    """
    return {i: prompt for window in pair_windows(lm, items, head) for i, prompt in window.items()}


def pair_windows(lm: LM, items: Sequence[Item], head: Intervention) -> Iterator[dict[int, ChoicePrompt]]:
    """What `pair_prompts` finds, for some thousands of pairs after the other, so that memory holds no more of them."""
    missing, total = 0, len(items)
    for start in range(0, max(1, total), WINDOW):
        shown = [item.present("given") for item in items[start : start + WINDOW]]
        prompts = choice_prompts(lm, shown, head)
        fitting = {start + i: p for i, p in enumerate(prompts) if lm.context is None or len(p.ids) < lm.context}
        missing += len(prompts) - len(fitting)
        if missing > MAX_LEFT_OUT * total or not (fitting or missing < total):
            raise CompareError(
                f"{missing} of {total} contrast pairs exceed the {lm.context} tokens of {lm.name}: "
                "use shorter items or another model."
            )
        if fitting:
            yield fitting


def _evaluate_group(lm: LM, prompts: Sequence[ChoicePrompt], group: Group) -> tuple[np.ndarray, np.ndarray]:
    long = np.array([lm.context is not None and len(p.ids) > lm.context for p in prompts], dtype=bool)
    counts = np.array([len(prompt.targets) for prompt in prompts])
    most = int(counts.max(initial=2))
    values = np.full((len(group.members), len(prompts), most), np.nan, dtype=np.float32)
    fitting = [i for i, is_long in enumerate(long) if not is_long]
    # Questions of fewer letters repeat one, which is left out again.
    targets = torch.tensor([[*t, *t[:1] * (most - len(t))] for t in (prompts[i].targets for i in fitting)])

    def work(batch: Batch) -> None:
        logps = token_logps(lm, batch.sequences, targets[list(batch.prompts)], batch.passes)
        places = [fitting[i] for i in batch.prompts]
        values[:, places] = np.where(np.arange(most) < counts[places, None], logps.numpy(), np.nan)

    if fitting:
        asked = Prompts(
            prefixes=[prompts[i].shared for i in fitting],
            tails=[[prompts[i].tail] for i in fitting],
            branches=[Branch(0, member.edits) for member in group.members],
        )
        with in_place(lm, group.head):
            for _ in in_batches(lm, asked, work):
                pass
    return values, long


def _against_the_others(logps: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The first letter's log-probability and that of all others together, [..., questions, 2].

    Args:
        logps: [..., questions, letters].
        kept: [questions, letters] bool: the letters that a question has.
    """
    with np.errstate(invalid="ignore"):  # NaN of a broken model stays NaN, and is told of where it fails its cell
        others = np.logaddexp.reduce(np.where(kept, logps, -np.inf)[..., 1:], axis=-1)
    return np.stack([logps[..., 0], others], axis=-1)

"""Can a model be asked by letters? Before anything is fitted, it answers knowledge questions in letters and in texts.

A small model may know an answer and be unable to bind the letters to the choices; what letters then say is the
model's liking for a letter. OLMES (Gu et al. 2024, section 3) takes for each model the form in which it shows what it
knows: lettered choices or the choices' texts ("cloze"); so does `--measure auto`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from comparisons.dataset.items import ORDERS, Item, Order
from comparisons.dataset.splits import draw
from comparisons.engine.choices import choice_logps
from comparisons.evaluation.questions import Question, questions
from comparisons.experiment.plan import Plan
from comparisons.intervention import Intervention
from comparisons.model.lm import LM
from comparisons.model.named import NAMED
from comparisons.stats.intervals import wilson
from comparisons.util.artifacts import Store
from comparisons.util.files import file_digest, json_digest
from comparisons.util.table import number

RECORD = "letters.json"
PAIRS, PAIRS_LEAST = 40, 8
"""Contrast pairs that are asked, and of each behavior at least."""
SEED = 0
"""Of the sample of pairs: one for all runs, which share what was found."""
_ASKED: dict[str, str] = {}
"""What this process has asked, by what would tell its artifact: runs with other folders need not ask it again."""


@dataclass(frozen=True)
class LetterCheck:
    """How a model answers lettered choices, unchanged.

    Attributes:
        model: its name.
        knowledge_set: what it was asked.
        n_items: knowledge questions, each asked once in letters, as given.
        letters: the share of them whose right letter is the likeliest of the choices'.
        letters_ci: its 95% interval (Wilson 1927).
        chance: the share that guessing gets right.
        texts: the share whose right choice is the likeliest a byte as an answer to the question without its choices;
            None where no question has texts.
        letter_bias: the mean share of the first letter among the letters' probability, minus what it is by chance.
        lost_mass: the mean probability of anything but the letters.
        pairs: contrast pairs asked in both orders; 0 for none.
        same_letter: the share of these in which both orders get the same letter; None for none.
    """

    model: str
    knowledge_set: str
    n_items: int
    letters: float
    letters_ci: Sequence[float]
    chance: float
    texts: float | None
    letter_bias: float
    lost_mass: float
    pairs: int = 0
    same_letter: float | None = None

    @property
    def above_chance(self) -> bool:
        """Whether the interval of the share right in letters lies above chance."""
        return self.letters_ci[0] > self.chance

    @property
    def able(self) -> bool:
        """Whether the model can be asked by letters: it is above chance in them, and not below its texts."""
        return self.above_chance and (self.texts is None or self.letters >= self.texts)

    @property
    def finding(self) -> str:
        """What was found, in a sentence without its end."""
        title = NAMED[self.model].title if self.model in NAMED else Path(self.model).name
        low, high = self.letters_ci
        found = (
            f"{self.knowledge_set}: {self.letters:.2f} [{low:.2f}, {high:.2f}] of {self.n_items} questions right in "
            f"letters, {self.chance:.2f} by chance"
        )
        found += "" if self.texts is None else f", {self.texts:.2f} by the answers' texts"
        found += f"; letter bias {number(self.letter_bias, signed=True, places=2)}, lost mass {self.lost_mass:.2f}"
        if self.same_letter is not None:
            found += f"; the same letter in both orders of {self.same_letter:.0%} of {self.pairs} pairs"
        if not self.above_chance:
            return f"{title} can't tell lettered choices apart ({found})"
        return f"{title} {'can be asked by' if self.able else 'knows more than it shows in'} letters ({found})"

    def sentence(self, plan: Plan) -> str:
        """What was found, and how the run measures for it."""
        given = plan.given_measure
        if given == "letters":
            blind = ": what they show says little of its behavior, --measure answers asks without them"
            return f"{self.finding}: measured by letters, as asked{'' if self.able else blind}."
        if given == "answers":
            return f"{self.finding}: measured by the answers' texts, as asked."
        if plan.measure == "letters":
            return f"{self.finding}: measured by letters."
        why = "the other models can't be asked so" if plan.lettered else "the items have no letters of their own"
        return f"{self.finding}: measured by the answers' texts{f': {why}' if self.able else ' instead'}."


def letter_check(lm: LM, plan: Plan, store: Store) -> LetterCheck | None:
    """How a model answers the plan's probe and contrast pairs in letters, asked once and kept.

    Args:
        lm: the model.
        plan: with the questions.
        store: where what was found is kept, by model and questions.

    Returns:
        None where there is nothing to go by: no probe, none of its questions fits the model's context, or the model's
        logits are not finite.
    """
    if plan.probe is None:
        return None
    facts = _kept(lm, plan.probe.items, _on_facts, store)
    return facts and LetterCheck(lm.name, plan.probe.name, **facts, **_kept(lm, _pairs(plan), _on_pairs, store))


def _pairs(plan: Plan) -> list[Item]:
    """A sample of the contrast pairs that have letters of their own, about as many of each behavior."""
    each = max(PAIRS_LEAST, PAIRS // len(plan.behaviors))
    drawn = [item for behavior in plan.behaviors.values() for item in draw(behavior.train, each, SEED)]
    return [item for item in drawn if item.own_letters]


def _kept(lm: LM, items: Sequence[Item], ask: Callable[[LM, Sequence[Item]], Any], store: Store) -> Any:
    """What was asked before of this model, or is asked now."""
    parts = {
        "model": lm.digest,
        "device": lm.device.type,
        "asked": ask.__name__,
        "items": [asdict(item) for item in items],
        "code": file_digest(Path(__file__)),
    }

    def write(out: Path) -> None:
        key = json_digest(parts)
        if key not in _ASKED:
            _ASKED[key] = json.dumps(ask(lm, items))
        (out / RECORD).write_text(_ASKED[key], encoding="utf-8")

    return json.loads((store.get("letters", parts, write).path / RECORD).read_text(encoding="utf-8"))


def _on_facts(lm: LM, items: Sequence[Item]) -> dict[str, Any] | None:
    """The numbers of a check on knowledge questions."""
    asked = _letters(lm, items, ("given",))
    totals = [math.fsum(found.values()) for _, found in asked]
    if not (asked and all(map(math.isfinite, totals))):
        return None
    right = sum(found[q.shown.matching] > max(found[x] for x in q.shown.contrast) for q, found in asked)
    liked = [found[min(found)] / total - 1 / len(found) for (_, found), total in zip(asked, totals, strict=True)]
    return {
        "n_items": len(asked),
        "letters": right / len(asked),
        "letters_ci": wilson(right, len(asked)),
        "chance": fmean(1 / len(found) for _, found in asked),
        "texts": _by_texts(lm, [question.item for question, _ in asked]),
        "letter_bias": fmean(liked),
        "lost_mass": 1 - fmean(totals),
    }


def _on_pairs(lm: LM, items: Sequence[Item]) -> dict[str, Any]:
    """The numbers of a check on contrast pairs."""
    picked: dict[str, list[str]] = {}
    for question, found in _letters(lm, items, ORDERS):
        picked.setdefault(question.item.id, []).append(max(found, key=found.__getitem__))
    twice = [letters[0] == letters[1] for letters in picked.values() if len(letters) == 2]
    return {"pairs": len(twice), "same_letter": fmean(twice) if twice else None}


def _letters(lm: LM, items: Sequence[Item], orders: Sequence[Order]) -> list[tuple[Question, dict[str, float]]]:
    """The probability of each letter of each question that fits the model's context."""
    asked = questions(items, orders)
    found = choice_logps(lm, [question.shown for question in asked], [Intervention()])
    values = np.empty((0, 0)) if found.letters is None else np.exp(found.letters[0].astype(np.float64))
    return [
        (question, dict(zip((question.shown.matching, *question.shown.contrast), row.tolist(), strict=False)))
        for question, row, long in zip(asked, values, found.too_long[0], strict=True)
        if not long
    ]


def _by_texts(lm: LM, items: Sequence[Item]) -> float | None:
    """The share of questions whose right choice's text is the likeliest a byte; None where none has texts."""
    asked = questions(items, ("facts",))
    found = choice_logps(lm, [question.shown for question in asked], [Intervention()])
    fitting = found.logits[0, ~found.too_long[0]]
    return float((fitting > 0).mean()) if len(fitting) else None

"""Evaluates cells again under other wordings and another prompt format, with what was fitted kept as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from comparisons.dataset.behaviors import Order
from comparisons.dataset.items import Item
from comparisons.dataset.texts import TEXTS_FILE
from comparisons.engine.choices import choice_logps
from comparisons.evaluation.conditions import Condition, conditions, reworded
from comparisons.evaluation.questions import questions, result_rows
from comparisons.experiment.fitting import Fitter
from comparisons.experiment.specification import Element
from comparisons.intervention import Intervention, stack
from comparisons.results.folder import NOT_REPEATED
from comparisons.util.errors import CompareError, described


@dataclass(frozen=True)
class CellToAsk:
    """A cell to ask again.

    Attributes:
        elements: its stack's, with their settings chosen.
        intervention: theirs.
        fields: what is the same in all of its result rows.
    """

    elements: Sequence[Element]
    intervention: Intervention
    fields: Mapping[str, Any]


@dataclass
class Repeated:
    """What came of it.

    Attributes:
        rows: result rows, condition after condition.
        failures: condition -> why there are no rows of it.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def info(self) -> dict[str, dict[str, str]]:
        """What the journal keeps beside the rows."""
        return {NOT_REPEATED: self.failures} if self.failures else {}


class Repeats:
    """The questions of one behavior under every condition.

    Args:
        fitter: where the behavior's methods were fitted.
        items: the questions.
        orders: in which to ask them.
    """

    def __init__(self, fitter: Fitter, items: Sequence[Item], orders: Sequence[Order]) -> None:
        self.fitter, self.asked = fitter, questions(items, orders)
        self.conditions = conditions(fitter.lm, fitter.behavior)

    def run(self, subjects: Sequence[CellToAsk]) -> list[Repeated]:
        """Asks all cells under each condition; one that fails is a line in `failures` and spoils nothing else.

        Args:
            subjects: cells that share a prompt's cache; under a condition they share one again.
        """
        found = [Repeated() for _ in subjects]
        own = [self._has_own_prompt(subject) for subject in subjects]
        for condition in self.conditions:
            wrapped: dict[int, Intervention] = {}
            for i, subject in enumerate(subjects):
                try:
                    if condition.applies(own[i]):
                        wrapped[i] = self._wrapped(condition, subject)
                except Exception as error:
                    found[i].failures[condition.name] = described(error)
            self._ask(condition, subjects, wrapped, found)
        return found

    def _ask(
        self,
        condition: Condition,
        subjects: Sequence[CellToAsk],
        wrapped: Mapping[int, Intervention],
        found: Sequence[Repeated],
    ) -> None:
        """Evaluates together; on a failure each alone, so that one can't take the others' numbers."""
        if not wrapped:
            return
        try:
            rows = self._rows(condition, subjects, wrapped)
        except Exception as error:
            if len(wrapped) == 1:
                found[next(iter(wrapped))].failures[condition.name] = described(error)
                return
            for i, intervention in wrapped.items():
                self._ask(condition, subjects, {i: intervention}, found)
            return
        for i, own in rows.items():
            found[i].rows += own

    def _rows(
        self, condition: Condition, subjects: Sequence[CellToAsk], wrapped: Mapping[int, Intervention]
    ) -> dict[int, list[dict[str, Any]]]:
        shown = [condition.asked(question.shown) for question in self.asked]
        measured = choice_logps(condition.reader(self.fitter.lm), shown, list(wrapped.values()))
        return {
            i: result_rows(
                self.asked, measured.logps[place], measured.too_long[place], condition.evaluation, subjects[i].fields
            )
            for place, i in enumerate(wrapped)
        }

    def _wrapped(self, condition: Condition, subject: CellToAsk) -> Intervention:
        """A cell's intervention under a condition."""
        if condition.paraphrase is not None:
            return replace(subject.intervention, system=self._paraphrased(subject, condition.paraphrase))
        return stack((Intervention(system=condition.system), subject.intervention))

    def _paraphrased(self, subject: CellToAsk, index: int) -> str | None:
        behavior = self.fitter.behavior
        wording = reworded(behavior, index)
        if wording is None:
            file = Path(behavior.source).parent / TEXTS_FILE
            raise CompareError(
                f"the behavior '{behavior.name}' has fewer than {index + 1} paraphrases of its system prompts: write "
                f'them to {file} as {{"paraphrases": {{"pos": ["…", "…"], "neg": ["…", "…"]}}}}.'
            )
        return self.fitter.reworded(subject.elements, wording).system

    def _has_own_prompt(self, subject: CellToAsk) -> bool:
        """Whether a cell's system prompt is made of the behavior's: it is, where it changes with them."""
        prompts = self.fitter.behavior.prompts
        if subject.intervention.system is None or prompts is None:
            return False
        marked = {direction: f"{text}\n" for direction, text in prompts.items()}
        changed = self.fitter.reworded(subject.elements, replace(self.fitter.behavior, prompts=marked))
        return changed.system != subject.intervention.system

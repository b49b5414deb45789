"""Robustness: cells asked again under other wordings and another prompt format, with what was fitted kept as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from comparisons.dataset.behaviors import Behavior, Order
from comparisons.dataset.items import Item, Presentation
from comparisons.dataset.texts import TEXTS_FILE
from comparisons.engine.choices import choice_logps
from comparisons.evaluation.interface import Asking, CellResult, CellToAsk, Evaluation, MeasuredCell
from comparisons.evaluation.measures import repeated
from comparisons.evaluation.questions import CHOICES, questions, result_rows
from comparisons.evaluation.tally import Tally, branch_tokens, prefix_of
from comparisons.experiment.fitting import Fitter
from comparisons.experiment.plan import Plan
from comparisons.experiment.specification import Cell, Specification
from comparisons.intervention import Intervention, stack
from comparisons.model.lm import LM
from comparisons.model.prompts import PromptFormat
from comparisons.results.findings import BROKEN
from comparisons.results.folder import NOT_REPEATED
from comparisons.util.directions import DIRECTIONS
from comparisons.util.errors import CompareError, described

ROBUST = "robust:"
"""Begins the name of an evaluation under a condition: "robust:prefix"."""

PARAPHRASES = ("paraphrase-1", "paraphrase-2")
NEUTRAL = ("neutral-1", "neutral-2")
PREFIX, FORMAT = "prefix", "format"
CONDITIONS = (*PARAPHRASES, *NEUTRAL, PREFIX, FORMAT)

PREFIX_TEXT = "Please read the following question carefully."
NEUTRAL_TEXTS = (
    "You are a helpful assistant.",
    "You are an AI model that answers the questions of users on a website.",
)
"""System prompts about nothing, where the behavior has none of its own."""


@dataclass(frozen=True)
class Condition:
    """One way to ask the same questions again; at most one of the four is set.

    Attributes:
        name: one of `CONDITIONS`, or "plain".
        paraphrase: which wording of the behavior's system prompts takes their place, from 0.
        system: a system prompt put in front.
        prefix: a sentence before the question, in the user's turn.
        prompt_format: in which format the prompt is written.
    """

    name: str
    paraphrase: int | None = None
    system: str | None = None
    prefix: str | None = None
    prompt_format: PromptFormat | None = None

    @property
    def evaluation(self) -> str:
        """The evaluation's name in result rows."""
        return f"{ROBUST}{self.name}"

    def applies(self, own_prompt: bool) -> bool:
        """Whether a cell is asked under it.

        Args:
            own_prompt: whether the cell has the behavior's system prompt, which is then reworded; before the others,
                and before the baseline, a neutral one is put.
        """
        if self.paraphrase is not None:
            return own_prompt
        return not (own_prompt and self.system is not None)

    def asked(self, shown: Presentation) -> Presentation:
        """The question as it is asked."""
        return replace(shown, question=f"{self.prefix}\n\n{shown.question}") if self.prefix else shown

    def reader(self, lm: LM) -> LM:
        """The same model, reading prompts in the condition's format."""
        return lm if self.prompt_format is None else lm.in_format(self.prompt_format)


PLAIN = Condition("plain")
"""The questions as they are."""


def conditions(lm: LM, behavior: Behavior) -> tuple[Condition, ...]:
    """Every condition for a behavior on a model, in the order of `CONDITIONS`."""
    return (
        *(Condition(name, paraphrase=index) for index, name in enumerate(PARAPHRASES)),
        *(Condition(name, system=text) for name, text in zip(NEUTRAL, neutral_prompts(behavior), strict=True)),
        Condition(PREFIX, prefix=PREFIX_TEXT),
        Condition(FORMAT, prompt_format=other_format(lm)),
    )


def neutral_prompts(behavior: Behavior) -> tuple[str, ...]:
    """Two system prompts about nothing: the behavior's own before ours."""
    return (*behavior.neutral, *NEUTRAL_TEXTS)[: len(NEUTRAL)]


def other_format(lm: LM) -> PromptFormat:
    """The format for a second reading: `base` for chat formats; for `base` the chat template, or else the paper's."""
    if lm.prompt_format != "base":
        return "base"
    try:
        return lm.in_format("chat").prompt_format
    except CompareError:  # it has none, or none in which it would read what it is asked
        return "llama2-paper"


def reworded(behavior: Behavior, index: int) -> Behavior | None:
    """The behavior with other wordings of its system prompts; None where a direction has too few."""
    texts = {direction: (behavior.paraphrases or {}).get(direction, ()) for direction in DIRECTIONS}
    if any(len(found) <= index for found in texts.values()):
        return None
    return replace(behavior, prompts={direction: found[index] for direction, found in texts.items()})


def wrappings(lm: LM, behaviors: Mapping[str, Behavior]) -> dict[str, Any]:
    """What run.json says of the conditions, for the report: their texts and the format."""
    return {
        "neutral": {name: list(neutral_prompts(behavior)) for name, behavior in behaviors.items()},
        PREFIX: PREFIX_TEXT,
        FORMAT: other_format(lm),
    }


@dataclass(frozen=True)
class Robustness(Evaluation):
    """The shift measured again under other prompts and another format, and how much of it survives."""

    place = 5

    @classmethod
    def of(cls, spec: Specification) -> Robustness | None:
        return cls() if spec.robustness else None

    def identity(self, plan: Plan) -> object:
        return [PREFIX_TEXT, NEUTRAL_TEXTS]

    def facts(self, plan: Plan, lm: LM) -> object:
        return wrappings(lm, plan.behaviors)

    def ask(self, asking: Asking, cells: Sequence[CellToAsk]) -> list[CellResult]:
        behavior = cells[0].fields["behavior"]
        return Repeats(asking.fitters[behavior], asking.plan.asked(behavior), asking.plan.orders).run(cells)

    def cost(self, tally: Tally, plan: Plan, cells: Sequence[Cell]) -> None:
        if not cells:
            return
        behavior = cells[0].behavior
        groups, asked = tally.groups(cells), questions(plan.asked(behavior), plan.orders)
        each = branch_tokens(tally.lm, plan.asked(behavior), plan)
        # What has no dose is taken for a system prompt.
        prompted = {prefix_of(cell) for cell in cells if not all(element.method.dosed for element in cell.elements)}
        for condition in conditions(tally.lm, plan.behaviors[behavior]):
            reader, shown = condition.reader(tally.lm), [condition.asked(question.shown).question for question in asked]
            prompts = [tuple(reader.tokenize(reader.prompt(text, condition.system))[:-1]) for text in shown]
            for prefix, shares in groups.items():
                if condition.applies(prefix in prompted):
                    tally.add(prompts, each * sum(shares.values()))

    def numbers(self, cell: MeasuredCell) -> Mapping[str, Any]:
        warnings = {"warnings": _not_repeated(cell)}
        if cell.is_baseline:
            return warnings
        first = replace(cell, own=cell.own.first_fit)
        found = {condition: _survival(first, condition) for condition in CONDITIONS}
        return {"robustness": {name: numbers for name, numbers in found.items() if numbers}, **warnings}


def _survival(cell: MeasuredCell, condition: str) -> dict[str, Any] | None:
    """The shift under a condition, and what share of the plain one it is; None where it was not asked."""
    evaluation = f"{ROBUST}{condition}"
    # Rewording a cell's own prompt leaves the baseline, which has none, as it is.
    against = CHOICES if condition in PARAPHRASES else evaluation
    pair, shift = cell.paired(evaluation, against), cell.paired(CHOICES)
    if not len(pair.difference):
        return None
    own, plain = cell.own.measures(evaluation), cell.baseline.measures(against)
    letters = cell.plan.measure == "letters"
    lost = max(float(own.lost.mean()), float(plain.lost.mean())) if letters else None
    sound = not cell.numbers["broken"] and (lost is None or lost <= BROKEN)
    return {
        **repeated(pair, shift, shift.interval(cell.seed), sound, cell.seed),
        "baseline": float(plain.p_match.mean()),
        "lost_mass": lost,
    }


def _not_repeated(cell: MeasuredCell) -> list[str]:
    """Why a cell, or the baseline where the cell has rows, has none under a condition; a line a reason."""
    baseline, own = (side.info.get(NOT_REPEATED) or {} for side in (cell.baseline, cell.own))
    asked = {row["evaluation"] for row in cell.own.rows} if baseline else set()
    failures = {**own, **{name: why for name, why in baseline.items() if f"{ROBUST}{name}" in asked}}
    named = {
        why: ", ".join(name for name, text in failures.items() if text == why)
        for why in dict.fromkeys(failures.values())
    }
    return [f"not repeated under {names}: {why}" for why, names in named.items()]


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

    def run(self, subjects: Sequence[CellToAsk]) -> list[CellResult]:
        """Asks all cells under each condition; one that fails is a line in the info and spoils nothing else.

        Args:
            subjects: cells that share a prompt's cache; under a condition they share one again.
        """
        found = [CellResult() for _ in subjects]
        own = [self._has_own_prompt(subject) for subject in subjects]
        for condition in self.conditions:
            wrapped: dict[int, Intervention] = {}
            for i, subject in enumerate(subjects):
                try:
                    if condition.applies(own[i]):
                        wrapped[i] = self._wrapped(condition, subject)
                except Exception as error:
                    _failed(found[i], condition, error)
            self._ask(condition, subjects, wrapped, found)
        return found

    def _ask(
        self,
        condition: Condition,
        subjects: Sequence[CellToAsk],
        wrapped: Mapping[int, Intervention],
        found: Sequence[CellResult],
    ) -> None:
        """Evaluates together; on a failure each alone, so that one can't take the others' numbers."""
        if not wrapped:
            return
        try:
            rows = self._rows(condition, subjects, wrapped)
        except Exception as error:
            if len(wrapped) == 1:
                _failed(found[next(iter(wrapped))], condition, error)
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
            i: result_rows(self.asked, measured, place, condition.evaluation, subjects[i].fields)
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


def _failed(result: CellResult, condition: Condition, error: Exception) -> None:
    result.info.setdefault(NOT_REPEATED, {})[condition.name] = described(error)

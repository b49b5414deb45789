"""The conditions of `--robustness`: other wordings of what surrounds a question, the same for baseline and cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from comparisons.dataset.behaviors import Behavior
from comparisons.dataset.items import Presentation
from comparisons.model.lm import LM
from comparisons.model.prompts import PromptFormat
from comparisons.util.directions import DIRECTIONS

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
    return "chat" if getattr(lm.tokenizer, "chat_template", None) else "llama2-paper"


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

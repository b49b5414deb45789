"""How a chat template has a model think before it answers, and where in what it writes the thought ends."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from comparisons.model.mending import ASKED, QUESTION, SWITCHES, SYSTEM
from comparisons.model.template import THINKS, Template, source_of
from comparisons.model.thoughts import FINAL, PAIRS, TAG, closing, marks
from comparisons.util.errors import CompareError

WAYS: tuple[tuple[Mapping[str, Any], bool], ...] = (
    ({THINKS: True}, False),
    ({"thinking": True}, False),
    ({"thinking": True}, True),
    ({}, False),
)
"""What templates are told so that a model thinks, and whether a system text opens the first question: where it is a
message of its own, some (Granite 3's) drop what they are told. Last, nothing, for those that always have it think."""

CHANNELS = re.compile(r"(?:<\|channel\|>)?(?:analysis|commentary)[^<]*<\|message\|>|<\|end\|>|<\|start\|>assistant")
"""The marks between the thoughts of gpt-oss's."""


@dataclass(frozen=True)
class Thinking:
    """How a thought is begun, and told from the answer behind it.

    Attributes:
        template: writes prompts behind which the model thinks.
        opens: with what the model begins a thought; empty where the prompt has begun it.
        closes: what ends a thought: the answer stands behind it.
    """

    template: Template
    opens: str
    closes: str

    def answer_start(self, ids: Sequence[int], decode: Callable[[Sequence[int]], str]) -> int | None:
        """How many of the tokens written so far are the thought's, its end included; None while it goes on.

        Args:
            ids: the tokens.
            decode: makes text of them, special tokens and all.
        """
        text = decode(ids)
        if self.closes in text:
            return next(n for n in range(len(ids) + 1) if self.closes in decode(ids[:n]))
        begun = text.lstrip()
        if self.opens and not begun.startswith(self.opens) and not self.opens.startswith(begun):
            return 0  # it answers at once
        return None

    @property
    def inner(self) -> str:
        """What ends a message within a thought, where thoughts are messages of their own."""
        return "<|end|>" if self.closes.endswith(FINAL.rpartition("<|start|>assistant")[2]) else ""

    def within(self, text: str) -> str:
        """A thought's own text, without the marks around it."""
        return CHANNELS.sub("", text.split(self.closes)[0].strip().removeprefix(self.opens)).strip()


def find_thinking(tokenizer: Any, name: str, closed: Template) -> Thinking:
    """Finds how a template has the model think.

    Args:
        tokenizer: the model's.
        name: of the model.
        closed: how the template is used for an answer without a thought.

    Raises:
        CompareError: it has no way to.
    """
    source = source_of(tokenizer)
    switch = next((on for on, off in SWITCHES if off == closed.switch), "")
    for told, folded in WAYS if not switch else WAYS[-1:]:
        used = replace(closed, folded=closed.folded or folded)
        template, plain = _used(used, told, switch), _rendered(tokenizer, used)
        text = _rendered(tokenizer, template)
        if text is None or plain is None:
            continue
        tail = text[text.rindex(QUESTION) + len(QUESTION) :]
        if shut := closing(tail, source):
            return Thinking(template, "", _mark(shut))
        known = _known(source, closed)
        # What differs for the thought, or else what knows thoughts and leaves them to the model.
        if known and (text != plain or not told):
            return Thinking(template, *known)
    raise CompareError(
        f"--thinking on is not for {name}, whose chat template knows of no thoughts: leave it out, or take a template "
        "that does."
    )


def _used(closed: Template, told: Mapping[str, Any], switch: str) -> Template:
    # A header that the template lacks stays; what closes a thought, or opens another channel, goes.
    ending = re.split(r"\n?(?:<\|channel|<\|end\|>)", closed.ending)[0]
    ending = "" if TAG.search(ending) or any(shuts in ending for _, shuts in PAIRS) else ending
    return replace(closed.told(told), ending=ending if ending.strip() else "", switch=switch)


def _rendered(tokenizer: Any, template: Template) -> str | None:
    """The probe with its system text; None where that fails, or a part of it is lost."""
    try:
        text = template.render(tokenizer, SYSTEM, (ASKED,))
    except Exception:  # of a template, which is anybody's code
        return None
    return text if QUESTION in text and SYSTEM in text else None


def _mark(shut: str) -> str:
    """What of a thought's closing a model writes between thought and answer."""
    return FINAL.removeprefix("<|end|>") if shut.endswith(FINAL) else shut.strip()


def _known(source: str, closed: Template) -> tuple[str, str] | None:
    """The marks of thoughts that the source names: what opens one, and what closes it."""
    if closed.ending.endswith("<|channel|>final<|message|>"):
        return "<|channel|>", "<|channel|>final<|message|>"
    return marks(source)

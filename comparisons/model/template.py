"""A tokenizer's chat template, and how it is used where it doesn't do by itself what is asked of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

# Templates that print today's date would change the prompt, and with it every number, from day to day.
DATE = datetime(2024, 7, 26)
THINKS = "enable_thinking"
BUDGET = "thinking_budget"
TEMPLATE_ARGUMENTS = {THINKS: False, BUDGET: 0, "date_string": "26 Jul 2024"}

CODES = re.compile(r"%[-_0^#+]*\d*[EO]?[aAbBcCdDeFgGhHIjklmMpPrRsSTuUVwWxXyYzZ]")
"""What stands for a part of a date or time in a format of `strftime`."""

ASKING = "{% macro strftime_now(format) %}{{ raise_exception('asked') }}{% endmacro %}\n"
"""Before a template's source it has the template raise where it asks for the date or the time."""


@dataclass(frozen=True)
class Template:
    """How a chat template is used; by default as transformers would.

    Attributes:
        parts: a turn's content is a list of parts, not a text.
        folded: a system text opens the first user turn.
        pin: stands before the template's source and gives it a fixed date.
        doubled: stands at the start of what is rendered once too often.
        cut: is removed from the end of what is rendered.
        ending: is written behind it.
        turns: whether earlier turns can be shown.
        switch: what a system text begins with, where such words turn thoughts on or off.
    """

    parts: bool = False
    folded: bool = False
    pin: str = ""
    doubled: str = ""
    cut: str = ""
    ending: str = ""
    turns: bool = True
    switch: str = ""

    def messages(self, system: str | None, turns: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The messages that the template is given, the first of `turns` the user's."""
        given = [dict(turn) for turn in turns]
        system = "\n\n".join(filter(None, (self.switch, system)))
        if system and self.folded:
            given[0]["content"] = f"{system}\n\n{given[0]['content']}"
        elif system:
            given.insert(0, {"role": "system", "content": system})
        if self.parts:
            given = [{**turn, "content": [{"type": "text", "text": turn["content"]}]} for turn in given]
        return given

    @property
    def arguments(self) -> Mapping[str, Any]:
        """What a template is told beside the messages."""
        return TEMPLATE_ARGUMENTS

    def render(self, tokenizer: Any, system: str | None, turns: Sequence[Mapping[str, Any]]) -> str:
        """The text of a conversation, which ends where the answer begins; raises what the template raises."""
        text = str(self.apply(tokenizer, self.messages(system, turns), tokenize=False))
        return text.removeprefix(self.doubled).removesuffix(self.cut) + self.ending

    def apply(self, tokenizer: Any, messages: Sequence[Mapping[str, Any]], tokenize: bool, begins: bool = True) -> Any:
        """What transformers makes of messages: the text, or a mapping with the token ids.

        Args:
            tokenizer: the model's.
            messages: with their roles and contents.
            tokenize: which of both.
            begins: whether an answer is to begin at the end.
        """
        source = {"chat_template": self.pin + source_of(tokenizer)} if self.pin else {}
        return tokenizer.apply_chat_template(
            messages, tokenize=tokenize, add_generation_prompt=begins, **source, **self.arguments
        )

    def told(self, told: Mapping[str, Any]) -> ToldTemplate:
        """The same use of it, with something else that it is told of thoughts."""
        return ToldTemplate(
            **{each.name: getattr(self, each.name) for each in fields(Template)}, words=(*told.items(),)
        )


@dataclass(frozen=True)
class ToldTemplate(Template):
    """A chat template that is told whether the model is to think.

    Attributes:
        words: the names and values by which it is told, or none.
    """

    words: tuple[tuple[str, Any], ...] = ()

    @property
    def arguments(self) -> Mapping[str, Any]:
        rest = {name: value for name, value in TEMPLATE_ARGUMENTS.items() if name not in (THINKS, BUDGET)}
        return {**rest, **dict(self.words)}


AS_IT_IS = Template()


def source_of(tokenizer: Any) -> str:
    """The text of the template that transformers takes of a tokenizer's; empty where there is none."""
    found = getattr(tokenizer, "chat_template", None)
    return str((found.get("default") if isinstance(found, Mapping) else found) or "")


def pin_of(source: str) -> str:
    """What gives a template `DATE` for the day's, as a macro: transformers hands no functions to templates."""
    codes = {*CODES.findall(source)}
    if re.search(r"%['\"]", source):  # one is put together
        codes |= {f"%{letter}" for letter in "aAbBcCdDeFHIjklmMpPrRsSTuUVwWxXyYzZ"}
    replaced = "".join(f" | replace({code!r}, {DATE.strftime(code)!r})" for code in sorted(codes))
    # Of the line's end the template's first line keeps its place, and nothing is printed.
    return f"{{% macro strftime_now(format) %}}{{{{ format{replaced} }}}}{{% endmacro %}}\n"

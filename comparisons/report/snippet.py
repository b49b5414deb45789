"""A short program in plain transformers that applies a run's best intervention."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from comparisons.model.named import NAMED
from comparisons.model.source import GGUF
from comparisons.model.template import TEMPLATE_ARGUMENTS, Template
from comparisons.report.templating import fill

QUESTION = "Could you help me with a plan for the day?"
STARTS = {"prompt_end": -1, "answer": -1, "last": -1, "all": 0}
"""The first token of each call that an edit touches: with a cache the first call sees the prompt, each later one
token, so that -1 means the last prompt token and all that follows."""


def snippet(intervention: Mapping[str, Any], question: str = QUESTION, repository: str | None = None) -> str | None:
    """Writes the program; it runs from the run's folder.

    Args:
        intervention: best/intervention.json.
        question: what the program asks.
        repository: of the hub, where vectors and adapter are, to run from anywhere; None for the run's `best/`.

    Returns:
        The program, or None where an edit's operation, positions or condition don't fit a short one.
    """
    edits = intervention.get("edits") or []
    if any(e["operation"] != "add" or e["positions"] not in STARTS or "when" in e for e in edits):
        return None
    adapter, scale = intervention.get("adapter"), float(intervention.get("adapter_scale", 1.0))
    prompt_format, system = intervention.get("prompt_format", "chat"), intervention.get("system")
    turns = intervention.get("examples") or []
    before, after = _frame(prompt_format, system, turns)
    reading = intervention.get("reading") or {}
    template = Template(**reading.get("template", {}))
    place, file = intervention["model"], ""
    if place.endswith(GGUF):
        place, _, file = place.rpartition("/")
    return fill(
        "report/templates/program.txt",
        place=place,
        file=file,
        kind=intervention.get("class", "AutoModelForCausalLM"),
        text_part=intervention.get("text_part", False),
        stream=f"[{intervention['stream']}]" if "stream" in intervention else "",
        template_file=intervention.get("template_file") if prompt_format == "chat" else None,
        package=next((named.module for named in NAMED.values() if named.file == file), None),
        blocks=intervention.get("blocks") or "model.layers",
        edits=[(int(e["layer"]), float(e["multiplier"]), e["tensor"], STARTS[e["positions"]]) for e in edits],
        adapter=f"best/{adapter}" if adapter is not None else None,
        scale=scale if adapter is not None and scale != 1.0 else None,
        repository=repository,
        frame=None if prompt_format == "chat" else (_pieces(before), after),
        messages=[(each["role"], _pieces(each["content"])) for each in _messages(template, system, turns, question)],
        chat=template,
        added=int(reading.get("added", 0)),
        question=question,
        arguments=TEMPLATE_ARGUMENTS,
        literal=_literal,
    )


def _messages(
    template: Template, system: str | None, turns: Sequence[Sequence[str]], question: str
) -> list[dict[str, str]]:
    """The messages that the template is given, their contents as texts."""
    messages = []
    for asked, answered in turns:
        messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
    return replace(template, parts=False).messages(system, [*messages, {"role": "user", "content": question}])


def _frame(prompt_format: str, system: str | None, turns: Sequence[Sequence[str]]) -> tuple[str, str]:
    """What stands before and after the question in a prompt format without a chat template."""
    if prompt_format == "base":
        head = f"{system}\n\n" if system else ""
        shown = "".join(f"Input: {q.strip()}\nResponse: {a.strip()}\n\n" for q, a in turns)
        return f"{head}{shown}Input: ", "\nResponse:"
    head = f"<<SYS>>\n{system}\n<</SYS>>\n\n" if system else ""
    shown = "".join(f"[INST] {q.strip()} [/INST] {a.strip()} " for q, a in turns)
    return f"{head}{shown}[INST] ", " [/INST]"


def _pieces(text: str) -> list[str]:
    """String literals that together are the text, each short enough for a page."""
    words = textwrap.TextWrapper(84, expand_tabs=False, replace_whitespace=False, drop_whitespace=False)
    return [_literal(piece) for piece in words.wrap(text)] or ['""']


def _literal(value: Any) -> str:
    """A Python literal, in double quotes where that needs no more escapes."""
    text = repr(value)
    return f'"{text[1:-1]}"' if text[:1] == "'" and '"' not in text else text

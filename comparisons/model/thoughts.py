"""Where a prompt ends inside a thought that an answer would follow, and what closes it."""

from __future__ import annotations

import re

TAG = re.compile(
    r"[<\[◁](/?)[|｜]?[\w:▁-]*(?:think|thought|reason|reflect|scratchpad|analysis|rationale|monologue|\bcot\b)[\w:▁-]*"
    r"[|｜]?[>\]▷]",
    re.IGNORECASE,
)
ENDS = re.compile(r"end|close|off|suffix", re.IGNORECASE)

OPPOSITE = (("START", "END"), ("start", "end"), ("begin", "end"), ("open", "close"), ("prefix", "suffix"))
"""Words in the tags that open thoughts, and what those that close them have in their place."""

PAIRS = (("<|inner_prefix|>", "<|inner_suffix|>"), ("<|channel>thought", "<channel|>"))
"""Tags that are not called after what they hold."""

CHANNEL = re.compile(r"<\|channel\|>(?:analysis|commentary)(?:(?!<\|end\|>).)*\Z", re.DOTALL)
FINAL = "<|end|><|start|>assistant<|channel|>final<|message|>"
"""What ends a channel of gpt-oss's that is no answer, and opens the one that is."""


def closing(tail: str, source: str) -> str:
    """What closes the thought that a prompt ends in; empty where it ends in none.

    Args:
        tail: what stands behind the question.
        source: of the template, which may name the tag.
    """
    if channel := CHANNEL.search(tail):
        return ("" if "<|message|>" in channel[0] else "<|message|>") + FINAL
    tag = _open_tag(tail, source)
    return "" if tag is None else f"\n{tag}\n\n" if tail.endswith("\n") else tag


def opening(closes: str) -> str:
    """The tag that opens a thought, of the one that closes it."""
    for word, other in OPPOSITE:
        if other in closes:
            return closes.replace(other, word)
    return closes.replace("/", "", 1)


def marks(source: str) -> tuple[str, str] | None:
    """What opens a thought and what closes it, of a template that names the latter."""
    for opens, closes in PAIRS:
        if closes in source:
            return opens, closes
    tags = [found for found in TAG.finditer(source) if found[1] or "|/" in found[0] or ENDS.search(found[0])]
    tags.sort(key=lambda tag: "think" not in tag[0].lower() and "thought" not in tag[0].lower())
    return next(((opening(tag[0]), tag[0]) for tag in tags), None)


def without_tags(text: str) -> str:
    """A text without the tags around thoughts."""
    for tag in (tag for pair in PAIRS for tag in pair):
        text = text.replace(tag, "")
    return TAG.sub("", text)


def empty(opens: str, closes: str) -> str:
    """A thought of no words, as models that write it in a tag's form have it."""
    return f"{opens}\n\n{closes}\n\n" if re.fullmatch(r"<\w+>", opens) else f"{opens}{closes}"


def _open_tag(tail: str, source: str) -> str | None:
    """The tag that closes an open thought."""
    for opens, closes in PAIRS:
        if tail.rfind(opens) > tail.rfind(closes):
            return closes
    last = next(reversed([*TAG.finditer(tail)]), None)
    if last is None or last[1] or "|/" in last[0] or ENDS.search(last[0]):
        return None
    opening = last[0]
    for word, other in OPPOSITE:
        if word in opening:
            return opening.replace(word, other)
    likely = f"{opening[0]}/{opening[1:]}"
    others = [opening.replace("|", "|/", 1), f"</{opening.strip('<|>')}>"] if "|" in opening else []
    return next((tag for tag in (likely, *others) if tag in source), likely)

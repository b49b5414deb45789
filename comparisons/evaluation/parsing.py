"""Finds which choice a written answer takes: its letter or its text. What can be read in two ways is not read."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from comparisons.dataset.items import Choice

OPPOSITES = {"yes": "no", "no": "yes", "true": "false", "false": "true"}
_POSITIVE = ("yes", "true")

# A word that stands as an answer: "no, I can't" and "I'd say no", but neither "no problem" nor "a true story".
_REASON = r"(?:because|since|as)\b"
_ENDS = rf"(?=\s*(?:$|[.,!?;:)\]\"'\n•–—/]|-\s|(?:or|and|nor)\b|{_REASON}))"
_WORDS = {
    "yes": r"(?<![\w'-])yes(?![\w-])",
    "no": rf"(?<![\w'-])no(?![\w'-])(?:{_ENDS}|(?=\s+(?:i|it|this|that|you|we|they)\b))",
    "true": rf"(?<![\w'-])true(?![\w'-]){_ENDS}",
    "false": rf"(?<![\w'-])false(?![\w'-]){_ENDS}",
}

# Anything of these earlier in the sentence can turn a mention round.
_NEGATION = re.compile(
    r"n't\b|\bcannot\b|\bno\s*$|\b(?:not|never|neither|nor|none|nothing|hardly|except|but|than|instead of|unlike|"
    r"against|without|avoid|reject|rule out|if|unless|whether|wrong|incorrect|false that)\b|"
    r"\b(?:disagree|refuse|refusing|decline|deny|oppose|dislike)",
    re.IGNORECASE,
)
_REFUTED = re.compile(
    r"[)\]\"']*\s+(?:not\b|(?:is|was|are|can be|would be|must be|seems|looks|sounds)\s+(?:\w+\s+)?"
    r"(?:not|never|wrong|incorrect|false|untrue|bad)\b|(?:\w+n't|cannot)\b)",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.!?;\n]")
_LEAD = (
    r"(?:\b(?:answer|reply|response)\b(?:\s+(?:is|would be|must be|to that is))?|\b(?:choose|pick|select|say|go with|"
    r"take|prefer|it is|it's|is|be))\s*[:=]?\s*[\"']?\s*"
)
_NAMED = r"\b(?:option|choice|letter)\s+[\"']?"


@dataclass(frozen=True)
class _Mention:
    """A choice's letter where it is named; `end` is past its last character."""

    letter: str
    start: int
    end: int


def find_choice(answer: str, choices: Sequence[Choice]) -> str | None:
    """The letter of the one choice that an answer takes; None where there is none or any doubt.

    A choice is named by its letter where that stands as one: "(B)", "B)" or "B." at the start of a line, "option B",
    "the answer is B", or B alone; by its whole text; or by "yes", "no", "true" or "false" standing as an answer, where
    exactly one choice's text begins with this word. An answer that names more than one choice, names one behind a
    negation or in a question, or says both yes and no, is not read.

    Args:
        answer: what the model wrote, which may break off anywhere.
        choices: of the question in the order it was asked in; texts may be empty where they aren't known.
    """
    text = _plain(answer)
    texts = {choice.letter: _plain(choice.text).strip(" .!?,;:") for choice in choices}
    alone = text.strip(" \n\t.!,;:\"'()[]").casefold()
    whole = [letter for letter, own in texts.items() if alone and alone in (letter.casefold(), own.casefold())]
    if whole:
        return whole[0] if len(whole) == 1 else None
    told, rest = _texts(text, texts)
    words, polarities = _words(rest, texts)
    strong = [*told, *words, *_letters(rest, texts)]
    named = {mention.letter for mention in strong} | _loose(rest, texts)
    if len(named) != 1 or not strong or len(polarities) > 1:
        return None
    return None if any(_doubted(rest, mention) for mention in strong) else named.pop()


def _plain(text: str) -> str:
    """Compatible characters as one, straight quotes, no Markdown marks, single blanks."""
    text = unicodedata.normalize("NFKC", text).replace("\u2019", "'").replace("\u2018", "'")
    text = re.sub(r"[\u201c\u201d]", '"', text)
    text = re.sub(r"[*_`]+", "", text)
    return re.sub(r"[^\S\n]+", " ", text).strip()


def _texts(text: str, texts: dict[str, str]) -> tuple[list[_Mention], str]:
    """Where whole texts of choices stand, the longest first, and the answer with bullets in their places."""
    found = []
    for letter, wanted in sorted(texts.items(), key=lambda pair: -len(pair[1])):
        if len(wanted) < 2 or wanted.casefold() in OPPOSITES:
            continue
        # A text that is a part of another one may be that one's beginning: it counts only as the whole answer.
        if any(wanted.casefold() in other.casefold() for key, other in texts.items() if key != letter):
            continue
        pattern = r"\s+".join(map(re.escape, wanted.split()))
        for match in list(re.finditer(rf"(?<!\w){pattern}(?!\w)", text, re.IGNORECASE)):
            found.append(_Mention(letter, *match.span()))
            text = text[: match.start()] + "•" * (match.end() - match.start()) + text[match.end() :]
    return found, text


def _words(text: str, texts: dict[str, str]) -> tuple[list[_Mention], set[bool]]:
    """Where "yes", "no", "true" or "false" names a choice, and which of the two sides such words are on at all."""
    found, sides = [], set()
    for word, pattern in _WORDS.items():
        owners = [letter for letter, own in texts.items() if re.match(rf"{word}(?![\w'-])", own, re.IGNORECASE)]
        for match in re.finditer(pattern, text, re.IGNORECASE):
            sides.add(word in _POSITIVE)
            if len(owners) == 1:
                found.append(_Mention(owners[0], *match.span()))
    return found, sides


def _letters(text: str, texts: dict[str, str]) -> list[_Mention]:
    """Where a letter stands as a choice's name."""
    found = []
    for letter in texts:
        small = f"[{letter}{letter.lower()}]"
        forms = [rf"(?<![\w(\[])[(\[]\s?({small})\s?[)\]]"]
        if not any(own.upper() in texts for own in texts.values()):
            forms += [
                rf"^\s*[\"']?({letter})(?=[).:,\"'\]](?!\w)|\s*$|\s+[-–—]|\s+(?:{_REASON}|is\b))",
                rf"^\s*({small})(?=\))",
                rf"(?:{_NAMED}|\b(?:[Oo]ption|[Cc]hoice|[Ll]etter)\s+)({letter})(?![\w'-])",
                rf"(?i:{_LEAD})({letter})(?![\w'-])(?=\s*(?:$|[.,!?;:)\]\"'\n•–—]|-\s|{_REASON}))",
            ]
        for form in forms:
            found += [_Mention(letter, *match.span(1)) for match in re.finditer(form, text, re.MULTILINE)]
    return found


def _loose(text: str, texts: dict[str, str]) -> set[str]:
    """Capitals of choices that stand alone anywhere: too little to be an answer, enough to make another doubtful."""
    found = set()
    for letter in texts:
        # "A" and "I" before a word are words.
        word = r"(?!\s+\w|')" if letter in "AI" else r"(?!')"
        if re.search(rf"(?<![\w'.-]){letter}(?![\w-]){word}", text):
            found.add(letter)
    return found


def _doubted(text: str, mention: _Mention) -> bool:
    """Whether a mention stands behind a negation, is refuted after it, or is asked."""
    before = _SENTENCE_END.split(text[: mention.start])[-1]
    after = text[mention.end :]
    ending = _SENTENCE_END.search(after)
    asked = ending is not None and ending[0] == "?"
    return asked or bool(_NEGATION.search(before) or _REFUTED.match(after))

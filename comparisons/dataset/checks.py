"""What can be wrong with data though every file can be read: leaks, repetitions, lopsided letters and lengths."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from comparisons.dataset.behaviors import DEV_LEAST, Behavior, Library
from comparisons.dataset.contents import content, plain, wanted
from comparisons.dataset.describe import longer_share
from comparisons.dataset.items import Item
from comparisons.dataset.scaffold import example_contents, example_texts
from comparisons.dataset.splitting import TEST_ITEMS
from comparisons.dataset.texts import TEXTS_FILE
from comparisons.stats.counts import coin_p
from comparisons.util.errors import CompareError

Level = Literal["error", "warning"]

LOPSIDED = 0.01
"""Two-sided p-value below which letters can't be called balanced."""

TELLING = 0.75
"""Share of pairs from which on the longer choice tells the matching one."""

NAMED = 3
"""Items that a finding names."""

_WORDS = {
    "system prompts": "methods that ask by one fail",
    "rubric": "a judge that goes by one can't score free answers",
}


@dataclass(frozen=True)
class Finding:
    """Something to know about a behavior's data.

    Attributes:
        level: "error" makes numbers wrong; "warning" makes them say less than they seem to.
        behavior: its name.
        part: "generate" or "test", "behavior.json" for its texts; "" for all of it.
        text: what, and what it does.
        mend: what to do about it; "" where the text says it.
    """

    level: Level
    behavior: str
    part: str
    text: str
    mend: str = ""


Found: TypeAlias = tuple[Level, str, str, str]
"""A finding without its behavior: level, part, text, mend."""


def check_all(library: Library) -> list[Finding]:
    """Checks every behavior; one that can't be read is a finding, and the others are checked."""
    found: list[Finding] = []
    for name in library.names:
        try:
            found += check_behavior(library.behavior(name))
        except CompareError as error:
            found.append(Finding("error", name, "", str(error)))
    return found


def check_behavior(behavior: Behavior) -> list[Finding]:
    """What there is to know about a behavior's data, errors first."""
    found = [*_between(behavior)]
    for part, items in (("generate", behavior.train), ("test", behavior.test)):
        found += [(level, part, text, mend) for level, text, mend in _within(items)]
    found += [*_numbers(behavior), *_texts(behavior)]
    found.sort(key=lambda finding: finding[0])
    return [Finding(level, behavior.name, part, text, mend) for level, part, text, mend in found]


def _between(behavior: Behavior) -> Iterator[Found]:
    """Leaks from the pairs that are fitted on into the test questions."""
    known = {content(item): item for item in behavior.train}
    leaked = [(item, known[content(item)]) for item in behavior.test if content(item) in known]
    if leaked:
        names = _named([f"{item.id} = {other.id}" for item, other in leaked])
        text = f"{counted(len(leaked), 'question')} among the pairs to generate from: {names}."
        yield "error", "test", text, "Take them out of one of the two; `compare data split` keeps them apart."
    stems = {plain(item.stem) for item in behavior.train if item.choices}
    shared = [
        item for item in behavior.test if item.choices and plain(item.stem) in stems and content(item) not in known
    ]
    if shared:
        names = _named([item.id for item in shared])
        text = f"{counted(len(shared), 'question')} with the stem of a pair to generate from, and other choices"
        yield (
            "warning",
            "test",
            f"{text}: {names}.",
            "Keep all items of a stem on one side, as `compare data split` does.",
        )


def _numbers(behavior: Behavior) -> Iterator[Found]:
    """Whether there is enough, and of the user's own."""
    if len(behavior.train) < 2 * DEV_LEAST:
        text = f"{counted(len(behavior.train), 'pair')}: too few to leave settings to a dev split."
        yield "warning", "generate", text, f"Write {2 * DEV_LEAST} or more, or state every setting that is auto."
    if len(behavior.test) < TEST_ITEMS:
        text = f"{counted(len(behavior.test), 'question')}, fewer than the paper's {TEST_ITEMS}."
        yield "warning", "test", text, "Write more: intervals narrow with them."
    examples = sum(content(item) in example_contents() for item in (*behavior.train, *behavior.test))
    if examples:
        text = f"{counted(examples, 'item')} of the example that `compare data new` writes."
        yield "warning", "", text, "Write your own, and cut them by `compare data split --replace`."


def _texts(behavior: Behavior) -> Iterator[Found]:
    """What the behavior lacks in words, and what is still the example's."""
    own, example = (behavior.prompts, behavior.rubric), (example_texts().prompts, example_texts().rubric)
    pairs = list(zip(_WORDS, own, example, strict=True))
    lacks = [name for name, mine, _ in pairs if mine is None]
    if lacks:
        text = f"no {' and no '.join(lacks)}: {' and '.join(_WORDS[name] for name in lacks)}."
        yield "warning", TEXTS_FILE, text, f"Write them to {Path(behavior.source).parent / TEXTS_FILE}."
    left = [name for name, mine, theirs in pairs if mine is not None and mine == theirs]
    if left:
        text = f"{' and '.join(left)} of the example that `compare data new` writes."
        yield "warning", TEXTS_FILE, text, "Write your own."


def _within(items: Sequence[Item]) -> Iterator[tuple[Level, str, str]]:
    groups: dict[Hashable, list[Item]] = defaultdict(list)
    for item in items:
        groups[content(item)].append(item)
    repeated = [group for group in groups.values() if len(group) > 1]
    torn = [group for group in repeated if len({wanted(item) for item in group}) > 1]
    if torn:
        names = _named([" = ".join(item.id for item in group) for group in torn])
        text = f"{counted(len(torn), 'item')} with one and with another matching answer: {names}."
        yield "error", text, "Decide which answer matches the behavior."
    if repeated:
        names = _named([" = ".join(item.id for item in group) for group in repeated])
        count = sum(len(group) - 1 for group in repeated)
        yield "warning", f"{counted(count, 'repeated item')}: {names}.", "Keep one of each."
    if unparsed := [item.id for item in items if not item.parsed]:
        text = f"{counted(len(unparsed), 'item')} that can't be shown in both orders: {_named(unparsed)}."
        yield "warning", text, "Write each choice on a line of its own: (A) …, (B) …, with different texts."
    yield from _letters(items)
    share = longer_share(items)
    if share is not None and max(share, 1 - share) >= TELLING:
        which = "longer" if share > 0.5 else "shorter"
        text = f"the matching choice is the {which} one in {max(share, 1 - share):.0%}: length tells it."
        yield "warning", text, "Write answers of like length, or let each side be the longer one by turns."


def _letters(items: Sequence[Item]) -> Iterator[tuple[Level, str, str]]:
    """Whether the first of the two letters matches too often or too rarely."""
    first = sum(item.matching < item.contrast for item in items)
    if len(items) < 2 or coin_p(first, len(items)) >= LOPSIDED:
        return
    text = f"the first letter matches in {first} of {len(items)}"
    text += ": what is fitted on them is in part a liking for a letter."
    yield "warning", text, "Exchange the two choices of about half of the items."


def counted(count: int, what: str) -> str:
    """A number of things: "1 item", "2 items"."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(names[:NAMED])
    return shown if len(names) <= NAMED else f"{shown} and {len(names) - NAMED} more"

"""The numbers by which data are known, and what can be wrong with them, as test questions among the pairs to fit on."""

from __future__ import annotations

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal, Protocol, TypeAlias

from comparisons.dataset.behaviors import DEV_LEAST, Behavior, Library
from comparisons.dataset.items import Item, content, wanted
from comparisons.dataset.scaffold import example_contents, example_texts
from comparisons.dataset.splits import TEST_ITEMS
from comparisons.dataset.texts import TEXTS_FILE
from comparisons.stats.counts import coin_p
from comparisons.util.errors import CompareError
from comparisons.util.table import NOTHING, Column, Row, Table

NEAR = 0.8
"""Of the three-word sequences that either of two stems has, the share in both beyond which they are alike."""

_WORD = re.compile(r"\w+")


def leaks(train: Iterable[Item], test: Sequence[Item], near: float = NEAR) -> list[tuple[Item, Item]]:
    """Each test question that leaks, with the first pair like it.

    Two are alike where their stems have the same words, whatever their case and punctuation, or more than `near` of
    their three-word sequences (Jaccard 1901). Items that both name a template are not held to
    the latter: they are variations of few sentences, and count as their templates.

    Args:
        train: pairs to fit on; gone through once.
    """
    words = [tuple(_WORD.findall(item.stem.lower())) for item in test]
    grams = [_grams(each) for each in words]
    with_words, with_gram = defaultdict[tuple[str, ...], list[int]](list), defaultdict[tuple[str, ...], list[int]](list)
    for place, (each, own) in enumerate(zip(words, grams, strict=True)):
        with_words[each].append(place)
        for gram in own:
            with_gram[gram].append(place)
    found: dict[int, Item] = {}
    for item in train:
        each = tuple(_WORD.findall(item.stem.lower()))
        own = _grams(each)
        common = Counter(place for gram in own for place in with_gram.get(gram, ()))
        alike = [place for place, n in common.items() if n > near * (len(own) + len(grams[place]) - n)]
        alike = [place for place in alike if not (item.template and test[place].template)]
        for place in (*with_words.get(each, ()), *alike):
            found.setdefault(place, item)
    return [(test[place], found[place]) for place in sorted(found)]


def leak_notes(behaviors: Mapping[str, Behavior], allowed: bool) -> tuple[str, ...]:
    """A line of each behavior whose test questions stand among its pairs.

    Raises:
        CompareError: there is one, and leaks are not allowed.
    """
    lines = []
    for name, behavior in behaviors.items():
        if found := leaks(behavior.train, behavior.test):
            pairs = ", ".join(f"{a.id} = {b.id}" for a, b in found[:3]) + (", …" if len(found) > 3 else "")
            lines.append(
                f"{name}: {len(found)} of {len(behavior.test)} test questions stand among the pairs to fit on, "
                f"word for word or nearly ({pairs})"
            )
    if lines and not allowed:
        raise CompareError(f"{lines[0]}: leave them out of either part, or say --allow-leaks.")
    return tuple(f"{line}: shifts may be larger than on new questions." for line in lines)


def _grams(words: Sequence[str]) -> set[tuple[str, ...]]:
    return set(zip(words, words[1:], words[2:], strict=False))


log = logging.getLogger(__name__)

Level = Literal["error", "warning"]

LOPSIDED = 0.01
"""Two-sided p-value below which letters can't be called balanced."""

TELLING = 0.75
"""Share of pairs from which on the longer choice tells the matching one."""

ALIKE = 0.5
"""Of the three-word sequences of a test question and a pair, the share in both beyond which they are warned of."""

NAMED = 3
"""Items that a finding names."""

SHOWN = 26
"""Letters or labels of a part that the table names; of more it gives the number."""

_WORDS = {
    "system prompts": "methods that ask by one fail",
    "rubric": "a judge that goes by one can't score free answers",
}


@dataclass(frozen=True)
class Finding:
    """Something to know about a behavior's data.

    Attributes:
        level: "error" makes numbers wrong; "warning" makes them say less than they seem to.
        part: "generate" or "test", "behavior.json" for its texts; "" for all of it.
        text: what, and what it does.
        mend: what to do about it; "" where the text says it.
    """

    level: Level
    behavior: str
    part: str
    text: str
    mend: str = ""


class _Lettered(Protocol):
    """An item, or a pair of which activations were kept."""

    @property
    def matching(self) -> str: ...

    @property
    def contrast(self) -> str: ...


_Unnamed: TypeAlias = tuple[Level, str, str, str]
"""A finding without its behavior: level, part, text, mend."""


def check_all(library: Library) -> list[Finding]:
    """Checks every behavior; one that can't be read is a finding, and so is a knowledge set; the others are checked."""
    findings: list[Finding] = []
    for choice in library.knowledge_sets:
        try:
            library.knowledge(choice)
        except CompareError as error:
            findings.append(Finding("error", "", "knowledge", str(error)))
    for name in library.names:
        try:
            findings += check_behavior(library.behavior(name))
        except CompareError as error:
            findings.append(Finding("error", name, "", str(error)))
    return findings


def check_behavior(behavior: Behavior) -> list[Finding]:
    """What there is to know about a behavior's data, errors first."""
    findings = [*_between(behavior)]
    for part, items in (("generate", behavior.train), ("test", behavior.test)):
        findings += [(level, part, text, mend) for level, text, mend in _within(items)]
    findings += [*_numbers(behavior), *_texts(behavior)]
    findings.sort(key=lambda finding: finding[0])
    return [Finding(level, behavior.name, part, text, mend) for level, part, text, mend in findings]


def _between(behavior: Behavior) -> Iterator[_Unnamed]:
    """Leaks from the pairs that are fitted on into the test questions, as a run finds them; and what is half alike."""
    refused = leaks(behavior.train, behavior.test)
    if refused:
        text = f"{counted(len(refused), 'question')} among the pairs to generate from, word for word or nearly"
        mend = "Take them out of one of the two; `compare data split` keeps a stem on one side. A run refuses them."
        yield "error", "test", f"{text}: {_paired(refused)}.", mend
    known = {item.id for item, _ in refused}
    alike = [pair for pair in leaks(behavior.train, behavior.test, ALIKE) if pair[0].id not in known]
    if alike:
        text = f"{counted(len(alike), 'question')} half like a pair to generate from: {_paired(alike)}."
        yield "warning", "test", text, "Name a template for variations of one sentence, or keep them on one side."


def _numbers(behavior: Behavior) -> Iterator[_Unnamed]:
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


def _texts(behavior: Behavior) -> Iterator[_Unnamed]:
    """What the behavior lacks in words, and what is still the example's."""
    given, example = (behavior.prompts, behavior.rubric), (example_texts().prompts, example_texts().rubric)
    texts = list(zip(_WORDS, given, example, strict=True))
    lacks = [name for name, written, _ in texts if written is None]
    if lacks:
        text = f"no {' and no '.join(lacks)}: {' and '.join(_WORDS[name] for name in lacks)}."
        yield "warning", TEXTS_FILE, text, f"Write them to {Path(behavior.source).parent / TEXTS_FILE}."
    left = [name for name, written, shown in texts if written is not None and written == shown]
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
    first = sum(item.matching < item.contrast for item in items)
    if coin_p(first, len(items)) < LOPSIDED:
        yield "warning", f"{_liking(first, len(items))}.", "Exchange the two choices of about half of the items."
    share = longer_share(items)
    if share is not None and max(share, 1 - share) >= TELLING:
        which = "longer" if share > 0.5 else "shorter"
        text = f"the matching choice is the {which} one in {max(share, 1 - share):.0%}: length tells it."
        yield "warning", text, "Write answers of like length, or let each side be the longer one by turns."


def warn_of_letters(name: str, pairs: Iterable[_Lettered]) -> None:
    """Warns where one of two letters matches always, or too often, in the pairs of a behavior that a vector is of."""
    sides = [pair.matching < pair.contrast for pair in pairs if pair.matching]
    first, count = sum(sides), len(sides)
    if count > 1 and (first in (0, count) or coin_p(first, count) < LOPSIDED):
        log.warning("%s: %s.", name, _liking(first, count))


def _liking(first: int, count: int) -> str:
    return f"the first letter matches in {first} of {count}: what is fitted on them is in part a liking for a letter"


def counted(count: int, what: str) -> str:
    """A number of things: "1 item", "2 items"."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def _paired(pairs: Sequence[tuple[Item, Item]]) -> str:
    return _named([f"{item.id} = {other.id}" for item, other in pairs])


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(names[:NAMED])
    return shown if len(names) <= NAMED else f"{shown} and {len(names) - NAMED} more"


@dataclass(frozen=True)
class Description:
    """One part of a behavior's data.

    Attributes:
        letters: how many match under each letter.
        templates: how many there are; None where the items name none.
        words: median and largest number of words of a question.
        longer: share of the items whose matching choice has more characters than its contrast; None where none is
            parsed.
    """

    behavior: str
    part: str
    items: int
    letters: dict[str, int]
    unparsed: int
    templates: int | None
    labels: dict[str, int]
    words: tuple[float, int]
    longer: float | None


def describe(behavior: str, part: str, items: Sequence[Item]) -> Description:
    """The numbers of a part; it has at least one item."""
    words = [len(item.question.split()) for item in items]
    templates = {item.template for item in items} - {None}
    return Description(
        behavior=behavior,
        part=part,
        items=len(items),
        letters=_counts([item.matching for item in items]),
        unparsed=sum(not item.parsed for item in items),
        templates=len(templates) or None,
        labels=_counts([item.label for item in items if item.label is not None]),
        words=(median(words), max(words)),
        longer=longer_share(items),
    )


def describe_all(library: Library) -> list[Description]:
    """The numbers of every behavior, both parts."""
    read = map(library.behavior, library.names)
    return [describe(b.name, *part) for b in read for part in (("generate", b.train), ("test", b.test))]


def longer_share(items: Sequence[Item]) -> float | None:
    """How often the matching choice is the longer one; equal lengths count by half. None where no item is parsed."""
    sides = []
    for item in items:
        length = {choice.letter: len(choice.text) for choice in item.choices}
        if item.parsed:
            difference = length[item.matching] - length[item.contrast]
            sides.append(1.0 if difference > 0 else 0.0 if difference < 0 else 0.5)
    return sum(sides) / len(sides) if sides else None


def description_table(parts: Sequence[Description]) -> Table:
    """A line a part."""
    rows = []
    for one in parts:
        cells = {
            "behavior": one.behavior,
            "part": one.part,
            "items": str(one.items),
            "matching": _shown(one.letters),
            "unparsed": str(one.unparsed),
            "templates": NOTHING if one.templates is None else str(one.templates),
            "labels": _shown(one.labels) or NOTHING,
            "words": f"{one.words[0]:g}",
            "longest": str(one.words[1]),
            "matching longer": NOTHING if one.longer is None else f"{one.longer:.0%}",
        }
        rows.append(Row(tuple(cells.values()), one.behavior))
    words = ("behavior", "part", "matching", "labels")
    columns = tuple(Column(title, align="left" if title in words else "right") for title in cells)
    return Table(columns, tuple(rows), ("words, longest: of a question, median and largest.",)).without_empty()


def _counts(values: Sequence[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))


def _shown(counts: dict[str, int]) -> str:
    if len(counts) > SHOWN:
        return f"{len(counts)} different"
    return " ".join(f"{name} {count}" for name, count in counts.items())

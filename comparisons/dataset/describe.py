"""How many items, under which letters, how long: the numbers by which data sets are known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from comparisons.dataset.behaviors import Library
from comparisons.dataset.items import Item
from comparisons.util.table import NOTHING, Column, Row, Table

SHOWN = 26
"""Letters or labels of a part that the table names; of more it gives the number."""


@dataclass(frozen=True)
class Description:
    """One part of a behavior's data.

    Attributes:
        behavior: its name.
        part: "generate" or "test".
        items: how many.
        letters: how many match under each letter.
        unparsed: how many can only be shown as given.
        templates: how many there are; None where the items name none.
        labels: how many items have each label.
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
    found = []
    for name in library.names:
        behavior = library.behavior(name)
        found += [describe(name, "generate", behavior.train), describe(name, "test", behavior.test)]
    return found


def longer_share(items: Sequence[Item]) -> float | None:
    """How often the matching choice is the longer one; equal lengths count by half. None where no item is parsed."""
    found = []
    for item in items:
        length = {choice.letter: len(choice.text) for choice in item.choices}
        if item.parsed:
            difference = length[item.matching] - length[item.contrast]
            found.append(1.0 if difference > 0 else 0.0 if difference < 0 else 0.5)
    return sum(found) / len(found) if found else None


def description_table(found: Sequence[Description]) -> Table:
    """A line a part."""
    heads = (
        "behavior",
        "part",
        "items",
        "matching",
        "unparsed",
        "templates",
        "labels",
        "words",
        "longest",
        "matching longer",
    )
    rows = []
    for one in found:
        cells = (
            one.behavior,
            one.part,
            str(one.items),
            _shown(one.letters),
            str(one.unparsed),
            NOTHING if one.templates is None else str(one.templates),
            _shown(one.labels) or NOTHING,
            f"{one.words[0]:g}",
            str(one.words[1]),
            NOTHING if one.longer is None else f"{one.longer:.0%}",
        )
        rows.append(Row(cells, one.behavior))
    columns = tuple(
        Column(head, align="left" if place in (0, 1, 3, 6) else "right") for place, head in enumerate(heads)
    )
    return Table(columns, tuple(rows), ("words, longest: of a question, median and largest.",)).without_empty()


def description_records(found: Sequence[Description]) -> list[dict[str, Any]]:
    """The same numbers, for JSON."""
    return [asdict(one) for one in found]


def _counts(values: Sequence[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))


def _shown(counts: dict[str, int]) -> str:
    if len(counts) > SHOWN:
        return f"{len(counts)} different"
    return " ".join(f"{name} {count}" for name, count in counts.items())

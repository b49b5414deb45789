"""What was simulated, as tables in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from tests.validation.behaviors import Behaviors
from tests.validation.costs import Verdicts
from tests.validation.families import Family
from tests.validation.seeds import Seeds
from tests.validation.selections import Selection
from tests.validation.sentences import Sentences
from tests.validation.simulations import Coverage, FalsePositives, Power
from tests.validation.small import Labels, Small


def coverage_table(rows: Sequence[Coverage]) -> str:
    """A row for each shape and number of items."""
    head = ("data", "items", "independent units", "covered", "asked for", "interval too low", "too high", "plain BCa")
    lines = [
        (*_names(row), _share(row.covered), _bound(row.bound, "≥"), *map(_share, (row.low, row.high, row.plain)))
        for row in rows
    ]
    return markdown(head, lines)


def errors_table(rows: Sequence[FalsePositives]) -> str:
    """A row for each null and size of table."""
    head = ("differences", "cells", "items", "uncorrected", "Holm", "max-T", "asked for")
    lines = [
        (row.null, f"{row.cells}", f"{row.items}", *map(_share, (row.raw, row.holm, row.max_t)), _bound(row.bound, "≤"))
        for row in rows
    ]
    return markdown(head, lines)


def verdicts_table(rows: Sequence[Verdicts]) -> str:
    """A row for each shape and number of items."""
    head = ("costs", "items", "bootstrap alone", "two bounds", "three bounds: said", "asked for")
    lines = [
        (row.shape, f"{row.items}", *map(_share, (row.bootstrap, row.two, row.said)), _bound(row.bound, "≤"))
        for row in rows
    ]
    return markdown(head, lines)


def power_table(rows: Sequence[Power], multiples: Sequence[float]) -> str:
    """A row for each curve; columns are true shifts in minimum detectable shifts."""
    head = ("data", "items", "independent units", "minimum detectable shift", *(f"power at {m:g} ×" for m in multiples))
    lines = [(*_names(row), f"{row.detectable:.3f}", *map(_share, row.found)) for row in rows]
    return markdown(head, lines)


def families_table(rows: Sequence[Family]) -> str:
    """A row for each shape and number of items."""
    head = ("cells", "items", "independent units", "a difference said", "asked for", "own interval covers", "asked for")
    lines = [
        (
            *(row.data, f"{row.items}", f"{row.units}", _share(row.wrong), _bound(row.bound, "≤")),
            *(_share(row.covered), _bound(row.least, "≥"), _share(row.held), _share(row.named)),
        )
        for row in rows
    ]
    return markdown((*head, "all shifts covered at once", "named as skewed"), lines)


def sentences_table(rows: Sequence[Sentences]) -> str:
    """A row for each kind of questions."""
    head = ("questions", "items", "independent units", '"moved"', '"the wrong way"', "told apart", "any", "asked for")
    lines = [
        (
            *(row.data, f"{row.items}", f"{row.units}"),
            *map(_share, (row.moves, row.wrongly, row.told_apart, row.any)),
            _bound(row.bound, "≤"),
        )
        for row in rows
    ]
    return markdown(head, lines)


def seeds_table(rows: Sequence[Seeds]) -> str:
    """A row for each number of fits and spread of them."""
    head = ("questions", "fits", "their deviation", "covered", "asked for", "by questions alone", "told from itself")
    lines = [
        (
            *(row.data, f"{row.seeds}", f"{row.deviation:g}", _share(row.covered), _bound(row.least, "≥")),
            *(_share(row.unaware), _share(row.different), _bound(row.bound, "≤")),
        )
        for row in rows
    ]
    return markdown((*head, "asked for"), lines)


def behaviors_table(rows: Sequence[Behaviors]) -> str:
    """A row for each number of behaviors and spread of them."""
    head = ("behaviors", "tau", "mean covered", "asked for", "mean, as if tau were 0", "another behavior covered")
    lines = [
        (
            *(f"{row.behaviors}", f"{row.tau:g}", _share(row.covered), _bound(row.least, "≥")),
            *(_share(row.fixed), _share(row.predicted)),
        )
        for row in rows
    ]
    return markdown(head, lines)


def small_table(rows: Sequence[Small]) -> str:
    """A row for each shape and number of items."""
    head = (
        *("shifts", "items", "independent units", "BCa covers", "in the table", "a verdict", "its interval untrue"),
        *("asked for", "it is wrong", "p ≤ .05, either sign", "asked for", "p ≤ .05, mean 0", "said of all such runs"),
    )
    lines = [
        (
            *(row.data, f"{row.items}", f"{row.units}", _share(row.bca), "yes" if row.shown else "no"),
            *(_share(row.verdicts), _share(row.untrue), _bound(row.most, "≤"), _share(row.wrong), _share(row.either)),
            *(_bound(row.bound, "≤"), _share(row.centred), ", ".join(row.said) or "–"),
        )
        for row in rows
    ]
    return markdown(head, lines)


def labels_table(rows: Sequence[Labels]) -> str:
    """A row for each shape and number of items."""
    head = ("shifts", "of each label", "a label's covers", "the difference's covers", "in the report", "asked for")
    lines = [
        (
            *(row.data, f"{row.items}", _share(row.own), _share(row.difference), "yes" if row.shown else "no"),
            _bound(row.least if row.shown else None, "≥"),
        )
        for row in rows
    ]
    return markdown(head, lines)


def selections_table(rows: Sequence[Selection]) -> str:
    """A row for each shape of costs and number of questions."""
    head = (
        *("costs", "knowledge questions on dev", "both selected", "over the limit", "and said to be within"),
        *("moved, by dev", "moved, by test", "told apart", "asked for"),
    )
    lines = [
        (
            *(row.data, f"{row.dev}", _share(row.selected), _share(row.beyond), _share(row.within)),
            *(*map(_share, (row.dev_moved, row.moved, row.apart)), _bound(row.bound, "≤")),
        )
        for row in rows
    ]
    return markdown(head, lines)


def _names(row: Coverage | Power) -> tuple[str, str, str]:
    return row.shape, f"{row.items}", f"{row.units}"


def _share(value: float) -> str:
    return f"{value:.3f}"


def _bound(value: float | None, sign: str) -> str:
    return "–" if value is None else f"{sign} {value:.3f}"


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table, its first column to the left and the others to the right."""
    rule = ["---", *("---:" for _ in head[1:])]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *lines))

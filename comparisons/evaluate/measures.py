"""The numbers of a cell from its result rows, paired by item with the baseline's (design: section 7)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from comparisons import stats

Row = Mapping[str, Any]


@dataclass(frozen=True)
class ItemMeasures:
    """Per-item numbers of one cell and evaluation, in the items' order.

    Attributes:
        items: item ids.
        p_match: mean over the item's orders.
        content: mean over the item's orders of the logit of p_match.
        p_first: for each row, P(first letter) / P(both letters).
        lost: for each row, 1 − P(both letters).
    """

    items: tuple[str, ...]
    p_match: np.ndarray
    content: np.ndarray
    p_first: np.ndarray
    lost: np.ndarray


def item_measures(rows: Sequence[Row], evaluation: str) -> ItemMeasures:
    """Averages each item over its orders."""
    mine = [row for row in rows if row["evaluation"] == evaluation]
    by_item: dict[str, list[Row]] = {}
    for row in mine:
        by_item.setdefault(row["item"], []).append(row)
    logp = np.array([(row["logp_matching"], row["logp_contrast"]) for row in mine], dtype=float).reshape(-1, 2)
    is_first = np.array([row["matching"] < row["contrast"] for row in mine], dtype=bool)
    p_match = np.array([row["p_match"] for row in mine], dtype=float)
    return ItemMeasures(
        items=tuple(by_item),
        p_match=np.array([np.mean([r["p_match"] for r in group]) for group in by_item.values()]),
        content=np.array(
            [np.mean([r["logp_matching"] - r["logp_contrast"] for r in group]) for group in by_item.values()]
        ),
        p_first=np.where(is_first, p_match, 1 - p_match),
        lost=1 - np.exp(logp).sum(axis=1),
    )


@dataclass(frozen=True)
class Paired:
    """A cell's difference from the baseline, item by item.

    Attributes:
        difference: cell minus baseline of p_match, over the items both have.
        content: the same of the content logit.
        clusters: the items' templates, None where no item has one.
    """

    difference: np.ndarray
    content: np.ndarray
    clusters: list[Hashable] | None

    def interval(self, seed: int, sign: float = 1.0) -> list[float] | None:
        """The 95% BCa interval of the mean difference, times `sign`."""
        return interval(sign * self.difference, self.clusters, seed)


def paired(cell: ItemMeasures, baseline: ItemMeasures, templates: Mapping[str, str | None]) -> Paired:
    """Pairs two cells by item; an item that either lacks is left out of both."""
    place = {item: i for i, item in enumerate(baseline.items)}
    shared = [(i, place[item]) for i, item in enumerate(cell.items) if item in place]
    mine, theirs = (np.array(index, dtype=int) for index in (zip(*shared, strict=True) if shared else ((), ())))
    return Paired(
        difference=cell.p_match[mine] - baseline.p_match[theirs],
        content=cell.content[mine] - baseline.content[theirs],
        clusters=clusters([cell.items[i] for i in mine], templates),
    )


def clusters(items: Sequence[str], templates: Mapping[str, str | None]) -> list[Hashable] | None:
    """The cluster of each item: its template, or the item itself; None where no item has a template."""
    if not any(templates.get(item) for item in items):
        return None
    return [templates.get(item) or ("item", item) for item in items]


def interval(values: np.ndarray, groups: Sequence[Hashable] | None, seed: int) -> list[float] | None:
    """A 95% BCa interval of a mean as [low, high], None where there is none (one item, one template)."""
    if not len(values):
        return None
    found = stats.bca_interval(values, clusters=groups, seed=seed)
    return None if found is None else [found.low, found.high]

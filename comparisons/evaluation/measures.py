"""The numbers of a cell from its result rows, paired by item with the baseline's."""

from __future__ import annotations

import math
import zlib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from comparisons import stats
from comparisons.results.schema import Noise

Row = Mapping[str, Any]


@dataclass(frozen=True)
class ItemMeasures:
    """Per-item numbers of one cell and evaluation, in the items' order.

    Attributes:
        items: item ids.
        p_match: mean over the item's orders.
        content: mean over the item's orders of the logit of p_match; NaN where nobody asked for letters.
        p_first: for each row, P(first letter) / P(both letters); NaN where there are none, or more than two.
        lost: for each row, 1 − P(all its letters), or NaN where texts answered.
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
    of_two = np.array([len(row["contrast"] or "") == 1 for row in mine], dtype=bool)
    is_first = np.array([(row["matching"] or "") < (row["contrast"] or "") for row in mine], dtype=bool)
    p_match = np.array([row["p_match"] for row in mine], dtype=float)
    return ItemMeasures(
        items=tuple(by_item),
        p_match=np.array([np.mean([r["p_match"] for r in group]) for group in by_item.values()]),
        content=np.array([np.mean([_logit(row) for row in group]) for group in by_item.values()]),
        p_first=np.where(of_two, np.where(is_first, p_match, 1 - p_match), np.nan),
        lost=np.where(["tokens_matching" in row for row in mine], np.nan, 1 - np.exp(logp).sum(axis=1)),
    )


@dataclass(frozen=True)
class LetterSplit:
    """Per-item logits of one cell and evaluation, split into content and letter; see `stats.content_and_letter`.

    Attributes:
        items: ids of the items that were asked in both orders.
        content: the part of the logit of p_match that follows the content.
        letter: the part that follows the letter; positive prefers the first-listed one.
    """

    items: tuple[str, ...]
    content: np.ndarray
    letter: np.ndarray


def letter_split(rows: Sequence[Row], evaluation: str) -> LetterSplit:
    """Splits the items that were asked in both orders; the others can't be, and are left out."""
    by_item: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        if row["evaluation"] == evaluation:
            by_item.setdefault(row["item"], {}).setdefault(row["order"], []).append(row)
    both = {item: found for item, found in by_item.items() if {"given", "swapped"} <= found.keys()}
    if not both:
        return LetterSplit((), np.array([]), np.array([]))
    orders = ("given", "swapped")
    logits = np.array([[np.mean([_logit(row) for row in found[o]]) for o in orders] for found in both.values()])
    first = [found["given"][0]["matching"] < found["given"][0]["contrast"] for found in both.values()]
    return LetterSplit(tuple(both), *stats.content_and_letter(logits[:, 0], logits[:, 1], first))


def letter_habit(rows: Sequence[Row], evaluation: str) -> dict[str, float | None]:
    """How far answers follow the letter, by the summary's keys, over the items that were asked in both orders.

    Returns:
        "same_letter": the share with the same letter in both orders; "order_correlation": of their logits of p_match.
        None without such items, and for a correlation with fewer than three or without spread.
    """
    split = letter_split(rows, evaluation)
    if not split.items:
        return {"same_letter": None, "order_correlation": None}
    asked = [row for row in rows if row["evaluation"] == evaluation and row["order"] == "given"]
    first = {row["item"]: row["matching"] < row["contrast"] for row in asked}
    letter = np.where([first[item] for item in split.items], split.letter, -split.letter)
    given, swapped = split.content + letter, split.content - letter
    spread = len(given) > 2 and given.std() > 0 and swapped.std() > 0
    return {
        "same_letter": float(((given > 0) != (swapped > 0)).mean()),
        "order_correlation": float(np.corrcoef(given, swapped)[0, 1]) if spread else None,
    }


def _logit(row: Row) -> float:
    """Of p_match; NaN for a row without letters and texts."""
    if row["logp_matching"] is None:
        return math.nan
    matching, contrast = float(row["logp_matching"]), float(row["logp_contrast"])
    if "tokens_matching" in row:  # of texts, of which each token counts alike
        return matching / int(row["tokens_matching"]) - contrast / int(row["tokens_contrast"])
    return matching - contrast


def letter_shifts(
    cell: LetterSplit,
    baseline: LetterSplit,
    templates: Mapping[str, str | None],
    seed: int,
    noise: Noise | None = None,
    seeds: stats.SharedError = stats.NO_ERROR,
) -> dict[str, Any]:
    """The content and the letter shift in logits with their intervals, by the summary's keys; none without items.

    Args:
        cell, baseline: what is compared.
        templates: of the items.
        seed: of the intervals.
        noise: of the model's rounding.
        seeds: what those of fits add to the error of the content's shift.
    """
    place = {item: i for i, item in enumerate(baseline.items)}
    mine = [i for i, item in enumerate(cell.items) if item in place]
    if not mine:
        return {}
    theirs = [place[cell.items[i]] for i in mine]
    groups = clusters([cell.items[i] for i in mine], templates)
    content, letter = cell.content[mine] - baseline.content[theirs], cell.letter[mine] - baseline.letter[theirs]
    error = shared("content_shift", noise)
    return {
        "content_shift": float(content.mean()),
        "content_shift_ci": interval(content, groups, seed, error, seeds),
        "letter_shift": float(letter.mean()),
        "letter_shift_ci": interval(letter, groups, seed, error),
    }


@dataclass(frozen=True)
class Paired:
    """A cell's difference from the baseline, item by item.

    Attributes:
        items: ids of the items both have.
        difference: cell minus baseline of p_match, over them.
        content: the same of the content logit.
        before, after: p_match of the baseline and of the cell.
        clusters: the items' templates, None where no item has one.
        noise: of the model's rounding; None where it computes in float32.
        seeds, content_seeds: what the seeds of the cell's fits add to the error of both means.
    """

    items: tuple[str, ...]
    difference: np.ndarray
    content: np.ndarray
    before: np.ndarray
    after: np.ndarray
    clusters: list[Hashable] | None
    noise: Noise | None = None
    seeds: stats.SharedError = stats.NO_ERROR
    content_seeds: stats.SharedError = stats.NO_ERROR

    def interval(self, seed: int, sign: float = 1.0) -> list[float] | None:
        """The 95% BCa interval of the mean difference, times `sign`, with what all items share of the rounding.

        And with what the seeds of the fits add.
        """
        ends = interval(sign * self.difference, self.clusters, seed, shared("shift", self.noise), self.seeds)
        return ends and [max(-1.0, ends[0]), min(1.0, ends[1])]

    def content_interval(self, seed: int) -> list[float] | None:
        """The same of the content logit."""
        return interval(self.content, self.clusters, seed, shared("content_shift", self.noise), self.content_seeds)

    def p_value(self, p_value: float) -> float:
        """A p-value of the mean difference over items, with what the seeds and the shared rounding add."""
        for error in self._added() if len(self.difference) else ():
            p_value = error.p_value(float(self.difference.mean()), p_value)
        return p_value

    def cost_bound(self, upper: float | None) -> float | None:
        """An upper bound of the mean fall over items, of minus the difference, with what seeds and rounding add."""
        for error in self._added():
            upper = error.bound(-float(self.difference.mean()), upper)
        return upper

    def _added(self) -> tuple[stats.SharedError, ...]:
        """Errors of the mean of which the items' spread shows nothing."""
        return self.seeds, shared("shift", self.noise)


def shared(what: Literal["level", "shift", "content_shift"], noise: Noise | None) -> stats.SharedError:
    """What all items share of the rounding noise."""
    return stats.NO_ERROR if noise is None else stats.SharedError(noise[what])


def paired(
    cell: ItemMeasures, baseline: ItemMeasures, templates: Mapping[str, str | None], noise: Noise | None = None
) -> Paired:
    """Pairs two cells by item; an item that either lacks is left out of both."""
    place = {item: i for i, item in enumerate(baseline.items)}
    shared = [(i, place[item]) for i, item in enumerate(cell.items) if item in place]
    mine, theirs = (np.array(index, dtype=int) for index in (zip(*shared, strict=True) if shared else ((), ())))
    items = tuple(cell.items[i] for i in mine)
    return Paired(
        items=items,
        difference=cell.p_match[mine] - baseline.p_match[theirs],
        content=cell.content[mine] - baseline.content[theirs],
        before=baseline.p_match[theirs],
        after=cell.p_match[mine],
        clusters=clusters(items, templates),
        noise=noise,
    )


def with_seeds(pair: Paired, rows: Sequence[Row], evaluation: str) -> Paired:
    """The pair with what the seeds of the cell's fits add: its rows name them, where they have several."""
    found = [spread(rows, evaluation, name, pair.items, pair.clusters) for name in ("p_match", "content")]
    return replace(pair, seeds=stats.seed_error(found[:1]), content_seeds=stats.seed_error(found[1:]))


def spread(
    rows: Sequence[Row],
    evaluation: str,
    name: Literal["p_match", "content"],
    items: Sequence[str],
    groups: Sequence[Hashable] | None,
) -> stats.SeedSpread | None:
    """What seeds add to the variance of the mean of a measure over items; None of a single fit."""
    seeds = list(dict.fromkeys(row.get("seed") for row in rows if row["evaluation"] == evaluation))
    if len(seeds) < 2 or not items:
        return None
    table = np.full((len(seeds), len(items)), np.nan)
    for values, seed in zip(table, seeds, strict=True):
        fit = item_measures([row for row in rows if row.get("seed") == seed], evaluation)
        known = dict(zip(fit.items, getattr(fit, name).tolist(), strict=True))
        values[:] = [known.get(item, np.nan) for item in items]
    return None if np.isnan(table).all(axis=1).any() else stats.seed_spread(table, clusters=groups)


def repeated(again: Paired, plain: Paired, plain_ci: Sequence[float] | None, sound: bool, seed: int) -> dict[str, Any]:
    """A shift measured again under a condition: "shift", "ci", "survives", "survives_ci", "broken".

    A share that nothing bounds is not given.

    Args:
        again: under the condition.
        plain: without it.
        plain_ci: the plain shift's interval: unless it leaves out 0, there is nothing of which to take a share.
        sound: whether baseline and cell still answer with a letter.
        seed: of the intervals.
    """
    found = {"shift": float(again.difference.mean()), "ci": again.interval(seed), "broken": not sound}
    found |= {"survives": None, "survives_ci": None}
    place = {item: i for i, item in enumerate(plain.items)}
    both = [i for i, item in enumerate(again.items) if item in place]
    if not (sound and both and plain_ci is not None and (plain_ci[0] > 0 or plain_ci[1] < 0)):
        return found
    shift, reference = again.difference[both], plain.difference[[place[again.items[i]] for i in both]]
    if not reference.mean():
        return found
    groups = None if again.clusters is None else [again.clusters[i] for i in both]
    share = stats.ratio_interval(shift, reference, clusters=groups, seed=seed)
    if share is None:
        return found
    return found | {"survives": float(shift.mean() / reference.mean()), "survives_ci": [share.low, share.high]}


def seed_of(seed: int, name: str) -> int:
    """The seed of what is drawn for one cell or behavior, made of the run's."""
    return zlib.crc32(f"{seed} {name}".encode())


def first_look(rows: Sequence[Row], baseline: Sequence[Row]) -> float:
    """A cell's shift, for a display."""
    measures = item_measures(rows, "choices"), item_measures(baseline, "choices")
    return float(paired(*measures, {}).difference.mean())


def clusters(items: Sequence[str], templates: Mapping[str, str | None]) -> list[Hashable] | None:
    """The cluster of each item: its template, or the item itself; None where no item has a template."""
    if not any(templates.get(item) for item in items):
        return None
    return [templates.get(item) or ("item", item) for item in items]


def enough(count: int, groups: Sequence[Hashable] | None) -> bool:
    """Whether so many items, in these clusters, have intervals: with fewer units they cover far less than they say."""
    return len(range(count) if groups is None else set(groups)) >= stats.FEWEST


def interval(
    values: np.ndarray,
    groups: Sequence[Hashable] | None,
    seed: int,
    *errors: stats.SharedError,
) -> list[float] | None:
    """A 95% BCa interval of a mean as [low, high]; None below `stats.FEWEST` independent items.

    Args:
        values: of the items.
        groups: their clusters.
        seed: of the draws.
        errors: that all of them share.
    """
    if not enough(len(values), groups):
        return None
    found = stats.bca_interval(values, clusters=groups, seed=seed)
    if found is None:
        return None
    for error in errors:
        found = error.widened(found, float(values.mean()))
    return list(found)

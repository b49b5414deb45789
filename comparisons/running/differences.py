"""What changed between two runs: their cells in common, paired by item, and what differs in how they were made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from comparisons import stats
from comparisons.evaluation.contrasts import compared_two
from comparisons.evaluation.measures import Paired, clusters, interval, item_measures, paired, seed_of
from comparisons.results.cells import read_rows
from comparisons.results.record import Facts, Record, read_record
from comparisons.results.schema import Contrast
from comparisons.results.summary import SummaryRow
from comparisons.util.errors import CompareError, unknown

LEFT_OUT = ("digest", "command", "notes", "started", "ended", "complete", "evaluations")
"""Of run.json: what says nothing about how the numbers came about, or says it twice."""

ROUNDING = 1e-6
"""What two runs of the same thing may differ by: a smaller change is none."""

DATA = {"test": 2, "dev": 1}
"""Where a behavior's hash of the questions asked stands in run.json, by split."""


@dataclass(frozen=True)
class Change:
    """A cell of both runs; for a baseline, of p_match itself.

    Attributes:
        row: the cell, as the second run's summary has it.
        n_items: questions that both have.
        before, after: the shift in each run (p_match for a baseline), over those questions.
        change, ci: after minus before, paired by item, with a 95% interval.
        p_value: of the change, by sign flips; p_holm: corrected over all cells.
        cost_change, cost_ci: the same of the knowledge cost; None where either has none.
    """

    row: SummaryRow
    n_items: int
    before: float
    after: float
    change: float
    ci: Sequence[float] | None
    p_value: float
    cost_change: float | None = None
    cost_ci: Sequence[float] | None = None
    p_holm: float | None = None


@dataclass(frozen=True)
class Differences:
    """Two runs side by side.

    Attributes:
        made: what differs in how they were made: name, of the first, of the second.
        changes: the cells in common, in the second run's order.
        only: cells that only the first, and only the second run has done.
    """

    made: tuple[tuple[str, str, str], ...]
    changes: tuple[Change, ...]
    only: tuple[tuple[str, ...], tuple[str, ...]]


def compare_runs(first: Path, second: Path) -> Differences:
    """Pairs two runs.

    Raises:
        CompareError: one is no finished run, they asked other questions, or have no cell in common.
    """
    runs = Run(first), Run(second)
    shared = [name for name in runs[1].record.summary.behaviors if name in runs[0].record.summary.behaviors]
    if not shared:
        raise CompareError(f"the runs in {first} and {second} have no behavior in common.")
    for name in shared:
        if (why := incomparable(runs[0], runs[1], name)) is not None:
            raise CompareError(f"the runs in {first} and {second} can't be paired: {why}.")
    done = [run.done for run in runs]
    common = [row for key, row in done[1].items() if key in done[0] and row.behavior in shared]
    if not any(not row.is_baseline for row in common):
        raise CompareError(f"the runs in {first} and {second} have no cell in common that ended well.")
    changes = [_change(runs[0], runs[1], row) for row in common]
    holm = stats.holm([change.p_value for change in changes])
    only = tuple(tuple(key for key in these if key not in other) for these, other in (done, done[::-1]))
    return Differences(
        _made(runs[0].record.facts, runs[1].record.facts),
        tuple(Change(**{**vars(change), "p_holm": p}) for change, p in zip(changes, holm, strict=True)),
        (only[0], only[1]),
    )


def compare_cells(path: Path, first: str, second: str) -> Contrast:
    """Pairs two cells of a run.

    Args:
        path: of the run.
        first, second: their names, or the ends of them that no other cell has; the second is subtracted.

    Raises:
        CompareError: it is no finished run, has no such cells, or they have no question in common.
    """
    run = Run(path)
    cells = [_named(run, name) for name in (first, second)]
    read = lambda key: run.rows.get(key, [])  # noqa: E731
    found = compared_two(cells[0], cells[1], read, run.record.margin, run.record.seed)
    if found is None:
        raise CompareError(f"{cells[0].cell} and {cells[1].cell} have no question in common.")
    return found


def _named(run: Run, name: str) -> SummaryRow:
    done = run.done
    found = [row for key, row in done.items() if key == name] or [
        row for key, row in done.items() if key.endswith(f"/{name}")
    ]
    if not found:
        raise unknown("cell", name, done)
    if len(found) > 1:
        raise CompareError(f"'{name}' may be {' or '.join(row.cell for row in found)}: name one wholly.")
    return found[0]


class Run:
    """A finished run with the rows that are paired."""

    def __init__(self, path: Path) -> None:
        self.path, self.record = path, read_record(path)
        self.rows: dict[str, list[dict[str, Any]]] = read_rows(path, ("choices", "knowledge"), {*self.done})

    @property
    def done(self) -> dict[str, SummaryRow]:
        """The cells that ended well."""
        return {row.cell: row for row in self.record.summary.rows if not row.failed}

    def paired(self, row: SummaryRow, evaluation: str) -> Paired | None:
        """A cell against its baseline; the baseline against itself. None where one has no such rows."""
        rows, plain = (self.rows.get(key, []) for key in (row.cell, str(row.id.baseline)))
        templates = {one["item"]: one.get("template") for one in plain}
        measures = item_measures(rows, evaluation), item_measures(plain, evaluation)
        return paired(*measures, templates) if all(len(each.items) for each in measures) else None


def incomparable(first: Run, second: Run, behavior: str) -> str | None:
    """Why the numbers of a behavior in two runs can't be held against each other; None where they can."""
    specifications = first.record.part("specification"), second.record.part("specification")
    for name in ("split", "measure", "orders"):
        one, other = (spec.get(name) for spec in specifications)
        if one != other:
            return f"one was asked with {name} {one}, the other with {name} {other}"
    place = DATA.get(str(specifications[0].get("split")), 2)
    digests = [_digest(run.record, behavior, place) for run in (first, second)]
    if digests[0] != digests[1]:
        return f"their questions on {behavior} are not the same: use the same data, seed and --test-items"
    return None


def _digest(record: Record, behavior: str, place: int) -> Any:
    digests = (record.part("identity").get("behaviors") or {}).get(behavior)
    return digests[place] if isinstance(digests, list) and len(digests) > place else None


def _change(first: Run, second: Run, row: SummaryRow) -> Change:
    differences, groups = _by_item(first, second, row, "choices")
    if not len(differences):
        raise CompareError(f"{row.cell}: the runs have no question in common.")
    before, after = differences.T
    change = np.where(np.abs(after - before) < ROUNDING, 0.0, after - before)
    seed = seed_of(second.record.seed, str(row.id.alone))
    cost: dict[str, Any] = {}
    identity = [run.record.asked.get("knowledge") for run in (first, second)]
    if not row.is_baseline and identity[0] == identity[1] is not None:
        knowledge, alike = _by_item(first, second, row, "knowledge")
        if len(knowledge):
            worse = knowledge[:, 0] - knowledge[:, 1]
            cost = {"cost_change": float(worse.mean()), "cost_ci": interval(worse, alike, seed)}
    return Change(
        row,
        len(change),
        float(before.mean()),
        float(after.mean()),
        float(change.mean()),
        interval(change, groups, seed),
        stats.sign_flip_p(change, clusters=groups, seed=seed),
        **cost,
    )


def _by_item(first: Run, second: Run, row: SummaryRow, evaluation: str) -> tuple[np.ndarray, Any]:
    """[items, 2]: the shift of each item in both runs (its p_match for a baseline), and the items' clusters."""
    values, templates = [], dict[str, Any]()
    for run in (first, second):
        pair = run.paired(run.done[row.cell], evaluation)
        if pair is None:
            return np.empty((0, 2)), None
        shown = pair.after if row.is_baseline else pair.difference
        values.append(dict(zip(pair.items, shown.tolist(), strict=True)))
        templates |= {one["item"]: one.get("template") for one in run.rows[row.cell]}
    items = [item for item in values[1] if item in values[0]]
    table = np.array([[by_item[item] for by_item in values] for item in items], dtype=float).reshape(-1, 2)
    return table, clusters(items, templates)


def _made(first: Facts, second: Facts) -> tuple[tuple[str, str, str], ...]:
    """What differs in run.json, by name; lists and settings as text."""
    before, after = _flat(first), _flat(second)
    made = ((name, before.get(name, "–"), after.get(name, "–")) for name in {**before, **after})
    return tuple(each for each in made if each[1] != each[2])


def _flat(facts: Mapping[str, Any], head: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in facts.items():
        if not head and name in LEFT_OUT:
            continue
        key = f"{head}{name}"
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{key}.")
        elif isinstance(value, list):
            flat[key] = ", ".join(map(str, value)) or "–"
        else:
            flat[key] = "–" if value is None else str(value)
    return flat

"""Joins finished runs into one, whose table holds the cells of all, where they are comparable."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from comparisons import stats
from comparisons.evaluation.across import joint_p_values
from comparisons.evaluation.best import best_row
from comparisons.evaluation.contrasts import compared
from comparisons.evaluation.interface import section_of
from comparisons.evaluation.measures import item_measures, paired, with_seeds
from comparisons.evaluations.open_ended import summary_of
from comparisons.judges.calibration import joint_accuracy
from comparisons.report import render
from comparisons.report.asked import data_of
from comparisons.results.cells import CHOICES, CellStore
from comparisons.results.folder import BEST, QUESTIONS, RUN, Questions, RunFolder, check_run_folder, read_questions
from comparisons.results.identity import CellId
from comparisons.results.record import Facts, read_record
from comparisons.results.summary import SummaryRow
from comparisons.running.same_cells import CellFile, check_same, check_settings, further, measured_anew, with_more
from comparisons.util.artifacts import MANIFEST, seal
from comparisons.util.errors import CompareError
from comparisons.util.files import json_digest, read_json, write_json
from comparisons.util.table import Section


class Finished:
    """A finished run that others may join.

    Attributes:
        path: its folder.
        record: what it says.
        cells: its cells, by their identities in the joint run, each with its text here.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.record = path, read_record(path)
        self._store = CellStore(path, str(self.record.facts.get("digest")))
        for name in self._store.load().damaged.values():
            raise CompareError(f"{path}: {name} is damaged: the run's command again mends it.")
        self.cells: dict[CellId, str] = {}
        self._names: Mapping[str, str] = {}
        self._apart = False

    @property
    def several(self) -> bool:
        """Whether it is a run of several models: the keys of its cells tell which."""
        return "models" in self.record.facts

    @property
    def models(self) -> list[Mapping[str, Any]]:
        """What run.json says of its models."""
        return list(self.record.facts.get("models") or [self.record.part("model")])

    def take_part(self, names: Mapping[str, str], apart: bool) -> None:
        """Learns what its models are called in the joint run, and whether the keys of cells tell them apart there."""
        self._names, self._apart = {**{name: name for name in self.record.summary.models}, **names}, apart
        self.cells = {self.id(entry.cell): cell for cell, entry in self._store.entries.items()}

    def id(self, cell: CellId) -> CellId:
        """What a cell of this run is in the joint run."""
        only = next(iter(self._names)) if self._apart else ""
        return replace(cell, model=self._names.get(cell.model or only, ""))

    def summary_rows(self) -> list[SummaryRow]:
        """The rows of its table."""
        rows = self.record.summary.rows
        return [replace(row, cell=str(self.id(row.id)), model=self._names[row.model]) for row in rows]

    def info(self, cell: CellId) -> dict[str, Any]:
        """What is kept beside the rows of a cell of the joint run."""
        return dict(self._store.entries[self.cells[cell]].info)

    def rows(self, cell: CellId) -> list[dict[str, Any]]:
        """The result rows of a cell of the joint run."""
        rows = self._store.rows(self.cells[cell])
        return [{**row, "cell": str(cell), "model": self._names[row["model"]]} for row in rows]

    def choices(self) -> list[dict[str, Any]]:
        """What was chosen on dev."""
        file = self.path / CHOICES
        choices = read_json(file, "choices")["choices"] if file.exists() else []
        if not self._apart:
            return list(choices)
        only = str(self.models[0].get("name"))
        return [{**choice, "model": self._names[choice.get("model") or only]} for choice in choices]

    def digests(self, behavior: str) -> tuple[Any, Any]:
        """Hashes of what a behavior was fitted on, and of what it was asked."""
        digests = (self.record.part("identity").get("behaviors") or {}).get(behavior) or [None, None, None]
        return digests[0], digests[1 if self.record.on_dev else 2]


def join(paths: Sequence[Path], out: Path, command: str = "") -> Path:
    """Writes a run folder with the cells of several runs, and its report.

    Holm's and the joint correction are over the whole new table. A baseline that all have is kept once.

    Args:
        paths: of finished runs, at least two.
        out: the new folder; one that holds the same joint run is written again.
        command: the command line that the report shows.

    Raises:
        CompareError: one is no finished run, they are not comparable, with the reason, or another run is in the folder.
    """
    sources = [Finished(path) for path in paths]
    for other in sources[1:]:
        why = _incomparable(sources[0], other)
        if why is not None:
            raise CompareError(f"{sources[0].path} and {other.path} can't be joined: {why}.")
    models = _models(sources)
    rows, cells, notes = _united(sources)
    digest = json_digest(["joined", *(source.record.facts.get("digest") for source in sources)])
    check_run_folder(out, digest)
    folder = RunFolder(out, digest, fresh=True)
    try:
        for cell, (cell_rows, info) in cells.items():
            folder.commit(cell, cell_rows, info)
        folder.write(RUN, _facts(sources, models, digest, command, notes))
        folder.write(QUESTIONS, {"questions": _questions(sources)})
        for choice in (choice for source in sources for choice in source.choices()):
            if folder.choice(choice["key"], choice["behavior"], choice.get("model", "")) is None:
                folder.add_choice(choice["key"], {k: v for k, v in choice.items() if k != "key"})
        known = joint_accuracy([source.record.summary.judges.get("known") or {} for source in sources])
        first = sources[0].record
        rows = _corrected(rows, folder, first.seed)
        rows, contrasts = compared(rows, folder.rows, first.margin, first.seed, first.is_sweep)
        folder.write_summary(summary_of(rows, folder, known, _sections(sources, rows), contrasts))
        _take_best(sources, rows, out)
        render(out)
    finally:
        folder.close()
    return out


def _questions(sources: Sequence[Finished]) -> Questions:
    """Those of all runs; each is the same in all that ask it."""
    joint: Questions = {}
    for source in sources:
        for name, texts in read_questions(source.path).items():
            joint.setdefault(name, {}).update(texts)
    return joint


def _incomparable(first: Finished, other: Finished) -> str | None:
    """Why the cells of two runs don't belong in one table; None where they do."""
    if first.record.part("specification").get("split") != other.record.part("specification").get("split"):
        return "where the questions are from (--split) differs"
    if first.record.is_sweep != other.record.is_sweep:
        return "one is a sweep and the other is not"
    if first.record.margin != other.record.margin:
        return f"the margin differs, {first.record.margin:g} and {other.record.margin:g}"
    for name in ("measure", "orders", "resample"):
        one, theirs = (source.record.part("specification").get(name, "none") for source in (first, other))
        if one != theirs:
            return f"the {name} differs, {one} and {theirs}"
    asked = [source.record.asked for source in (first, other)]
    if different := next((name for name in asked[0] if name in asked[1] and asked[0][name] != asked[1][name]), None):
        return f"the {different.replace('_', ' ')} questions differ"
    for behavior in first.record.summary.behaviors:
        if behavior in other.record.summary.behaviors and first.digests(behavior)[1] != other.digests(behavior)[1]:
            return f"the questions on {behavior} differ: use the same data and --test-items"
    return None


def _models(sources: Sequence[Finished]) -> list[Mapping[str, Any]]:
    """The different models of the runs, in their order; each source learns what its own are called.

    Raises:
        CompareError: two different ones have one name.
    """
    models: dict[Any, Mapping[str, Any]] = {}
    owners: dict[Any, tuple[Any, Path]] = {}
    for source in sources:
        for model in source.models:
            models.setdefault(model.get("digest"), model)
            digest, owner = owners.setdefault(model.get("name"), (model.get("digest"), source.path))
            if digest != model.get("digest"):
                raise CompareError(
                    f"{owner} and {source.path} can't be joined: the model or its prompt format differs, and both are "
                    f"called {model.get('name')}."
                )
    for source in sources:
        # The same model may lie elsewhere on another machine: the first name is everybody's.
        names = {str(model.get("name")): str(models[model.get("digest")].get("name")) for model in source.models}
        source.take_part(names, apart=len(models) > 1)
    return list(models.values())


Cells = dict[CellId, CellFile]


def _united(sources: Sequence[Finished]) -> tuple[list[SummaryRow], Cells, list[str]]:
    """The summary rows, behavior by behavior; the cells' rows and info; and what must be said."""
    rows, cells, anew = dict[CellId, SummaryRow](), Cells(), set[CellId]()
    notes, parted = list[str](), [0.0]
    for source in sources:
        for row in source.summary_rows():
            cell = row.id
            if cell in rows and not rows[cell].failed and not row.failed:
                other = source.rows(cell), source.info(cell)
                check_settings(rows[cell], row, source.path)
                if (both := further(cells[cell], other, row.cell, source.path)) is not None:
                    cells[cell], anew = both, {*anew, cell}
                    continue
                parted.append(check_same(row.cell, cells[cell][0], other[0], source.path, row.numerical_noise))
                if row.is_baseline:
                    rows[cell] = _filled(rows[cell], row)
                    cells[cell] = with_more(cells[cell], source.rows(cell))
            elif cell not in rows or rows[cell].failed:
                rows[cell] = row
        for cell in source.cells:
            if cell not in cells or "error" in cells[cell][1]:
                cells[cell] = (source.rows(cell), source.info(cell))
    first = sources[0].record.seed
    rows |= {cell: measured_anew(rows[cell], cells[cell], cells[cell.baseline], first) for cell in anew}
    for behavior in dict.fromkeys(row.behavior for row in rows.values()):
        fitted = {source.digests(behavior)[0] for source in sources if behavior in source.record.summary.behaviors}
        if len(fitted) > 1:
            notes.append(f"{behavior}: the runs fitted on different training pairs (--train-items, or other data).")
    if most := max(parted):
        notes.append(
            f"On what several runs asked, their p_match differs by up to {most:.4f} a question in the mean of a cell: "
            "rounding in 16 bits depends on what is asked together. Shown is the first run's."
        )
    models, behaviors = (list(dict.fromkeys(getattr(r, n) for r in rows.values())) for n in ("model", "behavior"))
    order = sorted(rows.values(), key=lambda row: (models.index(row.model), behaviors.index(row.behavior)))
    return order, cells, notes


def _filled(known: SummaryRow, row: SummaryRow) -> SummaryRow:
    """A baseline's row with what only the other run measured."""
    empty = [f.name for f in fields(known) if getattr(known, f.name) is None]
    return replace(known, **{name: getattr(row, name) for name in empty})


def _corrected(rows: Sequence[SummaryRow], folder: RunFolder, seed: int) -> list[SummaryRow]:
    """The rows with p-values corrected over the joint table."""
    pairs, plain = {}, {}
    for row in rows:
        if row.is_baseline and not row.failed:
            plain[row.cell] = folder.rows(row.cell)
    for row in rows:
        if row.is_baseline or row.shift is None or str(row.id.baseline) not in plain:
            continue
        cell_rows, baseline = folder.rows(row.cell), plain[str(row.id.baseline)]
        templates = {one["item"]: one.get("template") for one in baseline}
        measures = item_measures(cell_rows, "choices"), item_measures(baseline, "choices")
        pairs[row.behavior, row.cell] = with_seeds(paired(*measures, templates), cell_rows, "choices")
    joint = joint_p_values(pairs, seed)
    holm = stats.holm([row.p_value for row in rows])
    return [replace(row, p_holm=p, p_max_t=joint.get(row.cell)) for row, p in zip(rows, holm, strict=True)]


def _sections(sources: Sequence[Finished], rows: Sequence[SummaryRow]) -> dict[str, Section]:
    """What plugins said in the runs' reports, of all their cells."""
    texts = {name: each for source in reversed(sources) for name, each in source.record.summary.sections.items()}
    sections = {name: section_of(name, each.title, each.text, rows) for name, each in texts.items()}
    return {name: section for name, section in sections.items() if section is not None}


def _facts(
    sources: Sequence[Finished], models: Sequence[Mapping[str, Any]], digest: str, command: str, notes: Sequence[str]
) -> dict[str, Any]:
    """run.json of the joint run: the first one's, with what the others add."""
    parts = [source.record.facts for source in sources]
    first = dict(parts[0])
    specification = dict(first["specification"])
    for name in ("behaviors", "stacks", "strengths", "directions"):
        every = [value for facts in parts for value in facts["specification"].get(name) or []]
        specification[name] = list(dict.fromkeys(every))
    identity: dict[str, Any] = {}
    for facts in reversed(parts):
        for name, value in (facts.get("identity") or {}).items():
            if name == "model" and len(models) > 1 and not isinstance(value, dict):
                value = {facts["model"]["name"]: value}
            identity[name] = {**(identity.get(name) or {}), **value} if isinstance(value, dict) else value
    made = [
        {
            "run": source.path.name,
            "data": data_of(source.record),
            **{name: source.record.facts.get(name) for name in ("digest", "command", "started")},
        }
        for source in sources
    ]
    notes_of_parts = list(dict.fromkeys(note for facts in parts for note in facts.get("notes") or []))
    letters = {name: check for facts in reversed(parts) for name, check in (facts.get("letters") or {}).items()}
    return {
        **first,
        "measured": list(dict.fromkeys(line for facts in parts for line in facts.get("measured") or [])),
        "letters": letters,
        **({"models": list(models)} if len(models) > 1 else {}),
        "digest": digest,
        "command": command,
        "specification": specification,
        "identity": identity,
        "notes": [
            f"Joined from {', '.join(str(source.path) for source in sources)}.",
            *notes_of_parts,
            *notes,
            *_made(parts),
        ],
        "joined": made,
        "knowledge_questions": max(facts.get("knowledge_questions") or 0 for facts in parts),
        "started": min(str(facts.get("started")) for facts in parts),
        "ended": max(str(facts.get("ended")) for facts in parts),
    }


def _made(parts: Sequence[Facts]) -> list[str]:
    """Versions and machines that differ, a line each."""
    notes = []
    for part in ("versions", "machine"):
        every = [facts.get(part) or {} for facts in parts]
        for name in dict.fromkeys(key for one in every for key in one):
            values = dict.fromkeys(str(one.get(name)) for one in every)
            if len(values) > 1:
                notes.append(f"The runs were made with different {part}: {name} {', '.join(values)}.")
    return notes


def _take_best(sources: Sequence[Finished], rows: Sequence[SummaryRow], out: Path) -> None:
    """Copies best/ of the run whose best cell is the joint run's."""
    shutil.rmtree(out / BEST, ignore_errors=True)
    best = best_row(rows)
    for source in sources:
        intervention: Mapping[str, Any] | None = source.record.intervention
        if best is None or intervention is None or source.cells.get(best.id) != intervention.get("cell"):
            continue
        shutil.copytree(source.path / BEST, out / BEST, ignore=shutil.ignore_patterns(MANIFEST))
        # A folder is told from the run's; a hub id stays.
        place = source.path / str(intervention.get("model"))
        there = {"model": os.path.relpath(place, out)} if place.exists() else {}
        write_json(out / BEST / "intervention.json", {**intervention, "cell": best.cell, **there})
        seal(out / BEST)
        return

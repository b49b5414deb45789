"""A finished run as a part of a joint one: its cells and models under the names that they have there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from comparisons.results.cells import CHOICES, CellStore
from comparisons.results.identity import CellId
from comparisons.results.record import read_record
from comparisons.results.summary import SummaryRow
from comparisons.util.errors import CompareError
from comparisons.util.files import read_json


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
        found = read_json(file, "choices")["choices"] if file.exists() else []
        if not self._apart:
            return list(found)
        only = str(self.models[0].get("name"))
        return [{**choice, "model": self._names[choice.get("model") or only]} for choice in found]

    def digests(self, behavior: str) -> tuple[Any, Any]:
        """Hashes of what a behavior was fitted on, and of what it was asked."""
        found = (self.record.part("identity").get("behaviors") or {}).get(behavior) or [None, None, None]
        return found[0], found[1 if self.record.on_dev else 2]

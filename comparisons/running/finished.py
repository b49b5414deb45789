"""A finished run as a part of a joint one: its cells and models under the names that they have there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from comparisons.results.cellfiles import JOURNAL, RESULTS
from comparisons.results.journal import Entry, read_journal
from comparisons.results.keys import IN, on_model
from comparisons.results.record import read_record
from comparisons.results.rows import Row
from comparisons.results.summary import SummaryRow
from comparisons.util.errors import CompareError
from comparisons.util.files import read_json


class Finished:
    """A finished run that others may join.

    Attributes:
        path: its folder.
        record: what it says.
        entries: its cells in the journal, by their keys in the joint run.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.record = path, read_record(path)
        found = read_journal(path / RESULTS, path / JOURNAL, str(self.record.facts.get("digest")))
        if found.damaged:
            raise CompareError(f"{path}: {found.damaged[0]} is damaged: the run's command again mends it.")
        self.entries: dict[str, Entry] = {entry.cell: entry for entry in found.entries}
        self._data = (path / RESULTS).read_bytes() if self.entries else b""
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
        self.entries = {self.key(cell): entry for cell, entry in self.entries.items()}

    def key(self, cell: str) -> str:
        """What a cell of this run is called in the joint run."""
        own = next((name for name in self._names if cell.endswith(f"{IN}{name}")), "") if self.several else ""
        name = next(iter(self._names.values())) if self._apart and not self.several else self._names.get(own, "")
        return on_model(cell.removesuffix(f"{IN}{own}") if own else cell, name)

    def summary_rows(self) -> list[SummaryRow]:
        """The rows of its table."""
        rows = self.record.summary.rows
        return [replace(row, cell=self.key(row.cell), model=self._names[row.model]) for row in rows]

    def rows(self, cell: str) -> list[Row]:
        """The result rows of a cell of the joint run."""
        entry = self.entries[cell]
        lines = map(json.loads, self._data[entry.start : entry.end].splitlines())
        return [{**row, "cell": cell, "model": self._names[row["model"]]} for row in lines]

    def choices(self) -> list[dict[str, Any]]:
        """What was chosen on dev."""
        file = self.path / "choices.json"
        found = read_json(file, "choices")["choices"] if file.exists() else []
        if not self._apart:
            return list(found)
        only = str(self.models[0].get("name"))
        return [{**choice, "model": self._names[choice.get("model") or only]} for choice in found]

    def digests(self, behavior: str) -> tuple[Any, Any]:
        """Hashes of what a behavior was fitted on, and of what it was asked."""
        found = (self.record.part("identity").get("behaviors") or {}).get(behavior) or [None, None, None]
        return found[0], found[1 if self.record.on_dev else 2]

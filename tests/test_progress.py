"""The table that fills in as cells end, on a terminal and in a pipe."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from comparisons.cli import progress
from comparisons.experiment.specification import Cell


def shown(monkeypatch: pytest.MonkeyPatch, terminal: bool, width: int = 120, height: int = 12) -> str:
    """What a run of nine cells writes to stderr."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=width, height=height, color_system=None)
    monkeypatch.setattr(progress, "Console", lambda **kwargs: console)
    with progress.cell_progress(9) as display:
        display.stage("evaluate baseline on refusal")
        display.ended(Cell("refusal", "baseline"), None, None)
        display.ended(Cell("refusal", "caa", (), "pos", 1.0), 0.25, None)
        display.ended(Cell("refusal", "[bold]odd[/bold]", (), "neg", 1.0), None, "ValueError: [red]no[/red]")
        for strength in range(2, 8):
            display.ended(Cell("refusal", "caa", (), "pos", float(strength)), strength / 10, None)
        if terminal:
            assert display._live is not None
            display._live.refresh()
            console.print(display._live.get_renderable())
    return out.getvalue()


def test_cells_fill_a_table_as_they_end(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(monkeypatch, terminal=True, height=40)
    assert "+0.250" in text and "+0.700" in text and "9/9" in text
    assert "[bold]odd[/bold]" in text and "failed: ValueError: [red]no[/red]" in text
    assert max(len(line) for line in text.splitlines()) < 400


def test_a_low_terminal_has_the_last_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    last = shown(monkeypatch, terminal=True, height=10).rpartition("method")[2]
    assert "+0.700" in last and "+0.250" not in last and "5 cells above" in last


def test_a_pipe_gets_no_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, terminal=False) == ""

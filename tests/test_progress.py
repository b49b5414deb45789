"""The table that fills in as cells end, on a terminal and in a pipe."""

from __future__ import annotations

import io
import sys

import pytest
from rich.console import Console

from comparisons.cli import progress
from comparisons.experiment.specification import Cell
from comparisons.model.meter import Costs, TokenMeter, Work
from comparisons.util.terminal import stderr


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


def test_what_is_left_goes_by_the_work_that_was_done() -> None:
    # What was run before, as the model was loaded, is done.
    now, work = [100.0], Work(400.0, Costs(0.04, 0.04, 1.0), training=200.0, done=2.0)
    pace = progress.Pace(work, lambda: now[0])
    assert pace.look() == (0.0, 400.0)  # nothing seen yet: as it was estimated
    work.ran(600)
    for _ in range(5):  # five passes over a token each cost hardly less
        work.ran(1)
    now[0] = 160.0
    share, left = pace.look()
    assert share == pytest.approx(0.0755) and left == pytest.approx(0.9245 * 400 * 60 / 30.2, rel=0.15)
    work.done, now[0] = 42.0, 110.0
    share, left = pace.look()
    assert share == 0.1 and left == pytest.approx(90, rel=0.2)
    # A long fit says nothing until it ends; the clock goes on.
    now[0] = 130.0
    assert pace.look()[1] == pytest.approx(left - 20)
    work.begins(120)
    work.reaches(0.1)  # of a training's steps, a tenth: libraries were loaded before, which tells no pace
    assert pace.look()[1] == pytest.approx(348 / 4, rel=0.1)
    now[0] = 154.0
    work.reaches(0.5)
    share, left = pace.look()
    # 40 of questions took 10 s, 48 of the training 24 s: 140 of trainings are left, and 160 of questions.
    assert share == 0.25 and left == pytest.approx(140 / 2 + 160 / 4, rel=0.05)
    work.ran(10)  # what the fit itself has run by the engine, counted with it
    work.fitted("sft", False, lambda: 120)
    work.fitted("sft", False, lambda: 120)  # asked for again: the same fit
    work.fitted("caa", True, lambda: 80)  # found in the store
    share, left = pace.look()
    assert share == pytest.approx(160 / 320) and left == pytest.approx(160 / 4, rel=0.05)
    work.begins(80)
    work.goes_on(0.75)  # from a checkpoint
    work.fitted("dpo", False, lambda: 80)
    assert pace.look()[0] == pytest.approx(180 / 260)
    # The report takes its time, however fast the model is, and counts nothing.
    share, before = pace.look()
    work.after = 20.0
    assert list(pace.look()) == pytest.approx([180 / 280, before + 20])
    work.done, now[0] = 2.0 + 260.0, 160.0
    share, left = pace.look()
    now[0] = 172.0
    assert [left, pace.look()[1]] == pytest.approx([20, 8])


def test_a_terminal_says_how_long_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=120, height=12, color_system=None)
    monkeypatch.setattr(progress, "Console", lambda **kwargs: console)
    with progress.cell_progress(9) as display:
        display.watch(lambda: Work(125.0, Costs(0.125, 0.125, 0.0)))
        assert display._live is not None
        console.print(display._live.get_renderable())
    assert "0/9 cells" in out.getvalue() and "about 2:05 left" in out.getvalue()


def test_what_a_check_runs_is_no_part_of_the_run() -> None:
    meter = TokenMeter()
    work = meter.work = Work(100.0, Costs(1.0, 1.0, 0.0))
    meter.add(5)
    with meter.paused():
        meter.add(50)
        meter.trained(0.5)
    meter.add(2)
    assert work.done == 7 and meter.work is work


def test_what_goes_before_the_first_cell_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, color_system=None)
    monkeypatch.setattr(progress, "Console", lambda **kwargs: console)
    with progress.preparing("load pocket") as ended:
        assert stderr() is not console.file  # what is said meanwhile stands above it
        ended()
        assert "load pocket" in out.getvalue() and stderr() is sys.stderr
        shown = out.getvalue()
    assert out.getvalue() == shown  # ended once

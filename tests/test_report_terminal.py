"""A whole report in a terminal: every block, within its width, with nothing that steers the terminal."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from comparisons.cli import execute as cli
from comparisons.report import render
from comparisons.report.blocks import Document
from comparisons.report.terminal import renderables
from tests.made_runs import CHOICES, PLAIN, answered_run, make_run


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_every_block_is_shown_within_the_width(tmp_path: Path, width: int) -> None:
    seen: list[Document] = []
    render(make_run(tmp_path, choices=CHOICES, intervention=PLAIN), see=seen.append)
    out = io.StringIO()
    console = Console(file=out, width=width, color_system=None)
    for renderable in renderables(seen[0], width):
        console.print(renderable)
    text = out.getvalue()
    assert max(map(len, text.splitlines())) <= width
    for words in ("Changing refusal", "To raise refusal", "Cost of each method", "Chosen on dev", "sft", "+0.310"):
        assert words in text
    assert "compare run --behavior refusal" in text and "figures/shift.png" in text


def test_answers_can_not_steer_the_terminal(tmp_path: Path) -> None:
    seen: list[Document] = []
    render(answered_run(tmp_path / "run", "\x1b[2J\x1b]0;owned\x07 [bold]a quince[/bold]"), see=seen.append)
    out = io.StringIO()
    console = Console(file=out, width=150, color_system=None)
    for renderable in renderables(seen[0], 150):
        console.print(renderable)
    assert "\x1b" not in out.getvalue() and "\x07" not in out.getvalue()
    assert "[bold]a quince[/bold]" in out.getvalue()


def test_the_pager_is_for_terminals_or_when_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(make_run(tmp_path))
    assert cli(["report", run]) == 1
    printed = capsys.readouterr().out
    assert "To raise refusal" in printed and "How to read this" not in printed
    assert cli(["report", run, "--pager"]) == 1
    printed = capsys.readouterr().out
    assert "How to read this" in printed and "report.md" in printed

"""A whole report in a terminal: every block, within its width, with nothing that steers the terminal."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
import torch
from rich.console import Console

from comparisons.cli import execute as cli
from comparisons.method.vector_files import Origin, Vectors, save_vectors
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


@pytest.mark.parametrize(
    "command", ["methods", "evaluations", "behaviors", "doctor", "vectors normalize", "lens", "report"]
)
def test_no_command_loses_a_column_at_80(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    save_vectors(Path("some.safetensors"), Vectors({0: torch.ones(4), 1: torch.ones(4)}, Origin(behavior="refusal")))
    save_vectors(Path("more.safetensors"), Vectors({0: torch.ones(4), 1: torch.ones(4)}, Origin(behavior="myopia")))
    given = {
        "vectors normalize": ["some.safetensors", "more.safetensors"],
        "lens": ["--behavior", "refusal"],
        "report": [str(make_run(tmp_path / "run"))],
    }
    told = {}
    for width in ("300", "80"):
        monkeypatch.setenv("COLUMNS", width)
        assert cli([*command.split(), *given.get(command, [])]) in (0, 1)
        told[width] = capsys.readouterr().out
    lines = told["300"].splitlines()
    rules = [
        i
        for i, line in enumerate(lines)
        if line.strip() and not re.search(r"[\w.,:]", line) and re.search("[━─]", line)
    ]
    titles = [word for i in rules if i for word in re.split(r"\s{2,}|[│┃]", lines[i - 1]) if word.strip()]
    assert len(titles) > 1
    # A title is a head, also where it is broken into lines, or is named below the table.
    narrow = " ".join(re.sub("[│┃]", " ", told["80"]).split())
    assert [title for title in titles if not all(word in narrow for word in title.split())] == []


def test_the_pager_is_for_terminals_or_when_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(make_run(tmp_path))
    assert cli(["report", run]) == 1
    printed = capsys.readouterr().out
    assert "To raise refusal" in printed and "How to read this" not in printed
    assert cli(["report", run, "--pager"]) == 1
    printed = capsys.readouterr().out
    assert "How to read this" in printed and "report.md" in printed

"""Pages of the documentation, walked from top to bottom: files written, code and commands run, output compared."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from comparisons.cli import execute

pytestmark = pytest.mark.slow

DOCS = Path(__file__).resolve().parent.parent / "docs"
WALKED = ("python.md", "plugins.md", "own-behaviors.md")
BLOCK = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"# exit code (\d)")
FEW = ("--train-items", "32", "--test-items", "16", "--knowledge", "none")
"""What the walk adds to a run, so that it ends in a second."""


def run(line: str) -> None:
    """A command as a page has it; the comment "# exit code 1" says that it fails."""
    expected = CODE.search(line)
    program, *arguments = shlex.split(line, comments=True)
    assert program == "compare", line
    few = FEW if arguments[0] in ("run", "sweep") and "--train-items" not in arguments else ()
    assert execute([*arguments, *few]) == (int(expected[1]) if expected else 0), line


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip().splitlines()]


@pytest.mark.parametrize("page", WALKED)
def test_a_page_can_be_followed_step_by_step(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    names: dict[str, Any] = {"__name__": page}
    out = ""
    for language, title, text in BLOCK.findall((DOCS / page).read_text(encoding="utf-8")):
        if title:
            Path(title).parent.mkdir(parents=True, exist_ok=True)
            Path(title).write_text(text, encoding="utf-8")
        elif language == "python":
            exec(compile(text, page, "exec"), names)
        elif language == "sh":
            capsys.readouterr()
            for line in text.replace("\\\n", " ").splitlines():
                run(line)
            out = capsys.readouterr().out
        elif language == "text":
            assert lines(out) == lines(text)
        else:
            raise AssertionError(f"{page}: a block of {language} is neither code, commands nor output")

"""The commands that README.md and docs/ show, as a reader would type them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = tuple(sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]))

FENCE = re.compile(r"^ *```(\w*)")
SHELL = ("sh", "bash", "shell", "console")
INLINE = re.compile(r"(?<!`)`(compare [^`]+)`")


@dataclass(frozen=True)
class Command:
    """A command as a page shows it.

    Attributes:
        page: the file, from the repository's root.
        line: its number, from 1.
        text: on one line, without a comment behind it.
    """

    page: str
    line: int
    text: str

    @property
    def words(self) -> list[str]:
        """The program and its arguments."""
        return shlex.split(self.text, comments=True)


def commands(page: Path, program: str) -> list[Command]:
    """The lines of a page's shell blocks (indented, or fenced as shell) that begin with a program."""
    name = page.relative_to(ROOT).as_posix()
    return [Command(name, number, text) for number, text in _shell_lines(page) if text.split()[0] == program]


def inline(page: Path) -> list[Command]:
    """What stands in backquotes and begins with `compare`."""
    name, text = page.relative_to(ROOT).as_posix(), page.read_text(encoding="utf-8")
    places = ((found, text.count("\n", 0, found.start()) + 1) for found in INLINE.finditer(text))
    return [Command(name, line, " ".join(found[1].split())) for found, line in places]


def _shell_lines(page: Path) -> Iterator[tuple[int, str]]:
    begun, fence, held = 0, "", ""
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        found = FENCE.match(line)
        if found:
            fence = "" if fence else found[1] or "text"
            continue
        if not (fence in SHELL or (not fence and line.startswith("    "))) or not line.strip():
            held = ""
            continue
        begun = begun if held else number
        held += line.strip()
        if held.endswith("\\"):
            held = held[:-1]
            continue
        yield begun, held
        held = ""

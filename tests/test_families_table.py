"""The table of families in docs/models.md: what it says of each is what is found, and nothing in it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.families.checks import look
from tests.families.known import IMAGES, TEXT
from tests.families.table import PAGE, cells_of

QUICK = (
    "gpt_neo",
    "llama4_text",
    "qwen3_next",
    "gemma3n_text",
    "recurrent_gemma",
    "cpmant",
    "minimax",
    "laguna",
    "gemma3",
    "qwen2_5_vl",
    "t5",
)
"""Families of which each has something of its own, tried in ordinary runs too."""


def line_of(family: str) -> list[str]:
    """The cells of a family's row in the page."""
    (line,) = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith(f"| {family} |")]
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def check(family: str, folder: Path) -> None:
    row = look(family, folder)
    assert not row.broken
    assert line_of(family) == [cell.strip() for cell in cells_of(row)]


@pytest.mark.slow
@pytest.mark.parametrize("family", QUICK)
def test_a_family_with_something_of_its_own(family: str, tmp_path: Path) -> None:
    check(family, tmp_path)


@pytest.mark.soak
@pytest.mark.parametrize("family", [name for name in (*TEXT, *IMAGES) if name not in QUICK])
def test_a_family_is_as_the_table_says(family: str, tmp_path: Path) -> None:
    check(family, tmp_path)


def test_the_table_has_every_family_and_nothing_wrong() -> None:
    every = [line_of(name) for name in (*TEXT, *IMAGES)]
    assert len(every) >= 40
    assert not any("wrong" in cell for row in every for cell in row)

"""A new behavior to begin with: example items, texts and a guide, in the paper's layout."""

from __future__ import annotations

import re
from collections.abc import Hashable
from functools import cache
from pathlib import Path

from comparisons.dataset.items import content
from comparisons.dataset.records import read_items
from comparisons.dataset.splits import TEST_PATH, TRAIN_PATH, split_file
from comparisons.dataset.texts import TEXTS_FILE, Texts, read_texts
from comparisons.util.errors import CompareError
from comparisons.util.files import filled, write_new

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
ALL = "all"
"""Of `--behavior`: no behavior can be called so."""

TEMPLATES = Path(__file__).resolve().parent / "templates"
RAW_PATH = "raw/{}.csv"
TEST_ITEMS = 8
ITEMS, TEXTS, README = "behavior_items.csv", "behavior_texts.json", "behavior_readme.txt"


def new_behavior(name: str, out: Path) -> tuple[Path, ...]:
    """Writes a behavior that a run can use as it is: examples to be replaced, and a README of what to write.

    Args:
        out: folder in the paper's layout; made if absent, and other behaviors in it stay.

    Returns:
        What to edit and to read: the raw items, behavior.json, the README where there was none.

    Raises:
        CompareError: no behavior can be called so, or it is there already.
    """
    if not NAME.fullmatch(name) or name == ALL:
        raise CompareError(
            f"a behavior can't be called '{name}': use letters, digits, -, _ and ., a letter or digit first, and not "
            f"'{ALL}'."
        )
    places = [out / path.format(name) for path in (TRAIN_PATH, TEST_PATH)]
    if there := next((place for place in places if place.exists()), None):
        raise CompareError(f"{there} is there already: choose another name, or another folder by --out.")
    raw = out / RAW_PATH.format(name)
    files = {raw: filled(TEMPLATES / ITEMS), places[0].with_name(TEXTS_FILE): filled(TEMPLATES / TEXTS)}
    readme = out / "README.md"
    if not readme.exists():
        files[readme] = filled(TEMPLATES / README, name=name, folder=str(out), test_items=str(TEST_ITEMS))
    written = write_new(files)
    split_file(raw, out, TEST_ITEMS)
    return written


@cache
def example_contents() -> frozenset[Hashable]:
    """What the example items ask, by which those that were left in are known."""
    return frozenset(content(item) for item in read_items(TEMPLATES / ITEMS, "example"))


@cache
def example_texts() -> Texts:
    """The texts of the example's behavior.json."""
    return read_texts(TEMPLATES / TEXTS, "")

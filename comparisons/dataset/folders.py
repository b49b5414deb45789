"""Where the behaviors of a folder or file are: the paper's layout, and folders of one file a behavior."""

from __future__ import annotations

from pathlib import Path

from comparisons.dataset.reading import SUFFIXES
from comparisons.dataset.texts import TEXTS_FILE
from comparisons.util.errors import CompareError

TRAIN_PATH = "generate/{}/generate_dataset.json"
TEST_PATH = "test/{}/test_dataset_ab.json"
OPEN_ENDED_PATH = "test/{}/test_dataset_open_ended.json"


def behavior_names(place: Path) -> tuple[str, ...]:
    """The behaviors of a place, sorted, without reading their items.

    Raises:
        CompareError: there are none, or nothing is there.
    """
    if place.is_file():
        if place.suffix.lower() not in SUFFIXES:
            raise CompareError(f"{place}: unknown kind of file: use {', '.join(SUFFIXES)}, or a folder.")
        return (place.stem,)
    if not place.exists():
        raise CompareError(f"{place}: there is no such folder or file of data.")
    if files := _in_layout(place):
        return tuple(sorted({file.parent.name for file in files}))
    if loose := loose_files(place):
        return tuple(sorted(loose))
    folders = [folder.name for folder in sorted(place.iterdir()) if folder.is_dir() and loose_files(folder)]
    needed = f"{TRAIN_PATH.format('NAME')} and {TEST_PATH.format('NAME')}, or files of one behavior each"
    inside = f"; there are some in its {', '.join(folders[:8])}" if folders else ""
    raise CompareError(f"{place}: holds no behaviors: it needs {needed}{inside}.")


def _in_layout(place: Path) -> list[Path]:
    """The files of behaviors in a folder in the paper's layout."""
    return [*place.glob(TRAIN_PATH.format("*")), *place.glob(TEST_PATH.format("*"))]


def loose_files(place: Path) -> dict[str, Path]:
    """By behavior, the files of a folder that holds one file a behavior, as Anthropic's evaluations do.

    Empty for a folder in the paper's layout.

    Raises:
        CompareError: two files have one stem.
    """
    if not place.is_dir() or _in_layout(place):
        return {}
    files: dict[str, Path] = {}
    for file in sorted(place.iterdir()):
        if file.suffix.lower() not in SUFFIXES or file.name == TEXTS_FILE or file.name.startswith("."):
            continue
        if file.stem in files:
            raise CompareError(
                f"{place}: {files[file.stem].name} and {file.name} would both be the behavior {file.stem}."
            )
        files[file.stem] = file
    return files

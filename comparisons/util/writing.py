"""New files from templates: nothing that is there is written over."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from string import Template

from comparisons.util.errors import CompareError
from comparisons.util.files import write_text


def filled(template: Path, **values: str) -> str:
    """The text of a template, with its $names replaced."""
    return Template(template.read_text(encoding="utf-8")).substitute(values)


def write_new(files: Mapping[Path, str]) -> tuple[Path, ...]:
    """Writes files that aren't there yet, with their folders.

    Raises:
        CompareError: one is there, and nothing has been written; or it can't be written.
    """
    if there := next((path for path in files if path.exists()), None):
        raise CompareError(f"{there} is there already: choose another name, or another folder by --out.")
    for path, text in files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, text)
        except OSError as error:
            raise CompareError(f"{path} can't be written: {error.strerror or error}.") from error
    return tuple(files)

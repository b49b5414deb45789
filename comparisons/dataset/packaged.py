"""The data that travel with the package, by name, and how data are called in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from comparisons.util.files import embedded
from comparisons.util.options import folder

POCKET, ENGLISH = Path("pocket"), Path("english")


@dataclass(frozen=True)
class Packaged:
    """A folder of data that travels with the package."""

    folder: str
    written_in: str


PACKAGED: Mapping[str, Packaged] = {
    str(POCKET): Packaged("", "the embedded model's own language"),
    str(ENGLISH): Packaged("english", "natural English"),
}
"""By name; a folder in the working directory that is called so must be typed as `./english`."""


def place_of(data: str | Path) -> Path:
    """The folder or file of some data: a path, or the place of one of `PACKAGED`."""
    named = PACKAGED.get(str(data))
    return Path(data) if named is None else embedded("data") / named.folder


def described(data: str | Path) -> str:
    """Data by their name and language, or by their path."""
    named = PACKAGED.get(str(data))
    return str(data) if named is None else f"{data} ({named.written_in})"


def data_path(given: str | Path, name: str) -> Path:
    """Reads the option: one of `PACKAGED` only where it is typed as a name and not as a path."""
    path = folder(given, name)
    return path.absolute() if str(path) in PACKAGED and str(given) != str(path) else path

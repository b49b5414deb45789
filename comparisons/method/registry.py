"""Names to method classes: from methods/, from a folder given by --plugins, and from entry points; and a new one."""

from __future__ import annotations

import keyword
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comparisons.method.interface import Method
from comparisons.method.settings import Setting, describe_settings
from comparisons.method.stacks import METHOD_NAME
from comparisons.util.errors import CompareError
from comparisons.util.files import filled, write_new
from comparisons.util.plugins import Kind, Plugin, Plugins, first_line

METHODS = Kind(
    word="method",
    base=Method,  # type: ignore[type-abstract]
    public="comparisons.method.Method",
    group="comparisons.methods",
    package="methods",
    option="--plugins",
    reserved=("baseline",),
)


@dataclass(frozen=True)
class PluginInfo:
    """A plugin as `compare methods` and `compare evaluations` show it.

    Attributes:
        source: the file or entry point that brings it; both where two do.
        error: why it can't be used, in one line; the attributes below are then left at None or empty.
        role: of a method: "method" or "control".
        dosed: whether a method has a strength.
        summary: the first line of its docstring.
        settings: in the order of its fields.
    """

    name: str
    source: str
    error: str | None = None
    role: str | None = None
    dosed: bool | None = None
    summary: str = ""
    settings: tuple[Setting, ...] = ()


class Described(Plugins[Plugin]):
    """Plugins that can be listed with their settings."""

    def describe(self) -> list[PluginInfo]:
        """Every plugin by name, the broken ones with their error; imports them all, raises for none."""
        return [self._describe(name) for name in self.names()]

    def _describe(self, name: str) -> PluginInfo:
        source = self.where(name)
        try:
            cls: type[Any] = self.get(name)
            role, dosed = getattr(cls, "role", None), getattr(cls, "dosed", None)
            return PluginInfo(name, source, None, role, dosed, first_line(cls) or "", describe_settings(cls))
        except Exception as error:  # a plugin's own code: defaults are made by it
            return PluginInfo(name, source, " ".join(str(error).split()))


class Registry(Described[Method]):
    """The known methods.

    Args:
        plugins: a folder with further methods, one file each.

    Raises:
        CompareError: there is no such folder.
    """

    def __init__(self, plugins: Path | None = None) -> None:
        super().__init__(METHODS, plugins)


TEMPLATES = Path(__file__).resolve().parent / "templates"

IMPORTED = ("ClassVar", "Edit", "Fit", "Intervention", "Literal", "Method", "Use")
"""Names that the template imports: a class of one would hide it."""


def new_method(name: str, out: Path) -> tuple[Path, ...]:
    """Writes a method that works as it is into a folder for `--plugins`, and its test.

    Args:
        name: the method's; - may stand for _.
        out: the folder; made if absent.

    Returns:
        The files: the method, its test.

    Raises:
        CompareError: no method can be called so, there is one, or a file is there already.
    """
    stem = checked_name(name, out if out.is_dir() else None)
    values = {"name": stem, "class_name": class_name(stem), "folder": out.name or "."}
    return write_new(
        {
            out / f"{stem}.py": filled(TEMPLATES / "method.txt", **values),
            out / "tests" / f"test_{stem}.py": filled(TEMPLATES / "method_test.txt", **values),
        }
    )


def new_package(name: str, out: Path) -> tuple[Path, ...]:
    """Writes a package that brings a method by its entry point; see `new_method`."""
    stem = checked_name(name, None)
    if out.is_dir() and any(out.iterdir()):
        raise CompareError(f"{out} is there already and not empty: name another folder by --out.")
    values = {"name": stem, "class_name": class_name(stem), "dashed": stem.replace("_", "-")}
    package = out / f"compare_{stem}"
    return write_new(
        {
            package / f"{stem}.py": filled(TEMPLATES / "method.txt", **values),
            package / "__init__.py": filled(TEMPLATES / "package_init.txt", **values),
            package / "py.typed": "",
            out / "tests" / f"test_{stem}.py": filled(TEMPLATES / "package_test.txt", **values),
            out / "pyproject.toml": filled(TEMPLATES / "package_pyproject.txt", **values),
            out / "README.md": filled(TEMPLATES / "package_readme.txt", **values),
        }
    )


def checked_name(name: str, plugins: Path | None) -> str:
    """The file's stem for a method's name.

    Raises:
        CompareError: no file can be called so, or there is a method of the name.
    """
    stem = name.replace("-", "_")
    if not METHOD_NAME.fullmatch(stem) or keyword.iskeyword(stem) or stem in METHODS.reserved:
        raise CompareError(
            f"a method can't be called '{name}': use a letter, then letters, digits and _, and neither a word of "
            f"Python's nor {' or '.join(METHODS.reserved)}."
        )
    # Compared without case: Caa.py and caa.py are one file on some systems.
    if stem.lower() in {known.replace("-", "_").lower() for known in Registry(plugins).names()}:
        raise CompareError(f"there is a method '{stem}' already: choose another name.")
    return stem


def class_name(stem: str) -> str:
    """A class's name for a method's: "norm_scaled" is NormScaled."""
    made = "".join(part[:1].upper() + part[1:] for part in stem.split("_"))
    return f"{made}Method" if made in IMPORTED or keyword.iskeyword(made) else made

"""Names to method classes: from methods/, from a folder given by --plugins, and from entry points."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comparisons.method.interface import Method
from comparisons.method.settings import Setting, describe_settings
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

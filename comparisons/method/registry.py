"""Names to method classes: from methods/, from a folder given by --plugins, and from entry points."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from comparisons.method.interface import Method
from comparisons.method.settings import Setting, describe_settings
from comparisons.util.plugins import Kind, Plugins, first_line

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
class MethodInfo:
    """A method as `compare methods` shows it.

    Attributes:
        name: its name.
        source: the file or entry point that brings it; both where two do.
        error: why it can't be used, in one line; the attributes below are then left at None or empty.
        role: "method" or "control".
        dosed: whether it has a strength.
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


class Registry(Plugins[Method]):
    """The known methods.

    Args:
        plugins: a folder with further methods, one file each.

    Raises:
        CompareError: there is no such folder.
    """

    def __init__(self, plugins: Path | None = None) -> None:
        super().__init__(METHODS, plugins)

    def describe(self) -> list[MethodInfo]:
        """Every method by name, the broken ones with their error; imports them all, raises for none."""
        return [self._describe(name) for name in self.names()]

    def _describe(self, name: str) -> MethodInfo:
        source = self.where(name)
        try:
            cls = self.get(name)
            settings = describe_settings(cls)
        except Exception as error:  # a plugin's own code: defaults are made by it
            return MethodInfo(name, source, " ".join(str(error).split()))
        return MethodInfo(name, source, None, cls.role, cls.dosed, first_line(cls) or "", settings)

"""Names to method classes: from methods/, from a folder given by --plugins, and from entry points.

Listing names imports no method, and a broken one fails where it is asked for, in one line.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from comparisons.method.interface import Method
from comparisons.method.settings import Setting, describe_settings
from comparisons.method.stacks import METHOD_NAME
from comparisons.util.errors import CompareError, unknown
from comparisons.util.files import file_digest

GROUP = "comparisons.methods"
"""The group of entry points that bring methods."""

PACKAGE = "methods"
RESERVED = ("baseline",)


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


@dataclass(frozen=True)
class Source:
    """Where a method comes from.

    Attributes:
        where: for messages: a file, or an entry point and its distribution.
        load: imports it; may raise anything.
    """

    where: str
    load: Callable[[], type[Method]]


class Registry:
    """The known methods.

    Args:
        plugins: a folder with further methods, one file each.

    Raises:
        CompareError: there is no such folder.
    """

    def __init__(self, plugins: Path | None = None) -> None:
        self._sources: dict[str, list[Source]] = {}
        for file in _method_files(Path(__file__).resolve().parents[2] / PACKAGE):
            self._add(file.stem, Source(f"{PACKAGE}/{file.name}", partial(_load_own, file)))
        if plugins is not None:
            if not plugins.is_dir():
                raise CompareError(f"--plugins {plugins}: there is no such folder.")
            importlib.invalidate_caches()
            for file in _method_files(plugins.resolve()):
                self._add(file.stem, Source(str(file), partial(_load_plugin, file)))
        for point in entry_points(group=GROUP):
            self._add(point.name, Source(_describe_entry_point(point), partial(_load_entry_point, point)))

    def _add(self, name: str, source: Source) -> None:
        self._sources.setdefault(name, []).append(source)

    def names(self) -> tuple[str, ...]:
        """All names in order, also of methods that turn out to be broken; imports none."""
        return tuple(sorted(self._sources))

    def get(self, name: str) -> type[Method]:
        """Imports a method.

        A name may be written with - for _, as a module's file can't be.

        Raises:
            CompareError: the name is unknown or taken twice, or what it stands for is broken.
        """
        if name not in self._sources and name.replace("-", "_") in self._sources:
            name = name.replace("-", "_")
        if name not in self._sources:
            raise unknown("method", name, self.names())
        source, *others = self._sources[name]
        if others:
            raise CompareError(f"method '{name}' is defined by {self._where(name)}: rename or remove one.")
        if not METHOD_NAME.fullmatch(name) or name in RESERVED:
            raise CompareError(
                f"method '{name}' of {source.where} can't be called so: use a letter, then letters, digits, "
                f"- and _, and not {' or '.join(RESERVED)}."
            )
        try:
            return source.load()
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # a plugin's own code, which may raise or exit as it likes
            kind = "" if isinstance(error, CompareError) else f"{type(error).__name__}: "
            cause = " ".join(f"{kind}{error}".split())
            raise CompareError(f"method '{name}' can't be loaded from {source.where}: {cause}") from error

    def describe(self) -> list[MethodInfo]:
        """Every method by name, the broken ones with their error; imports them all, raises for none."""
        return [self._describe(name) for name in self.names()]

    def _describe(self, name: str) -> MethodInfo:
        source = self._where(name)
        try:
            cls = self.get(name)
            settings = describe_settings(cls)
        except Exception as error:  # a plugin's own code: defaults are made by it
            return MethodInfo(name, source, " ".join(str(error).split()))
        return MethodInfo(name, source, None, cls.role, cls.dosed, first_line(cls) or "", settings)

    def _where(self, name: str) -> str:
        return " and ".join(source.where for source in self._sources[name])


def first_line(cls: type[Method]) -> str | None:
    """The first line of a class's own docstring; None where it has none."""
    text = cls.__doc__ or ""
    # A dataclass without a docstring gets its signature for one.
    if not text.strip() or text.startswith(f"{cls.__name__}("):
        return None
    return inspect.cleandoc(text).splitlines()[0]


def _method_files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob("*.py") if not file.name.startswith(("_", ".")))


def _load_own(file: Path) -> type[Method]:
    module = importlib.import_module(f"{PACKAGE}.{file.stem}")
    if not file.samefile(str(module.__file__)):
        raise CompareError(f"{module.__file__} hides it: take that '{PACKAGE}' off Python's path.")
    return _only_method(module)


def _load_plugin(file: Path) -> type[Method]:
    """Imports a file as part of a package made for its folder, so that it can import its neighbours.

    Where a file of the folder has changed since, all are imported anew: a notebook's next run takes the edited plugin.
    """
    package = "comparisons_plugins_" + hashlib.sha256(str(file.parent).encode()).hexdigest()[:12]
    sources = {path.name: file_digest(path) for path in sorted(file.parent.glob("*.py"))}
    known = sys.modules.get(package)
    if known is None or vars(known)["sources"] != sources:
        for name in [name for name in sys.modules if name.startswith(f"{package}.")]:
            del sys.modules[name]
        module = ModuleType(package)
        module.__path__ = [str(file.parent)]
        vars(module)["sources"] = sources
        sys.modules[package] = module
    return _only_method(importlib.import_module(f"{package}.{file.stem}"))


def _describe_entry_point(point: EntryPoint) -> str:
    distribution = f" of {point.dist.name}" if point.dist else ""
    return f"entry point {point.name} = {point.value}{distribution}"


def _load_entry_point(point: EntryPoint) -> type[Method]:
    found = point.load()
    if isinstance(found, ModuleType):
        return _only_method(found)
    if not (_is_method(found) and not inspect.isabstract(found)):
        raise CompareError(f"{point.value} is not a concrete subclass of comparisons.method.Method.")
    return _frozen(found)


def _is_method(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Method)


def _only_method(module: ModuleType) -> type[Method]:
    """The one concrete method that a module itself defines."""
    own = [v for v in vars(module).values() if _is_method(v) and v.__module__ == module.__name__]
    concrete = list(dict.fromkeys(v for v in own if not inspect.isabstract(v)))
    if len(concrete) > 1:
        names = " and ".join(cls.__name__ for cls in concrete)
        raise CompareError(f"a file defines one method, this one defines {len(concrete)}: {names}.")
    if not concrete:
        lacks = ", ".join(sorted(own[0].__abstractmethods__)) if own else ""
        unfinished = f" {own[0].__name__} lacks: {lacks}." if own else ""
        raise CompareError(f"it defines no concrete subclass of comparisons.method.Method.{unfinished}")
    return _frozen(concrete[0])


def _frozen(cls: type[Method]) -> type[Method]:
    # Without the decorator, fields would be no settings, and nobody would be told.
    if "__dataclass_params__" not in vars(cls):
        raise CompareError(f"{cls.__name__} is no dataclass: write @dataclass(frozen=True) above it.")
    return cls

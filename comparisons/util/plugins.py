"""Plugins by name: classes from files of a package, from files of a user's folder, and from entry points.

Listing names imports none of them, and a broken one fails where it is asked for, in one line.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from comparisons.util.errors import CompareError, unknown
from comparisons.util.files import file_digest
from comparisons.util.terminal import stderr

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
"""What a plugin may be called."""

Plugin = TypeVar("Plugin")


@dataclass(frozen=True)
class Kind(Generic[Plugin]):
    """What plugins of one kind have in common.

    Attributes:
        word: what one is called, as "method".
        base: the class of which each is a concrete subclass and a frozen dataclass.
        public: where authors import it from.
        group: of entry points that bring them.
        package: the package whose files are the project's own.
        option: names a folder of further ones.
        reserved: names that none may have.
    """

    word: str
    base: type[Plugin]
    public: str
    group: str
    package: str
    option: str
    reserved: tuple[str, ...] = ()


def installed(group: str) -> tuple[EntryPoint, ...]:
    """The entry points of a group; all packages' files are read for them, and again where Python's path has changed."""
    return _installed(group, tuple((place, _changed(place)) for place in sys.path))


@lru_cache(maxsize=16)
def _installed(group: str, path: tuple[tuple[str, int], ...]) -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=group))


def _changed(place: str) -> int:
    try:
        return os.stat(place or os.curdir).st_mtime_ns
    except OSError:
        return 0


@dataclass(frozen=True)
class Source(Generic[Plugin]):
    """Where a plugin comes from.

    Attributes:
        where: for messages: a file, or an entry point and its distribution.
        load: imports it; may raise anything.
        own: whether it is the project's.
    """

    where: str
    load: Callable[[], type[Plugin]]
    own: bool = False


class Plugins(Generic[Plugin]):
    """The known plugins of a kind.

    Args:
        folder: of further ones, one file each.

    Raises:
        CompareError: there is no such folder.
    """

    def __init__(self, kind: Kind[Plugin], folder: Path | None = None) -> None:
        self.kind = kind
        self._sources: dict[str, list[Source[Plugin]]] = {}
        for file in _files(Path(__file__).resolve().parents[2].joinpath(*kind.package.split("."))):
            shown = "/".join([*kind.package.split("."), file.name])
            self._add(file.stem, Source(shown, partial(self._load_own, file), own=True))
        if folder is not None:
            if not folder.is_dir():
                raise CompareError(f"{kind.option} {folder}: there is no such folder.")
            importlib.invalidate_caches()
            for file in _files(folder.resolve()):
                self._add(file.stem, Source(str(file), partial(self._load_file, file)))
        for point in installed(kind.group):
            where = f"entry point {point.name} = {point.value}" + (f" of {point.dist.name}" if point.dist else "")
            self._add(point.name, Source(where, partial(self._load_entry_point, point)))

    def _add(self, name: str, source: Source[Plugin]) -> None:
        self._sources.setdefault(name, []).append(source)

    def names(self) -> tuple[str, ...]:
        """All names in order, also of plugins that turn out to be broken; imports none."""
        return tuple(sorted(self._sources))

    def own(self) -> tuple[str, ...]:
        """The names that the project's own files bring."""
        return tuple(name for name in self.names() if any(source.own for source in self._sources[name]))

    def known(self, name: str) -> str:
        """A name as it is registered; it may be written with - for _, as a module's file can't be.

        Raises:
            CompareError: there is none.
        """
        if name not in self._sources and name.replace("-", "_") in self._sources:
            name = name.replace("-", "_")
        if name not in self._sources:
            raise unknown(self.kind.word, name, self.names())
        return name

    def get(self, name: str) -> type[Plugin]:
        """Imports a plugin.

        Raises:
            CompareError: the name is unknown or taken twice, or what it stands for is broken.
        """
        name, word, reserved = self.known(name), self.kind.word, self.kind.reserved
        source, *others = self._sources[name]
        if others:
            raise CompareError(f"{word} '{name}' is defined by {self.where(name)}: rename or remove one.")
        if not NAME.fullmatch(name) or name in reserved:
            but = f", and not {' or '.join(reserved)}" if reserved else ""
            rule = f"use a letter, then letters, digits, - and _{but}."
            raise CompareError(f"{word} '{name}' of {source.where} can't be called so: {rule}")
        try:
            return source.load()
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # a plugin's own code, which may raise or exit as it likes
            named = "" if isinstance(error, CompareError) else f"{type(error).__name__}: "
            cause = " ".join(f"{named}{error}".split())
            raise CompareError(f"{word} '{name}' can't be loaded from {source.where}: {cause}") from error

    def where(self, name: str) -> str:
        """What brings a name; both where two do."""
        return " and ".join(source.where for source in self._sources[name])

    def _load_own(self, file: Path) -> type[Plugin]:
        module = importlib.import_module(f"{self.kind.package}.{file.stem}")
        if not file.samefile(str(module.__file__)):
            raise CompareError(f"{module.__file__} hides it: take that '{self.kind.package}' off Python's path.")
        return self._only(module)

    def _load_file(self, file: Path) -> type[Plugin]:
        return self._only(import_file(file))

    def _load_entry_point(self, point: EntryPoint) -> type[Plugin]:
        found = point.load()
        if isinstance(found, ModuleType):
            return self._only(found)
        if not (self._is_one(found) and not inspect.isabstract(found)):
            raise CompareError(f"{point.value} is not a concrete subclass of {self.kind.public}.")
        return _frozen(found)

    def _is_one(self, value: Any) -> bool:
        return isinstance(value, type) and issubclass(value, self.kind.base)

    def _only(self, module: ModuleType) -> type[Plugin]:
        """The one concrete plugin that a module itself defines."""
        own = [v for v in vars(module).values() if self._is_one(v) and v.__module__ == module.__name__]
        concrete = list(dict.fromkeys(v for v in own if not inspect.isabstract(v)))
        if len(concrete) > 1:
            names, word = " and ".join(cls.__name__ for cls in concrete), self.kind.word
            raise CompareError(f"a file defines one {word}, this one defines {len(concrete)}: {names}.")
        if not concrete:
            lacks = ", ".join(sorted(own[0].__abstractmethods__)) if own else ""
            unfinished = f" {own[0].__name__} lacks: {lacks}." if own else ""
            raise CompareError(f"it defines no concrete subclass of {self.kind.public}.{unfinished}")
        return _frozen(concrete[0])


def import_file(file: Path) -> ModuleType:
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
    return importlib.import_module(f"{package}.{file.stem}")


def first_line(cls: type) -> str | None:
    """The first line of a class's own docstring; None where it has none."""
    text = cls.__doc__ or ""
    # A dataclass without a docstring gets its signature for one.
    if not text.strip() or text.startswith(f"{cls.__name__}("):
        return None
    return inspect.cleandoc(text).splitlines()[0]


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob("*.py") if not file.name.startswith(("_", ".")))


def _frozen(cls: type[Plugin]) -> type[Plugin]:
    # Without the decorator, fields would be no settings, and nobody would be told.
    if "__dataclass_params__" not in vars(cls):
        raise CompareError(f"{cls.__name__} is no dataclass: write @dataclass(frozen=True) above it.")
    return cls


@cache
def package_version(package: str) -> str | None:
    """The installed version, None where it isn't installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@contextmanager
def foreign(what: str) -> Iterator[None]:
    """Runs a method's code: what it prints goes to stderr, and it can't end the program.

    Raises:
        CompareError: it raised what is no Exception, as sys.exit does. Interrupting it stays possible.
    """
    with contextlib.redirect_stdout(stderr()):
        try:
            yield
        except (Exception, KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:
            text = " ".join(str(error).split())
            raise CompareError(f"{what} raised {type(error).__name__}: {text}".rstrip(": ") + ".") from error


@contextmanager
def settings_kept() -> Iterator[None]:
    """Puts torch's default type, gradient mode, threads and random state back when the context closes."""
    import torch

    dtype, grad, threads, random = (
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        torch.get_num_threads(),
        torch.get_rng_state(),
    )
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(grad)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        torch.set_rng_state(random)

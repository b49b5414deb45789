"""Versions of installed packages."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version


@cache
def package_version(package: str) -> str | None:
    """The installed version, None where it isn't installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None

"""What a shell offers behind options that take lists of names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def lists(names: Callable[[click.Context], Iterable[str]], signs: str = ",") -> Complete:
    """Completes the last name of a list.

    Args:
        names: all that there are.
        signs: what separates them.
    """

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        head = re.match(rf".*[{signs}]|", incomplete)
        written = head[0] if head else ""
        try:
            return [CompletionItem(written + n) for n in names(ctx) if n.startswith(incomplete[len(written) :])]
        except Exception:  # what is wrong with the data is said when the command runs
            return []

    return complete


def methods(ctx: click.Context) -> Iterable[str]:
    """The registered methods, those of --plugins too."""
    from comparisons.method.registry import Registry

    return [info.name for info in Registry(_path(ctx, "plugins")).describe() if info.error is None]


def behaviors(ctx: click.Context) -> Iterable[str]:
    """The behaviors of --data, and the word for all of them."""
    from comparisons.dataset.behaviors import Library

    return [*Library.open(_path(ctx, "data")).names, "all"]


def judges(ctx: click.Context) -> Iterable[str]:
    """The registered judges."""
    from comparisons.judges.registry import names

    return names()


def _path(ctx: click.Context, name: str) -> Path | None:
    value: Any = ctx.params.get(name)
    return Path(value) if value else None

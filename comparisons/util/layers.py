"""Layers as users write them: "all", "A-B", "N", or several with commas."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from comparisons.util.errors import CompareError

ALL = "all"
Parts = Sequence[tuple[int, int] | None]
"""First and last layer of each part; None for all."""


def layer_parts(text: str) -> Parts:
    """Reads what `--layers` takes; raises CompareError where it can't be read."""
    parts: list[tuple[int, int] | None] = []
    for part in (part.strip() for part in text.split(",")):
        match = re.fullmatch(r"([0-9]{1,6})(?:-([0-9]{1,6}))?", part)
        if part != ALL and match is None:
            raise CompareError(f"--layers takes all, A-B or N, or several with commas such as 0-3,8, not '{text}'.")
        if match is None:
            parts.append(None)
            continue
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise CompareError(f"--layers {part} runs backwards: write {last}-{first}.")
        parts.append((first, last))
    return parts


def layers_within(parts: Parts, blocks: int, model: str) -> tuple[int, ...]:
    """The layers that the parts name together, in order; raises CompareError where the model has no such block."""
    chosen: set[int] = set()
    for part in parts:
        first, last = part or (0, blocks - 1)
        if last >= blocks:
            raise CompareError(f"layer {last} is out of range: {model} has layers 0 to {blocks - 1}.")
        chosen.update(range(first, last + 1))
    return tuple(sorted(chosen))


def layers_among(parts: Parts, layers: Iterable[int], where: str) -> tuple[int, ...]:
    """The layers that the parts name among those that there are, in order; CompareError where one is missing."""
    present = set(layers)
    wanted = {n for part in parts for n in (present if part is None else range(part[0], part[1] + 1))}
    if missing := wanted - present:
        raise CompareError(f"{where} has no layer {layer_ranges(missing)}: it has {layer_ranges(present)}.")
    return tuple(sorted(wanted))


def layer_ranges(layers: Iterable[int]) -> str:
    """Layers in words: "0-3, 8"."""
    ranges: list[list[int]] = []
    for layer in sorted(set(layers)):
        if ranges and layer == ranges[-1][1] + 1:
            ranges[-1][1] = layer
        else:
            ranges.append([layer, layer])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)

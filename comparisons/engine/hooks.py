"""Hooks on decoder blocks: edits, capture, and stopping early. All live inside context managers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import torch

from comparisons.engine.layout import Layout
from comparisons.errors import CompareError
from comparisons.intervention import Edit, Positions
from comparisons.lm import LM

Change = Callable[[torch.Tensor], torch.Tensor]


class StopForward(Exception):
    """Ends a forward pass once nothing above is wanted."""


@contextmanager
def block_output(block: torch.nn.Module, change: Change) -> Iterator[None]:
    """Passes a block's output [batch, tokens, width] through `change`, which returns a new tensor."""

    def hook(module: torch.nn.Module, args: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (change(output[0]), *output[1:])
        return change(output)

    handle = block.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def edits_applied(lm: LM, layout: Layout, interventions: Sequence[Sequence[Edit]]) -> Iterator[None]:
    """Applies each intervention's edits to its own tokens while the context lasts.

    Args:
        lm: the model.
        layout: the tokens of the coming forward pass; `owner` indexes `interventions`.
        interventions: the edits of each.
    """
    changes: dict[int, list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]] = defaultdict(list)
    for owner, edits in enumerate(interventions):
        for edit in edits:
            if edit.effective:
                changes[_checked_layer(lm, edit)].append(_delta(edit, owner, layout))
    with ExitStack() as stack:
        for layer, deltas in changes.items():
            stack.enter_context(block_output(lm.blocks[layer], _adder(deltas)))
        yield


def _checked_layer(lm: LM, edit: Edit) -> int:
    if edit.vector.shape[-1] != lm.width:
        raise CompareError(
            f"a vector of width {edit.vector.shape[-1]} does not fit {lm.name}, whose width is {lm.width}."
        )
    return lm.check_layer(edit.layer)


def _delta(edit: Edit, owner: int, layout: Layout) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rows, columns and float32 deltas [n, width] of one edit."""
    rows, columns = layout.select(owner, Positions.parse(edit.positions)).nonzero(as_tuple=True)
    vector = edit.multiplier * edit.vector.to(layout.owner.device, torch.float32)
    if vector.dim() == 2:
        return rows, columns, vector[layout.position[rows, columns]]
    return rows, columns, vector.expand(len(rows), -1)


def _adder(deltas: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]) -> Change:
    rows, columns, delta = (torch.cat(parts) for parts in zip(*deltas, strict=True))

    def add(hidden: torch.Tensor) -> torch.Tensor:
        place = (rows.to(hidden.device), columns.to(hidden.device))
        return hidden.index_put(place, delta.to(hidden.device, hidden.dtype), accumulate=True)

    return add


@contextmanager
def captured(lm: LM, layers: Sequence[int], columns: torch.Tensor) -> Iterator[dict[int, torch.Tensor]]:
    """Collects the output of blocks at some columns of the coming forward pass.

    Yields:
        A dict that the pass fills: layer -> [batch, columns, width], in the model's dtype.
    """
    found: dict[int, torch.Tensor] = {}

    def keeper(layer: int) -> Change:
        def keep(hidden: torch.Tensor) -> torch.Tensor:
            found[layer] = hidden[:, columns.to(hidden.device)]
            return hidden

        return keep

    with ExitStack() as stack:
        for layer in layers:
            stack.enter_context(block_output(lm.blocks[layer], keeper(layer)))
        yield found


@contextmanager
def stopping_after(lm: LM, layer: int | None) -> Iterator[None]:
    """Ends each forward pass inside the context after a block; with None, never."""
    if layer is None:
        yield
        return

    def stop(hidden: torch.Tensor) -> torch.Tensor:
        raise StopForward

    with block_output(lm.blocks[layer], stop), suppress(StopForward):
        yield

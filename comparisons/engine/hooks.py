"""Hooks on decoder blocks, in context managers: edits of the tokens that a layout names, capture, stopping early."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import torch

from comparisons.engine.conditions import Decisions, Standing, Tokens
from comparisons.intervention import Condition, Edit, Positions
from comparisons.model.lm import LM
from comparisons.util.errors import CompareError


@dataclass(frozen=True)
class Layout:
    """The logical place of each token of a forward pass; all tensors are [batch, tokens].

    Attributes:
        owner: index of the intervention whose edits the token takes; -1 for none (shared or padding).
        position: logical position in its sequence, from 0.
        relative: position counted from the last prompt token, which is 0.
        last: whether it is the last token of its sequence.
        thought: whether a token of a thought is predicted from it; None where there are no thoughts.
    """

    owner: torch.Tensor
    position: torch.Tensor
    relative: torch.Tensor
    last: torch.Tensor
    thought: torch.Tensor | None = None

    def select(self, owner: int, positions: Positions) -> torch.Tensor:
        """The tokens of one intervention that an edit touches, bool [batch, tokens]."""
        owned = self.owner == owner
        if positions.kind == "all":
            return owned
        if positions.kind == "last":
            return owned & self.last
        if positions.kind == "prompt_first":
            return owned & (self.position < positions.count)
        if positions.kind == "response_first":
            return owned & (self.relative >= 1) & (self.relative <= positions.count)
        if positions.kind == "thought":
            return owned & (torch.zeros_like(owned) if self.thought is None else self.thought)
        behind = owned & (self.relative >= 0)
        return behind & ~self.thought if positions.kind == "answer" and self.thought is not None else behind

    def end(self, owner: int) -> Tokens:
        """The last prompt tokens of one intervention."""
        row, column = ((self.owner == owner) & (self.relative == 0)).nonzero(as_tuple=True)
        return row, column


Change = Callable[[torch.Tensor], torch.Tensor]

EPSILON = 1e-12


class StopForward(Exception):
    """Ends a forward pass once nothing above is wanted."""


def _in_stream(module: torch.nn.Module, hidden: torch.Tensor, change: Change) -> torch.Tensor:
    """Changes the residual stream [batch, tokens, width]: where it has several copies, the one that blocks work on.

    Gemma 3n's AltUp (Baykal et al. 2023) hands on [copies, batch, tokens, width].
    """
    if hidden.dim() == 3:
        return change(hidden)
    active = getattr(getattr(module, "config", None), "altup_active_idx", None)
    if active is None or hidden.dim() != 4:
        raise CompareError(
            f"{type(module).__name__} hands on {[*hidden.shape]} where a residual stream is [rows, tokens, width]: it "
            "can be neither read nor edited there; use another site, or another model."
        )
    copies = list(hidden)
    copies[active] = change(copies[active])
    return torch.stack(copies)


@contextmanager
def output_changed(module: torch.nn.Module, change: Change) -> Iterator[None]:
    """Passes a module's output [batch, tokens, width] through `change`, which returns a new tensor."""

    def hook(module: torch.nn.Module, args: Any, output: Any) -> Any:
        if isinstance(output, (tuple, list)):
            return type(output)((_in_stream(module, output[0], change), *output[1:]))
        return _in_stream(module, output, change)

    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def input_changed(module: torch.nn.Module, change: Change) -> Iterator[None]:
    """Passes a block's input [batch, tokens, width] through `change`, which returns a new tensor."""

    def hook(module: torch.nn.Module, args: Any, kwargs: Any) -> Any:
        if args:
            return (_in_stream(module, args[0], change), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": _in_stream(module, kwargs["hidden_states"], change)}

    handle = module.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


@dataclass(frozen=True)
class _Part:
    """One operation on some tokens of one place.

    Attributes:
        operation: see `Edit`.
        rows: of the tokens, [n].
        columns: of the tokens, [n].
        vectors: float32 [n, width].
        multipliers: float32 [n, 1].
        lines: of `Decisions.acts`, [n].
        decisions: what the tokens' edits depend on; None where all act.
    """

    operation: str
    rows: torch.Tensor
    columns: torch.Tensor
    vectors: torch.Tensor
    multipliers: torch.Tensor
    lines: torch.Tensor
    decisions: Decisions | None = None

    def _acting(self, acts: torch.Tensor) -> _Part:
        """The tokens whose edits act."""
        acting = acts[self.lines, self.rows]
        names = ("rows", "columns", "vectors", "multipliers", "lines")
        return replace(self, decisions=None, **{name: getattr(self, name)[acting] for name in names})

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        if self.decisions is not None:
            return self._acting(self.decisions.acts)(hidden)
        place = (self.rows.to(hidden.device), self.columns.to(hidden.device))
        vectors, multipliers = self.vectors.to(hidden.device), self.multipliers.to(hidden.device)
        if self.operation == "add":
            return hidden.index_put(place, (multipliers * vectors).to(hidden.dtype), accumulate=True)
        changed = operate(self.operation, hidden[place].float(), vectors, multipliers)
        return hidden.index_put(place, changed.to(hidden.dtype))


def operate(operation: str, hidden: torch.Tensor, vector: torch.Tensor, multiplier: torch.Tensor) -> torch.Tensor:
    """What an edit makes of a hidden state h with vector v and multiplier m (design: v̂ is v / |v|).

    "add": h + m v. "ablate": h - m (h·v̂) v̂, so that 1 projects v out. "set": h + (m |v| - h·v̂) v̂, so that the
    component along v becomes m v. "add_keep_norm": h + m v, scaled back to the norm of h.

    Args:
        operation: see `Edit`.
        hidden: [..., width], float32.
        vector: the same shape, or one that broadcasts.
        multiplier: [..., 1].
    """
    if operation == "add":
        return hidden + multiplier * vector
    if operation == "add_keep_norm":
        moved = hidden + multiplier * vector
        scaled: torch.Tensor = moved * (
            hidden.norm(dim=-1, keepdim=True) / moved.norm(dim=-1, keepdim=True).clamp(min=EPSILON)
        )
        return scaled
    norm: torch.Tensor = vector.norm(dim=-1, keepdim=True)
    unit = vector / norm.clamp(min=EPSILON)
    along = (hidden * unit).sum(dim=-1, keepdim=True)
    target = along * (1 - multiplier) if operation == "ablate" else multiplier * norm
    changed: torch.Tensor = hidden + (target - along) * unit
    return changed


@contextmanager
def edits_applied(
    lm: LM,
    layout: Layout,
    interventions: Sequence[Sequence[Edit]],
    decisions: Decisions | None = None,
    standing: Standing = lambda tokens, layer: tokens,
) -> Iterator[None]:
    """Applies each intervention's edits to its own tokens while the context lasts, in the order given.

    Args:
        lm: the model.
        layout: the tokens of the coming forward pass; `owner` indexes `interventions`.
        interventions: the edits of each.
        decisions: what an earlier pass decided of the same interventions' edits, or what this one does.
        standing: where tokens of the layout are in a block's output.
    """
    decisions = Decisions() if decisions is None else decisions
    # The n-th edit of every intervention at one place is applied before any's next one there.
    places: dict[tuple[int, str], dict[tuple[int, str], list[_Placed]]] = {}
    conditions: list[tuple[int, Condition]] = []
    for owner, edits in enumerate(interventions):
        turns: Counter[tuple[int, str]] = Counter()
        for edit in edits:
            if edit.effective:
                place = (_checked_layer(lm, edit), edit.site)
                turn = (turns[place], edit.operation)
                conditions += [] if edit.when is None else [(owner, edit.when)]
                line = 0 if edit.when is None else len(conditions)
                places.setdefault(place, defaultdict(list))[turn].append((owner, edit, line))
                turns[place] += 1
    with ExitStack() as stack:
        if conditions:  # before the edits: a condition reads what its block itself hands on
            ends = [layout.end(owner) for owner, _ in conditions]
            held = [condition for _, condition in conditions]
            for layer, decide in decisions.deciding(held, ends, len(layout.owner), standing):
                stack.enter_context(output_changed(lm.blocks[layer], decide))
        for (layer, site), steps in places.items():
            change = _in_turn(
                [_part(layout, operation, steps[turn, operation], decisions) for turn, operation in sorted(steps)]
            )
            if site == "block_input":
                stack.enter_context(input_changed(lm.blocks[layer], change))
            else:
                stack.enter_context(output_changed(lm.module(layer, site), change))
        yield


_Placed = tuple[int, Edit, int]
"""An intervention's index, an edit of it, and its line of what is decided."""


def _checked_layer(lm: LM, edit: Edit) -> int:
    for vector in (edit.vector, *(() if edit.when is None else (edit.when.vector,))):
        if vector.shape[-1] != lm.width:
            raise CompareError(
                f"a vector of width {vector.shape[-1]} does not fit {lm.name}, whose width is {lm.width}."
            )
    if edit.when is not None:
        lm.check_layer(edit.when.layer)
    return lm.check_layer(edit.layer)


def _part(layout: Layout, operation: str, edits: Sequence[_Placed], decisions: Decisions) -> _Part:
    rows, columns, vectors, multipliers, lines = [], [], [], [], []
    for owner, edit, line in edits:
        row, column = layout.select(owner, Positions.parse(edit.positions)).nonzero(as_tuple=True)
        vector = edit.vector.to(layout.owner.device, torch.float32)
        rows.append(row)
        columns.append(column)
        vectors.append(vector[layout.position[row, column]] if vector.dim() == 2 else vector.expand(len(row), -1))
        multipliers.append(torch.full((len(row), 1), edit.multiplier, device=vector.device))
        lines.append(torch.full_like(row, line))
    asked = decisions if any(line for _, _, line in edits) else None
    place = torch.cat(rows), torch.cat(columns)
    return _Part(operation, *place, torch.cat(vectors), torch.cat(multipliers), torch.cat(lines), asked)


def _in_turn(parts: Sequence[_Part]) -> Change:
    def change(hidden: torch.Tensor) -> torch.Tensor:
        for part in parts:
            hidden = part(hidden)
        return hidden

    return change


@contextmanager
def captured(
    lm: LM, layers: Sequence[int], read: Callable[[torch.Tensor, int], torch.Tensor]
) -> Iterator[dict[int, torch.Tensor]]:
    """Collects the output of blocks in the coming forward pass.

    Args:
        lm: the model.
        layers: the blocks.
        read: what is wanted of a block's output, by its layer.

    Yields:
        A dict that the pass fills: layer -> what was read.
    """
    outputs: dict[int, torch.Tensor] = {}

    def keeper(layer: int) -> Change:
        def keep(hidden: torch.Tensor) -> torch.Tensor:
            outputs[layer] = read(hidden, layer)
            return hidden

        return keep

    with ExitStack() as stack:
        for layer in layers:
            stack.enter_context(output_changed(lm.blocks[layer], keeper(layer)))
        yield outputs


@contextmanager
def stopping_after(lm: LM, layer: int | None) -> Iterator[None]:
    """Ends each forward pass inside the context after a block; with None, never."""
    if layer is None:
        yield
        return

    def stop(hidden: torch.Tensor) -> torch.Tensor:
        raise StopForward

    with output_changed(lm.blocks[layer], stop), suppress(StopForward):
        yield

"""How a text that has been read is gone on with: from keys and values, from a family's own cache, or from its start.

A recurrent or hybrid model's state isn't keys and values alone; the cache that its first pass makes by itself holds it.
"""

from __future__ import annotations

from typing import Any

import torch

from comparisons.model.lm import LM, Continuing


class ReadText:
    """Rows of tokens that have been read.

    Args:
        lm: the model.
        kind: how they are gone on with.
        room: columns that keys and values have room for before they are copied.

    Attributes:
        kind: how they are gone on with.
        cache: of what has been read; None before a family's own is made, and where there is none.
    """

    def __init__(self, lm: LM, kind: Continuing, room: int = 0) -> None:
        self.lm, self.kind = lm, kind
        self.cache: Any = _roomy_cache(room) if kind == "cache" else None

    def run(self, inputs: dict[str, Any]) -> torch.Tensor:
        """Runs further tokens, and keeps what they add; returns the logits.

        Args:
            inputs: of the model, without its cache. Of a family's own cache the rows must be of one length, and after
                the first pass one token is read at a time.
        """
        own = self.kind == "own"
        inputs = {**inputs, "use_cache": self.kind != "text"}
        if self.cache is not None:
            inputs[self.lm.cache_argument] = self.cache
            if own:  # nothing is padded, and some families multiply a mask into the state, whatever its length
                del inputs["attention_mask"]
        output = self.lm.model(**inputs)
        if own and self.cache is None:
            # Called as it is when it is given; a model that hands none on is found to go on from nothing.
            self.cache = getattr(output, self.lm.cache_argument, None)
        logits: torch.Tensor = output.logits
        return logits

    def take(self, rows: torch.Tensor) -> None:
        """Goes on with some of the rows, each of them once or several times; their indices, [rows]."""
        from transformers import DynamicCache

        if self.cache is None:
            return
        rows = rows.cpu()  # on the CPU an index serves caches on any device
        # Layers with a state beside keys and values know the first alone; a family's own class knows the second.
        if type(self.cache) is DynamicCache:
            self.cache.reorder_cache(rows)
        else:
            self.cache.batch_select_indices(rows)


def _roomy_cache(room: int) -> Any:
    """A cache whose tensors have room for so many columns, and are written in place; more are made where they are full.

    transformers' own static one would have each token attend to all of its columns, the empty ones masked.
    """
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    class RoomyLayer(DynamicLayer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.rooms: dict[str, torch.Tensor] = {}

        def update(self, keys: torch.Tensor, values: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            if not self.is_initialized:
                self.lazy_initialization(keys[..., :0, :], values[..., :0, :])
            start = self.get_seq_length()
            for name, new in (("keys", keys), ("values", values)):
                self._make_room(name, new, start + new.shape[-2])[..., start:, :] = new
            return self.keys, self.values

        def reorder_cache(self, rows: torch.Tensor) -> None:
            for name in ("keys", "values") if self.is_initialized else ():
                old = getattr(self, name)
                index = rows.to(old.device)
                moved = (index != torch.arange(len(index), device=old.device)).nonzero()[:, 0]
                chosen = old[index[moved]]
                self._make_room(name, old[:1].expand(len(index), *old.shape[1:]), old.shape[-2])[moved] = chosen

        def _make_room(self, name: str, like: torch.Tensor, columns: int) -> torch.Tensor:
            """Keys or values of as many rows and columns; those that were there are, the others to be written."""
            held, old = self.rooms.get(name), getattr(self, name)
            if held is None or len(held) < len(like) or held.shape[-2] < columns:
                held = like.new_empty(*like.shape[:-2], max(room, columns), like.shape[-1])
                if old.numel():
                    held[: len(old), ..., : old.shape[-2], :] = old
                self.rooms[name] = held
            view = held[: len(like), ..., :columns, :]
            setattr(self, name, view)
            return view

    cache = DynamicCache()
    cache.layer_class_to_replicate = RoomyLayer
    return cache

"""How a text that has been read is gone on with: from keys and values, from a family's own cache, or from its start.

A recurrent or hybrid model's state isn't keys and values alone; the cache that its first pass makes by itself holds it.
"""

from __future__ import annotations

from typing import Any

import torch

from comparisons.model.lm import LM, Continuing


class ReadText:
    """Rows of tokens that have been read.

    Attributes:
        kind: how they are gone on with.
        cache: of what has been read; None before a family's own is made, and where there is none.
    """

    def __init__(self, lm: LM, kind: Continuing) -> None:
        from transformers import DynamicCache

        self.lm, self.kind = lm, kind
        self.cache: Any = DynamicCache() if kind == "cache" else None

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

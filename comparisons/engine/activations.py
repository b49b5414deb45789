"""Activations of contrast pairs: both answers of a question as two branches of one prompt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from comparisons.behaviors import Item
from comparisons.engine.choices import in_place, pair_prompts
from comparisons.engine.plan import Sequences, batches
from comparisons.engine.run import can_pack, last_activations, shares_prompt
from comparisons.intervention import Intervention
from comparisons.lm import LM


def contrast_activations(
    lm: LM,
    items: Sequence[Item],
    layers: Sequence[int] | None = None,
    below: Intervention | None = None,
) -> Iterator[tuple[list[int], torch.Tensor]]:
    """Block outputs at the letter's token of both answers, batch by batch, in about one pass over the prompts.

    Source: the paper (Rimsky et al. 2024, section 3): the residual stream at the position of the answer letter.

    Args:
        lm: the model.
        items: contrast pairs; each is read as given.
        layers: 0-based blocks; all by default.
        below: an intervention that is in place while the pairs are read.

    Yields:
        Indices into `items`, and their activations [items, 2, layers, width], float32, the matching answer
        first. Items longer than the model's context are left out.

    Raises:
        CompareError: a layer is out of range, or more than 2% of the items exceed the context.
    """
    below = (below or Intervention()).simplified()
    layers = range(len(lm.blocks)) if layers is None else [lm.check_layer(layer) for layer in layers]
    prompts = pair_prompts(lm, items, below)
    fitting = list(prompts)
    edits = [below.edits, below.edits]
    packed = shares_prompt(edits) and can_pack(lm)
    with in_place(lm, below):
        for batch in batches(
            [len(prompts[i].shared) for i in fitting],
            [len(prompts[i].tail) for i in fitting],
            lambda length: length + 8,
            lm.token_budget,
        ):
            chosen = [fitting[i] for i in batch]
            tails = [[(*prompts[i].tail, token) for token in prompts[i].targets] for i in chosen]
            sequences = Sequences([prompts[i].shared for i in chosen], tails, edits)
            yield chosen, last_activations(lm, sequences, layers, packed).permute(1, 0, 2, 3)

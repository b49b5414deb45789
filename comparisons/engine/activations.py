"""Activations of contrast pairs: both answers of a question as two branches of one prompt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from comparisons.behaviors import Item
from comparisons.engine.choices import in_place, pair_prompts
from comparisons.engine.plan import Branch
from comparisons.engine.prompts import Batch, Prompts, in_batches
from comparisons.engine.run import last_activations
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
    # Where nothing is edited, all but the letter is shared.
    whole = not below.edits
    pairs = Prompts(
        prefixes=[prompts[i].ids if whole else prompts[i].shared for i in fitting],
        tails=[[(*(() if whole else prompts[i].tail), token) for token in prompts[i].targets] for i in fitting],
        branches=[Branch(0, below.edits), Branch(1, below.edits)],
        stop_after=max(layers),
    )

    def work(batch: Batch) -> tuple[list[int], torch.Tensor]:
        activations = last_activations(lm, batch.sequences, layers, batch.passes)
        return [fitting[i] for i in batch.prompts], activations.permute(1, 0, 2, 3)

    with in_place(lm, below):
        yield from in_batches(lm, pairs, work)

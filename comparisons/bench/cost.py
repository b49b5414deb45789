"""What a work must cost: its tokens by formula, and the time that its matrix products take on this machine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from comparisons.bench.works import Work
    from comparisons.model.lm import LM

RATE_ROWS = 2_048
"""Rows of the timed matrix products: about as many tokens as a batch of prompts has."""

RATE_SECONDS = 1.0
"""How long the products are repeated; the best round counts."""


@dataclass(frozen=True)
class Needed:
    """What must be run at least.

    Attributes:
        tokens: in passes through all blocks; a branch that begins at its edit's layer counts by its blocks' share.
        heads: positions whose logits are needed.
    """

    tokens: float
    heads: int


def begin_alike(sequences: Sequence[Sequence[int]]) -> int:
    """Tokens of all sequences where every common beginning is run once."""
    total, previous = 0, tuple[int, ...]()
    # Neighbours in sorted order share the longest beginnings.
    for sequence in sorted(map(tuple, sequences)):
        shared = 0
        while shared < min(len(previous), len(sequence)) and previous[shared] == sequence[shared]:
            shared += 1
        total += len(sequence) - shared
        previous = sequence
    return total


def needed(lm: LM, work: Work) -> Needed:
    """The fewest tokens from which a work's numbers follow, each run once, from the layer on where it differs.

    See docs/performance.md for the formulas.
    """
    blocks = len(lm.blocks)
    above = sum(blocks - 1 - edit.layer for edit in work.members) / blocks
    if not work.has_plain and work.members:
        # No plain branch is wanted: above the highest edit nothing runs unedited.
        above -= 1.0 - (max(edit.layer for edit in work.members) + 1) / blocks
    branches = len(work.members) + work.has_plain
    if work.kind == "answers":
        answers = work.answer_prompts(lm)
        grown = len(answers) * (work.new_tokens - 1) * branches
        return Needed(begin_alike(answers) + len(answers) * above + grown, len(answers) * branches * work.new_tokens)
    if work.kind in ("texts", "kl"):
        given = work.given_answers(lm)
        # An answer's last token need not be run, and the last prompt token is each answer's first place.
        places = sum(len(text) - len(each.ids) for each in given for text in each.texts)
        return Needed(begin_alike([each.ids[:-1] for each in given]) + places * (1 + above), places * branches)
    prompts = work.prompts(lm)
    shared = begin_alike([prompt.ids for prompt in prompts])
    if work.kind == "activations":
        return Needed(shared + 2.0 * len(prompts), 0)
    return Needed(shared + above * sum(len(prompt.tail) for prompt in prompts), len(prompts) * branches)


def floor_seconds(lm: LM, work: Work, rate: float) -> float:
    """The time of the needed tokens' matrix products, attention's own products left out.

    Args:
        lm: the model.
        work: what is to be done; of a sample the whole is meant.
        rate: floating-point operations a second, from `matrix_rate`.
    """
    least = needed(lm, work)
    head: int = lm.model.get_output_embeddings().weight.numel()
    operations = 2.0 * (least.tokens * block_parameters(lm) + least.heads * head)
    return work.scale * operations / rate


def block_parameters(lm: LM) -> int:
    """Numbers in the weight matrices of all decoder blocks."""
    return sum(p.numel() for block in lm.blocks for p in block.parameters() if p.dim() == 2)


def matrix_rate(lm: LM) -> float:
    """Floating-point operations a second of products with one block's weight matrices, timed here and now."""
    import torch

    matrices = [p.detach() for p in lm.blocks[0].parameters() if p.dim() == 2]
    generator = torch.Generator().manual_seed(0)
    widths = {p.shape[1] for p in matrices}
    inputs = {w: torch.randn(RATE_ROWS, w, generator=generator).to(lm.device, matrices[0].dtype) for w in widths}
    operations = 2 * RATE_ROWS * sum(p.numel() for p in matrices)
    best, end = float("inf"), time.perf_counter() + RATE_SECONDS
    with torch.no_grad():
        while time.perf_counter() < end or best == float("inf"):
            start = now(lm)
            for matrix in matrices:
                torch.nn.functional.linear(inputs[matrix.shape[1]], matrix)
            best = min(best, now(lm) - start)
    return operations / best


def now(lm: LM) -> float:
    """The clock, in seconds, once the device has done what it was told."""
    import torch

    if lm.device.type == "cuda":
        torch.cuda.synchronize(lm.device)
    elif lm.device.type == "mps":
        torch.mps.synchronize()
    return time.perf_counter()

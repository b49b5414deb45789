"""Runs batches of prompts and branches: log-probabilities of target tokens, activations at their last token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from comparisons.engine.head import head_of, target_logps
from comparisons.engine.hooks import captured, stopping_after
from comparisons.engine.passes import Pass
from comparisons.engine.plan import Sequences
from comparisons.intervention import Edit, Positions
from comparisons.model.lm import LM


def token_logps(
    lm: LM, batch: Sequences, targets: torch.Tensor, passes: Iterator[Pass], whole: bool = False
) -> torch.Tensor:
    """Log-probabilities of target tokens after each branch, or after each of its tokens.

    Args:
        lm: the model.
        batch: prompts and branches.
        targets: token ids, [prompts, targets] for the end of a branch; [prompts, variants, size, targets] for the
            places of its tail.
        passes: the batch's.
        whole: whether at each token.

    Returns:
        [branches, prompts, targets], or [branches, prompts, size, targets]; float32, in nats, on the CPU.
    """
    places = (batch.size,) if whole else ()
    found = torch.full((len(batch.branches), len(batch.prefixes), *places, targets.shape[-1]), torch.nan)
    variant = torch.tensor([branch.variant for branch in batch.branches])
    head = head_of(lm)
    with torch.no_grad():
        for step in passes:
            prompt, branch, place = step.wanted.unbind(-1)
            wanted = targets[prompt, variant[branch], place] if whole else targets[prompt]
            with step.in_place(lm):
                logps = target_logps(lm, head, step.inputs, step.columns, wanted)
            asked = branch >= 0
            index = (branch[asked], prompt[asked], *((place[asked],) if whole else ()))
            found[index] = logps[asked]
    return found


def last_activations(lm: LM, batch: Sequences, layers: Sequence[int], passes: Iterator[Pass]) -> torch.Tensor:
    """Block outputs at the last token of each branch; nothing above the deepest layer runs.

    Returns:
        [branches, prompts, layers, width], float32, on the CPU.
    """
    found = torch.full((len(batch.branches), len(batch.prefixes), len(layers), lm.width), torch.nan)
    deepest = max(layers)
    with torch.no_grad():
        for step in passes:
            with step.in_place(lm), captured(lm, layers, step.read) as outputs, stopping_after(lm, deepest):
                lm.model(**step.inputs)
            prompt, branch, _ = step.wanted.unbind(-1)
            values = torch.stack([outputs[layer].float().cpu() for layer in layers], dim=2)
            # A plain tail that nobody asked for has no place: -1 would be the last branch's.
            asked = branch >= 0
            found[branch[asked], prompt[asked]] = values[asked]
    return found


def mean_activations(
    lm: LM, batch: Sequences, layers: Sequence[int], passes: Iterator[Pass], spans: torch.Tensor
) -> torch.Tensor:
    """Block outputs averaged over some places of each tail; nothing above the deepest layer runs.

    Args:
        lm: the model.
        batch: prompts and branches.
        layers: 0-based blocks.
        passes: the batch's, of outputs at every place.
        spans: the first place and the one after the last, [prompts, variants, 2].

    Returns:
        [prompts, branches, layers, width], float32, on the CPU.
    """
    means = torch.full((len(batch.prefixes), len(batch.branches), len(layers), lm.width), torch.nan)
    variant = torch.tensor([branch.variant for branch in batch.branches])
    with torch.no_grad():
        for step in passes:
            # Columns go copy by copy, and within a copy place by place.
            prompt, branch, place = step.wanted.view(len(step.wanted), -1, batch.size, 3).unbind(-1)
            first, end = spans[prompt, variant[branch]].unbind(-1)
            share = ((place >= first) & (place < end)) / (end - first)

            def read(hidden: torch.Tensor, layer: int, step: Pass = step, share: torch.Tensor = share) -> torch.Tensor:
                outputs = step.read(hidden, layer).view(*share.shape, -1).float()
                return torch.einsum("rcpw,rcp->rcw", outputs, share.to(outputs.device))

            with step.in_place(lm), captured(lm, layers, read) as outputs, stopping_after(lm, max(layers)):
                lm.model(**step.inputs)
            values = torch.stack([outputs[layer].cpu() for layer in layers], dim=2)
            asked = branch[..., 0] >= 0
            means[prompt[..., 0][asked], branch[..., 0][asked]] = values[asked]
    return means


def shares_prompt(edits: Sequence[Sequence[Edit]]) -> bool:
    """Whether no edit reaches the prompt, so that its cache can be shared."""
    return not any(Positions.parse(e.positions).touches_prompt for group in edits for e in group)

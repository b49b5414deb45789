"""Runs batches of prompts and branches: log-probabilities of target tokens, activations at their last token."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import torch

from comparisons.engine.hooks import StopForward, captured, edits_applied, stopping_after
from comparisons.engine.passes import Pass, kept, packed_passes, row_passes
from comparisons.engine.plan import Sequences
from comparisons.intervention import Edit, Positions
from comparisons.lm import LM

log = logging.getLogger(__name__)

PROBE_TOLERANCE = 1e-3
"""Largest difference in log-probability between packed and rows at which a model counts as packable."""


def target_logps(lm: LM, batch: Sequences, targets: torch.Tensor, packed: bool = True) -> torch.Tensor:
    """Log-probabilities of target tokens right after each branch.

    Args:
        lm: the model.
        batch: prompts and branches.
        targets: token ids, [prompts, targets].
        packed: whether branches may share a prefix; see `can_pack`.

    Returns:
        [branches, prompts, targets], float32, in nats.
    """
    shape = (len(batch.edits), len(batch.prefixes), targets.shape[1])
    found = torch.full(shape, torch.nan)
    with torch.no_grad():
        for step in _passes(lm, batch, packed, None):
            with edits_applied(lm, step.layout, step.edits):
                logits = kept(lm.model(**step.inputs).logits, step.columns).float()
            prompt, branch = step.pairs.unbind(-1)
            wanted = targets[prompt].to(logits.device)
            logps = logits.gather(-1, wanted) - logits.logsumexp(-1, keepdim=True)
            found[branch, prompt] = logps.cpu()
    return found


def last_activations(lm: LM, batch: Sequences, layers: Sequence[int], packed: bool = True) -> torch.Tensor:
    """Block outputs at the last token of each branch; nothing above the deepest layer runs.

    Returns:
        [branches, prompts, layers, width], float32, on the CPU.
    """
    found = torch.full((len(batch.edits), len(batch.prefixes), len(layers), lm.width), torch.nan)
    deepest = max(layers)
    with torch.no_grad():
        for step in _passes(lm, batch, packed, deepest):
            with (
                edits_applied(lm, step.layout, step.edits),
                captured(lm, layers, step.columns) as outputs,
                stopping_after(lm, deepest),
            ):
                lm.model(**step.inputs)
            prompt, branch = step.pairs.unbind(-1)
            values = torch.stack([outputs[layer].float().cpu() for layer in layers], dim=2)
            found[branch, prompt] = values
    return found


def _passes(lm: LM, batch: Sequences, packed: bool, stop_after: int | None) -> Iterator[Pass]:
    if packed:
        return packed_passes(lm, batch, stop_after)
    longest = max(map(len, batch.prefixes)) + batch.tail_length
    return row_passes(lm, batch, max(1, lm.token_budget // longest))


def shares_prompt(edits: Sequence[Sequence[Edit]]) -> bool:
    """Whether no edit reaches the prompt, so that its cache can be shared."""
    return not any(Positions.parse(e.positions).touches_prompt for group in edits for e in group)


def can_pack(lm: LM) -> bool:
    """Whether the model takes packed branches exactly, found once by trying it against rows.

    A short random prompt, longer than a short sliding window, is run both ways with an edit at the middle block.
    """
    known = getattr(lm, "_can_pack", None)
    if known is None:
        known = _probe(lm)
        lm._can_pack = known  # type: ignore[attr-defined]
        if not known:
            log.warning(
                "%s does not take packed branches: falling back to one row a setting, which is slower.",
                lm.name,
            )
    return bool(known)


def _probe(lm: LM) -> bool:
    generator = torch.Generator().manual_seed(0)
    vocabulary = lm.model.get_input_embeddings().weight.shape[0]
    window = getattr(lm.config, "sliding_window", None) or 0
    length = 12 + (window if window <= 64 else 0)
    ids = torch.randint(0, vocabulary, (2, length), generator=generator).tolist()
    scale = lm.model.get_input_embeddings().weight.detach().float().std().item()
    vector = torch.randn(lm.width, generator=generator) * scale
    edits = [[], [Edit(len(lm.blocks) // 2, vector)], [Edit(0, vector)]]
    prefixes = [tuple(ids[0][:-2]), tuple(ids[1][:-4])]
    tails = [[tuple(ids[i][-2:])] * len(edits) for i in range(2)]
    batch = Sequences(prefixes, tails, edits)
    targets = torch.tensor([[0, 1]] * 2)
    quiet, lm.on_tokens = lm.on_tokens, lambda count: None
    try:
        rows = target_logps(lm, batch, targets, packed=False)
        packed = target_logps(lm, batch, targets, packed=True)
    except (TypeError, ValueError, RuntimeError, KeyError, IndexError, AttributeError, StopForward) as error:
        log.debug("packing probe of %s: %s", lm.name, error)
        return False
    finally:
        lm.on_tokens = quiet
    tolerance = PROBE_TOLERANCE if rows.dtype == lm.model.dtype else 0.05
    return bool((rows - packed).abs().max() < tolerance)

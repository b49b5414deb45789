"""Runs batches of prompts and branches: log-probabilities of target tokens, activations at their last token."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Literal

import torch

from comparisons.engine.hooks import StopForward, captured, stopping_after
from comparisons.engine.passes import Pass, packed_passes, row_passes
from comparisons.engine.plan import Branch, Family, Sequences
from comparisons.engine.prefix import kept, no_prefix, read_families
from comparisons.intervention import Edit, Positions
from comparisons.model.lm import LM
from comparisons.model.offload import weight_of

log = logging.getLogger(__name__)

Packing = Literal["grown", "packed", "rows"]

PROBE_TOLERANCE = 1e-3
"""Largest difference in log-probability between packed and rows at which a model counts as packable."""

COARSE_TOLERANCE = 0.05
"""The same for models that compute in 16 bits: one rounding step of a logit of 8 to 16 in bfloat16 is 0.06."""


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
    with torch.no_grad():
        for step in passes:
            with step.in_place(lm):
                logits = kept(lm.model(**step.inputs).logits, step.columns).float()
            prompt, branch, place = step.wanted.unbind(-1)
            wanted = targets[prompt, variant[branch], place] if whole else targets[prompt]
            logps = (logits.gather(-1, wanted.to(logits.device)) - logits.logsumexp(-1, keepdim=True)).cpu()
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


def shares_prompt(edits: Sequence[Sequence[Edit]]) -> bool:
    """Whether no edit reaches the prompt, so that its cache can be shared."""
    return not any(Positions.parse(e.positions).touches_prompt for group in edits for e in group)


def packing(lm: LM) -> Packing:
    """How the model may be run exactly, found once by trying it against one row a setting.

    "grown": packed branches that join where their edits begin; "packed": packed branches; "rows": neither. A short
    random prompt, longer than a short sliding window, is run with edits at the first block and at the middle one.
    """
    known: Packing | None = getattr(lm, "_packing", None)
    if known is None:
        known = _probe(lm)
        lm._packing = known  # type: ignore[attr-defined]
        if known == "rows":
            log.warning("%s takes no packed branches: falling back to one row a setting, which is slower.", lm.name)
    return known


def _probe(lm: LM) -> Packing:
    generator = torch.Generator().manual_seed(0)
    vocabulary = lm.model.get_input_embeddings().weight.shape[0]
    window = getattr(lm.config, "sliding_window", None) or 0
    length = 12 + (window if window <= 64 else 0)
    ids = torch.randint(0, vocabulary, (2, length), generator=generator).tolist()
    scale = weight_of(lm.model.get_input_embeddings()).detach().float().std().item()
    vector = torch.randn(lm.width, generator=generator) * scale
    edits: list[tuple[Edit, ...]] = [(), (Edit(len(lm.blocks) // 2, vector),), (Edit(0, vector),)]
    prefixes = [tuple(ids[0][:-2]), tuple(ids[1][:-4])]
    tails = [[tuple(ids[i][-2:])] for i in range(2)]
    batch = Sequences(prefixes, tails, [Branch(0, each) for each in edits])
    targets = torch.tensor([[0, 1]] * 2)
    quiet, lm.on_tokens = lm.on_tokens, lambda count: None
    tolerance = PROBE_TOLERANCE if lm.model.dtype == torch.float32 else COARSE_TOLERANCE
    try:
        rows = token_logps(lm, batch, targets, row_passes(lm, batch, whole=False, grow=False))
        for kind in ("grown", "packed"):
            try:
                prefix = read_families(lm, no_prefix(lm, 1), [Family((), (0, 1))], prefixes, None)
                passes = packed_passes(lm, batch, prefix, whole=False, grow=kind == "grown")
                packed = token_logps(lm, batch, targets, passes)
            except (TypeError, ValueError, RuntimeError, LookupError, AttributeError, StopForward) as error:
                log.debug("%s: %s branches: %s", lm.name, kind, error)
                continue
            if bool((rows - packed).abs().max() < tolerance):
                return "grown" if kind == "grown" else "packed"
    finally:
        lm.on_tokens = quiet
    return "rows"

"""How a model may be run: packed branches and a cache that is gone on from are tried, within the model's own noise."""

from __future__ import annotations

import logging
import math

import torch

from comparisons.engine.noise import rounded_at_random
from comparisons.engine.passes import packed_passes, row_passes, token_logps
from comparisons.engine.plan import Branch, Family, Sequences
from comparisons.engine.prefix import no_prefix, read_families
from comparisons.intervention import Edit
from comparisons.model.lm import LM, Packing

log = logging.getLogger(__name__)

NOISE_FACTOR = 1.5
"""How many times the model's own noise packed branches may differ from rows. Sound ones differ by 0 to 0.9 times, in
16 and 32 bits, on twelve tiny families and a real model; wrong masks by 2.5 times and more."""

LEAST_NOISE = 1e-4
"""In nats: a smaller difference is none."""

PROMPT, TAIL, TARGETS = 12, 4, 64
"""Tokens of the trial's prompts and of what follows them, and how many tokens' log-probabilities are compared."""

WINDOW = 64
"""The longest sliding window that the prompts outgrow."""


def packing(lm: LM) -> Packing:
    """How the model may be run exactly, found once by trying it against one row a setting.

    Short random prompts, longer than a short sliding window, are run with edits at the first and the middle block.
    The root mean square of what they differ by, in log-probability at every token of the tails, is held to that of
    two runs of rows whose every module rounds at random: noise that the model has whatever runs it.
    """
    if lm.packing is None:
        with lm.meter.paused():
            lm.packing = _tried(lm)
        if lm.packing == "rows":
            log.warning("%s takes no packed branches: falling back to one row a setting, which is slower.", lm.name)
    return lm.packing


def _tried(lm: LM) -> Packing:
    trial = _Trial(lm)
    limit = max(LEAST_NOISE, NOISE_FACTOR * trial.noise())
    rows = trial.rows()
    kinds: tuple[Packing, ...] = ("grown", "packed")
    for kind in kinds:
        try:
            # Not max(): it could drop a NaN.
            ways = [_distance(trial.packed(kind == "grown", apart), rows) for apart in (False, True)]
            difference = sum(ways) if any(map(math.isnan, ways)) else max(ways)
        except Exception as error:  # a model's own code may raise anything
            log.debug("%s: %s branches: %s", lm.name, kind, error)
            continue
        log.debug("%s: %s branches differ by %.2g nats of %.2g", lm.name, kind, difference, limit)
        if difference <= limit:
            return kind
    return "rows"


def continues(lm: LM) -> bool:
    """Whether the model goes on from a cache as from the whole text, found once by trying it.

    One whose state isn't keys and values would begin anew with each token, and the code of some calls what caches no
    longer have.
    """
    if lm.continues is None:
        with lm.meter.paused():
            failed = _not_continuing(lm)
        lm.continues = failed is None
        if failed is not None:
            log.warning("%s %s: it reads the whole text for each new token, which is slower.", lm.name, failed)
    return lm.continues


def _not_continuing(lm: LM) -> str | None:
    """What is wrong with going on from a cache; None where nothing is."""
    trial = _Trial(lm)
    try:
        found = trial.continued()
    except Exception as error:  # a model's own code may raise anything
        return f"can't go on from a cache ({type(error).__name__}: {' '.join(str(error).split())[:150]})"
    difference = _distance(found, trial.rows()[0])
    # Not `>`: it may be NaN.
    if difference <= LEAST_NOISE or difference <= NOISE_FACTOR * trial.noise():
        return None
    return "goes on from a cache as if nothing stood before"


class _Trial:
    """Two random prompts under three settings, each run in several ways."""

    def __init__(self, lm: LM) -> None:
        self.lm = lm
        generator = torch.Generator().manual_seed(0)
        embeddings = lm.embeddings.detach()
        vocabulary = embeddings.shape[0]
        window = getattr(lm.config, "sliding_window", None) or 0
        length = PROMPT + TAIL + (window if window <= WINDOW else 0)
        ids = torch.randint(0, vocabulary, (2, length), generator=generator).tolist()
        vector = torch.randn(lm.width, generator=generator) * embeddings.float().std().item()
        edits: list[tuple[Edit, ...]] = [(), (Edit(len(lm.blocks) // 2, vector),), (Edit(0, vector),)]
        self.batch = Sequences(
            prefixes=[tuple(ids[0][:-TAIL]), tuple(ids[1][: -TAIL - 2])],
            tails=[[tuple(row[-TAIL:])] for row in ids],
            branches=[Branch(0, each) for each in edits],
        )
        self.targets = torch.randint(0, vocabulary, (2, 1, TAIL, TARGETS), generator=generator)

    def rows(self) -> torch.Tensor:
        """Log-probabilities of the targets, [branches, prompts, tail, targets], by one row a setting."""
        passes = row_passes(self.lm, self.batch, whole=True, grow=False)
        return token_logps(self.lm, self.batch, self.targets, passes, whole=True)

    def packed(self, grow: bool, apart: bool) -> torch.Tensor:
        """The same by branches behind shared prompts, in one sequence or each a row."""
        prefix = read_families(self.lm, no_prefix(self.lm, 1), [Family((), (0, 1))], self.batch.prefixes, None)
        passes = packed_passes(self.lm, self.batch, prefix, whole=True, grow=grow, apart=apart)
        return token_logps(self.lm, self.batch, self.targets, passes, whole=True)

    def continued(self) -> torch.Tensor:
        """The same of the first setting, a token at a time behind a cache of each prompt, [prompts, tail, targets]."""
        from transformers import DynamicCache

        logps = torch.empty(self.targets[:, 0].shape)
        for row, (prefix, (tail,)) in enumerate(zip(self.batch.prefixes, self.batch.tails, strict=True)):
            cache, at = DynamicCache(), 0
            for place, ids in enumerate([prefix, *([token] for token in tail)]):
                end = at + len(ids)
                inputs = {
                    "input_ids": torch.tensor([ids], device=self.lm.device),
                    "attention_mask": torch.ones(1, end, dtype=torch.long, device=self.lm.device),
                    "position_ids": torch.arange(at, end, device=self.lm.device)[None],
                    self.lm.cache_argument: cache,
                    "use_cache": True,
                }
                with torch.no_grad():
                    logits = self.lm.model(**inputs).logits[0, -1].float().cpu()
                at = end
                if place:
                    logps[row, place - 1] = logits.log_softmax(-1)[self.targets[row, 0, place - 1]]
        return logps

    def noise(self) -> float:
        """What two runs of rows differ by that round at random, in nats."""
        runs = []
        for seed in (1, 2):
            with rounded_at_random(self.lm.model, seed):
                runs.append(self.rows())
        return _distance(*runs)


def _distance(left: torch.Tensor, right: torch.Tensor) -> float:
    """The root mean square of the difference; NaN where either has one."""
    return float((left - right).pow(2).mean().sqrt())

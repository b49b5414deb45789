"""How a model may be run: packed branches, padded rows and caches are tried, within the model's own noise."""

from __future__ import annotations

import logging
from functools import cached_property
from typing import Any

import torch

from comparisons.engine.continuing import ReadText
from comparisons.engine.head import token_logps
from comparisons.engine.noise import rounded_at_random
from comparisons.engine.passes import Way, packed_passes, row_passes
from comparisons.engine.plan import Branch, Family, Sequences
from comparisons.engine.prefix import no_prefix, read_families
from comparisons.engine.shared_prompt import may_share
from comparisons.intervention import Edit
from comparisons.model.checks import shaping
from comparisons.model.classes import each_layer
from comparisons.model.lm import LM, Continuing, Packing
from comparisons.model.tokenizers import warn_once

log = logging.getLogger(__name__)

NOISE_FACTOR = 1.5
"""How many times the model's own noise packed branches may differ from rows. Sound ones differ by 0 to 0.9 times, in
16 and 32 bits, on twelve tiny families and a real model; wrong masks by 2.5 times and more."""

LEAST_NOISE = 1e-4
"""In nats: a smaller difference is none."""

PROMPT, TAIL, TARGETS = 12, 4, 64
"""Tokens of the trial's prompts and of what follows them, and how many tokens' log-probabilities are compared."""

WINDOWS = {"sliding_window": 64, "attention_chunk_size": 64, "window_size": 512, "attention_window_size": 512}
"""What configurations call a window of attention, and the longest that the prompts outgrow; where a mask builds it in
(`packed_mask`), they needn't as often."""


def packing(lm: LM) -> Packing:
    """How the model may be run exactly, found once by trying it against one row a setting, a prompt at a time.

    Short random prompts, longer than a short sliding window, are run with edits at the first and the middle block.
    The root mean square of what they differ by, in log-probability at every token of the tails, is held to that of
    two runs of rows whose every module rounds at random: noise that the model has whatever runs it. Rows of several
    prompts would not do in place of one: what `pads` finds wrong with them is not the packed branches' fault.
    """
    if lm.packing is None:
        with lm.meter.paused():
            trial = _Trial(lm)
            lm.packing = _tried(lm, trial)
            lm.shares = _shares(lm, trial)
            _pads(lm, trial)
        if lm.packing == "rows":
            log.warning("%s takes no packed branches: falling back to one row a setting, which is slower.", lm.name)
    return lm.packing


def _tried(lm: LM, trial: _Trial) -> Packing:
    kinds: tuple[Packing, ...] = ("grown", "packed")
    for kind in kinds:
        try:
            ways: tuple[Way, ...] = ("one row", "copies")
            differences = [trial.differing(kind == "grown", way) for way in ways]
        except Exception as error:  # a model's own code may raise anything
            log.debug("%s: %s branches: %s", lm.name, kind, error)
            continue
        log.debug("%s: %s branches differ by %.2g and %.2g nats", lm.name, kind, *differences)
        if all(map(trial.is_noise, differences)):
            return kind
    return "rows"


def _shares(lm: LM, trial: _Trial) -> bool:
    """Whether branches that are rows may attend to the prompt that they share where it is."""
    if lm.packing == "rows" or not may_share(lm):
        return False
    try:
        difference = trial.differing(lm.packing == "grown", "shared")
    except Exception as error:  # a model's own code may raise anything
        log.debug("%s: a shared prompt: %s", lm.name, error)
        return False
    log.debug("%s: a shared prompt differs by %.2g nats", lm.name, difference)
    return trial.is_noise(difference)


def continuing(lm: LM) -> Continuing:
    """How the model goes on with a text that it has read as if it read all of it, found once by trying.

    One whose state isn't keys and values would begin anew with each token behind a cache of these, and goes on from the
    cache that it makes itself; the code of some calls what caches no longer have.
    """
    if lm.continuing is None:
        with lm.meter.paused():
            lm.continuing, why = _continuing(lm)
        if lm.continuing == "text":
            log.warning("%s %s: it reads the whole text for each new token, which is slower.", lm.name, why)
        if asked := shaping(lm.model.generation_config):
            warn_once(
                f"the generation configuration of {lm.name} has {', '.join(asked)}: free answers leave it out, and "
                "take the likeliest token."
            )
    return lm.continuing


def _continuing(lm: LM) -> tuple[Continuing, str]:
    """How, and what is wrong with the last way that is not."""
    why = ""
    ways: tuple[tuple[Continuing, bool], ...] = (("cache", pads(lm)), ("own", False))
    for way, ragged in ways:
        trial = _Trial(lm, ragged)
        try:
            found = trial.continued(way)
        except Exception as error:  # a model's own code may raise anything
            why = why or f"can't go on from a cache ({type(error).__name__}: {' '.join(str(error).split())[:150]})"
            continue
        if trial.is_noise(_distance(found, trial.alone[0])):
            return way, ""
        why = "goes on from a cache as if nothing stood before"
    return "text", why


def pads(lm: LM) -> bool:
    """Whether the model may read rows of different lengths, padded at their start, as it reads each alone.

    The state of some recurrent ones runs through what is padded; and where activations are quantized, as 8 bits by
    bitsandbytes, what is padded has a say in the scale of the rest.
    """
    if lm.pads is None:
        with lm.meter.paused():
            return _pads(lm, _Trial(lm))
    return lm.pads


def _pads(lm: LM, trial: _Trial) -> bool:
    """The same by a trial at hand, unless it is known."""
    if lm.pads is None:
        lm.pads = trial.is_noise(_distance(trial.rows(), trial.alone))
        if not lm.pads:
            log.warning("%s reads padded prompts as others: each batch has prompts of one length.", lm.name)
    return lm.pads


class _Trial:
    """Two random prompts under three settings, each run in several ways.

    Args:
        lm: the model.
        ragged: whether the second is shorter than the first.
    """

    def __init__(self, lm: LM, ragged: bool = True) -> None:
        self.lm = lm
        generator = torch.Generator().manual_seed(0)
        embeddings = lm.embeddings.detach()
        vocabulary = embeddings.shape[0]
        length = PROMPT + TAIL + _outgrown(lm.config)
        ids = torch.randint(0, vocabulary, (2, length), generator=generator).tolist()
        vector = torch.randn(lm.width, generator=generator) * embeddings.float().std().item()
        edits: list[tuple[Edit, ...]] = [(), (Edit(len(lm.blocks) // 2, vector),), (Edit(0, vector),)]
        self.batch = Sequences(
            prefixes=[tuple(ids[0][:-TAIL]), tuple(ids[1][: -TAIL - 2 * ragged])],
            tails=[[tuple(row[-TAIL:])] for row in ids],
            branches=[Branch(0, each) for each in edits],
        )
        self.targets = torch.randint(0, vocabulary, (2, 1, TAIL, TARGETS), generator=generator)

    def rows(self) -> torch.Tensor:
        """Log-probabilities of the targets, [branches, prompts, tail, targets], by one row a setting."""
        return self._rows(self.batch, self.targets)

    @cached_property
    def alone(self) -> torch.Tensor:
        """The same, a prompt after the other."""
        each = zip(self.batch.prefixes, self.batch.tails, self.targets, strict=True)
        alone = [(Sequences([prefix], [tails], self.batch.branches), wanted[None]) for prefix, tails, wanted in each]
        return torch.cat([self._rows(*one) for one in alone], dim=1)

    def _rows(self, batch: Sequences, targets: torch.Tensor) -> torch.Tensor:
        passes = row_passes(self.lm, batch, whole=True, grow=False)
        return token_logps(self.lm, batch, targets, passes, whole=True)

    def differing(self, grow: bool, way: Way) -> float:
        """By how much branches behind shared prompts differ from rows alone, in nats."""
        prefix = read_families(self.lm, no_prefix(self.lm, 1), [Family((), (0, 1))], self.batch.prefixes, None)
        passes = packed_passes(self.lm, self.batch, prefix, whole=True, grow=grow, way=way)
        return _distance(token_logps(self.lm, self.batch, self.targets, passes, whole=True), self.alone)

    def continued(self, way: Continuing) -> torch.Tensor:
        """The same of the first setting, a token at a time behind what was read, [prompts, tail, targets].

        Prompts change their places on the way, and each stands there twice for a while.
        """
        logps = torch.empty(self.targets[:, 0].shape)
        longest = max(map(len, self.batch.prefixes))
        pad = torch.tensor([longest - len(prefix) for prefix in self.batch.prefixes])
        read = torch.tensor([[*prefix[:1] * (longest - len(prefix)), *prefix] for prefix in self.batch.prefixes])
        text, rows = ReadText(self.lm, way), torch.arange(2)
        for place in range(TAIL + 1):
            logits = self._read(text, read, longest + place, pad[rows])
            if place:
                wanted = self.targets[rows, 0, place - 1]
                logps[rows, place - 1] = logits.log_softmax(-1).gather(-1, wanted)
            if place < TAIL:
                taken = torch.tensor([[0, 0, 1], [1, 2, 0]][place % 2])
                text.take(taken)
                rows = rows[taken]
                read = torch.tensor([[self.batch.tails[row][0][place]] for row in rows.tolist()])
        return logps

    def _read(self, text: ReadText, ids: torch.Tensor, end: int, pad: torch.Tensor) -> torch.Tensor:
        """Logits of the last column, [rows, vocabulary], of which there are `end` then."""
        column, device = torch.arange(end), self.lm.device
        inputs = {
            "input_ids": ids.to(device),
            "attention_mask": (column >= pad[:, None]).long().to(device),
            "position_ids": (column[end - ids.shape[1] :] - pad[:, None]).clamp(min=0).to(device),
        }
        with torch.no_grad():
            return text.run(inputs)[:, -1].float().cpu()

    def is_noise(self, difference: float) -> bool:
        """Whether a difference, in nats, is what the model has whatever runs it; NaN isn't."""
        return difference <= LEAST_NOISE or difference <= NOISE_FACTOR * self.noise

    @cached_property
    def noise(self) -> float:
        """What two runs of rows differ by that round at random, in nats."""
        runs = []
        for seed in (1, 2):
            with rounded_at_random(self.lm.model, seed):
                runs.append(self.rows())
        return _distance(*runs)


def _outgrown(config: Any) -> int:
    """The longest window of attention that the prompts can afford to be longer than; 0 where there is none."""
    found = [(getattr(each, name, None), most) for each in each_layer(config) for name, most in WINDOWS.items()]
    return max((window for window, most in found if isinstance(window, int) and window <= most), default=0)


def _distance(left: torch.Tensor, right: torch.Tensor) -> float:
    """The root mean square of the difference; NaN where either has one."""
    return float((left - right).pow(2).mean().sqrt())

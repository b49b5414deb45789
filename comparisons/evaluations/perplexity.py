"""Perplexity: how likely a plain text is under each intervention, which says what an intervention does to language."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from comparisons import stats
from comparisons.dataset.packaged import ENGLISH, place_of
from comparisons.engine.completions import completion_logps
from comparisons.evaluation.interface import Asking, CellResult, CellToAsk, Evaluation, MeasuredCell, result_row
from comparisons.evaluation.tally import Tally
from comparisons.experiment.plan import Plan
from comparisons.experiment.specification import Cell, Specification
from comparisons.model.lm import LM
from comparisons.model.prompts import PromptWriter, Turn
from comparisons.util.errors import CompareError
from comparisons.util.files import file_digest

TEXT = "text.txt"
"""In the data that come along."""

LARGEST = 700.0
"""Nats a token beyond which a ratio has no number."""


@dataclass(frozen=True)
class PerplexityNumbers:
    """What a cell makes of the text.

    Attributes:
        nats: mean negative log-likelihood a token.
        nats_ci: its 95% interval, by a bootstrap over chunks.
        difference: the cell's nats a token minus the baseline's, on the same chunks; None for the baseline.
        difference_ci: its interval, paired by chunk.
        ratio: e to the difference: the cell's perplexity over the baseline's; cut off at 700 nats, None likewise.
        n_chunks: chunks of the text.
        n_tokens: their tokens.
    """

    nats: float
    nats_ci: list[float] | None
    difference: float | None
    difference_ci: list[float] | None
    ratio: float | None
    n_chunks: int
    n_tokens: int


@dataclass(frozen=True)
class Perplexity(Evaluation):
    """Nats a token of a text file, and the difference to the unchanged model.

    The text's paragraphs are chunks, each read by itself behind the tokenizer's first token, or else its last (the
    convention of lm-evaluation-harness). A system prompt and examples stand before a chunk as plain text, a blank line
    between; their own tokens don't count. All of a chunk is edited: for an edit's `positions` the token before it is
    the last of the prompt, so that one that begins there acts on every token of the text.

    Attributes:
        file: the text, in UTF-8; "english" stands for one that comes along.
        longest: characters of a chunk, at the most; a longer paragraph is cut between words.
    """

    file: Path
    longest: int = 600

    across = True

    @classmethod
    def of(cls, spec: Specification) -> Perplexity | None:
        return None if spec.perplexity is None else cls(spec.perplexity)

    @property
    def path(self) -> Path:
        """Where the text lies."""
        return place_of(ENGLISH) / TEXT if self.file == ENGLISH else self.file

    @cached_property
    def chunks(self) -> dict[str, str]:
        """The text's chunks, by the names that they have as items.

        Raises:
            CompareError: the file can't be read, or holds no text.
        """
        try:
            paragraphs = self.path.read_text(encoding="utf-8").split("\n\n")
        except (OSError, UnicodeDecodeError) as error:
            raise CompareError(f"--perplexity {self.file}: it can't be read as a text in UTF-8: {error}.") from error
        kept = [paragraph.strip() for paragraph in paragraphs if paragraph.strip()]
        pieces = [piece for paragraph in kept for piece in self._pieces(paragraph)]
        if not pieces:
            raise CompareError(f"--perplexity {self.file}: the file holds no text.")
        return {f"{self.file.name}/{number}": piece for number, piece in enumerate(pieces, 1)}

    def _pieces(self, paragraph: str) -> list[str]:
        if len(paragraph) <= self.longest:
            return [paragraph]
        return textwrap.wrap(paragraph, self.longest, break_on_hyphens=False)

    def check(self, plan: Plan) -> None:
        if self.longest < 1:
            raise CompareError(f"perplexity.longest must be at least 1, not {self.longest}.")
        _ = self.chunks

    def identity(self, plan: Plan) -> object:
        return file_digest(self.path)

    def ask(self, asking: Asking, cells: Sequence[CellToAsk]) -> list[CellResult]:
        view, head = plain_reader(asking.lm), cells[0].intervention
        # Behind a blank nothing is to be put; behind a token that is no blank a space would be.
        exact = not (head.system or head.examples)
        interventions, texts = [cell.intervention for cell in cells], [[text] for text in self.chunks.values()]
        found = completion_logps(view, [""] * len(texts), texts, interventions, exact)
        return [
            CellResult([self._row(asking, cell, name, logps[0]) for name, logps in zip(self.chunks, own, strict=True)])
            for cell, own in zip(cells, found, strict=True)
        ]

    def _row(self, asking: Asking, cell: CellToAsk, name: str, logps: Sequence[float]) -> dict[str, object]:
        total = sum(logps)
        if not np.isfinite(total):
            raise CompareError(f"the model's logits are not finite on {asking.evaluation} item {name}.")
        return result_row(cell, asking.evaluation, name, tokens=len(logps), logp=round(total, 7))

    def cost(self, tally: Tally, plan: Plan, cells: Sequence[Cell]) -> None:
        view = plain_reader(tally.lm)
        lengths = [len(view.tokenize(view.prompt("") + text)) for text in self.chunks.values()]
        for shares in tally.groups(cells).values():
            tally.read(lengths, sum(shares.values()))

    def numbers(self, cell: MeasuredCell) -> PerplexityNumbers | None:
        own, plain = ({row["item"]: row for row in rows} for rows in (cell.rows, cell.baseline_rows))
        items = [item for item in own if item in plain]
        if not items:
            return None
        tokens = np.array([own[item]["tokens"] for item in items], dtype=float)
        nats = -np.array([own[item]["logp"] for item in items])
        before = -np.array([plain[item]["logp"] / plain[item]["tokens"] for item in items]) * tokens
        change = None if cell.is_baseline else nats - before
        difference = None if change is None else float(change.sum() / tokens.sum())
        return PerplexityNumbers(
            nats=float(nats.sum() / tokens.sum()),
            nats_ci=_interval(nats, tokens, cell.seed),
            difference=difference,
            difference_ci=None if change is None else _interval(change, tokens, cell.seed),
            ratio=None if difference is None else math.exp(min(difference, LARGEST)),
            n_chunks=len(items),
            n_tokens=int(tokens.sum()),
        )


def _interval(values: np.ndarray, tokens: np.ndarray, seed: int) -> list[float] | None:
    """Of a mean over tokens, by chunks; None where there is none."""
    found = stats.ratio_interval(values, tokens, seed=seed)
    return None if found is None else [found.low, found.high]


@dataclass(frozen=True)
class _PlainWriter(PromptWriter):
    """Writes no question: what stands before a text that is read as it is."""

    def text(self, question: str, system: str | None = None, examples: Sequence[Turn] = ()) -> str:
        turns = [f"{turn.question.strip()}\n{turn.answer.strip()}" for turn in examples]
        first = "" if self.tokenize("") else self.tokenizer.bos_token or self.tokenizer.eos_token or ""
        return first + "".join(f"{part}\n\n" for part in (system, *turns) if part)


def plain_reader(lm: LM) -> LM:
    """A view of the model that puts nothing around a text but what begins every text."""
    view = lm.in_format("base")
    view.prompts = _PlainWriter(lm.tokenizer, "base", lm.name)
    return view

"""KL: how far each intervention takes a model's next tokens from the unchanged model's, on neutral prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from comparisons import stats
from comparisons.dataset.items import OpenPrompt
from comparisons.dataset.records import NeutralPrompts, neutral_prompts
from comparisons.engine.divergence import Answers, own_answers, token_kl
from comparisons.engine.generate import generate
from comparisons.evaluation.interface import Asking, CellResult, CellToAsk, Evaluation, MeasuredCell, result_row
from comparisons.evaluation.measures import clusters, enough
from comparisons.evaluation.tally import Tally, branches_of
from comparisons.experiment.plan import Plan
from comparisons.experiment.specification import Cell, Specification
from comparisons.intervention import Intervention
from comparisons.judges.interface import MOST, AnswerToJudge
from comparisons.judges.rules import Rules
from comparisons.model.lm import LM
from comparisons.stats.intervals import wilson
from comparisons.util.errors import CompareError
from comparisons.util.files import file_digest

TOKENS = 40
"""Of an answer, at most."""

_ANSWERS: WeakKeyDictionary[LM, dict[tuple[tuple[str, ...], int], Answers]] = WeakKeyDictionary()
"""What models have answered: many cells are compared along the same answers."""


@dataclass(frozen=True)
class KlNumbers:
    """What stands beside a cell's mean KL, in nats.

    Attributes:
        kl_ci: the mean's 95% interval, by a bootstrap over prompts.
        kl_bound: its one-sided 95% upper bound.
        kl_limit: what --select asks of the bound on dev; None where it doesn't.
        kl_first: mean KL of an answer's first token.
        off_target: share of the cell's own answers that show the behavior; None where that wasn't asked.
        off_target_ci: its 95% interval (Wilson).
        n_prompts: neutral prompts.
        n_tokens: tokens of the answers.
    """

    kl_ci: list[float] | None
    kl_bound: float | None
    kl_limit: float | None
    kl_first: float
    off_target: float | None
    off_target_ci: list[float] | None
    n_prompts: int
    n_tokens: int


@dataclass(frozen=True)
class Kl(Evaluation):
    """KL(unchanged ‖ changed) of the next token, exact over the vocabulary, along the unchanged model's greedy answers
    to neutral prompts.

    Attributes:
        tokens: of an answer, at most.
        off_target: whether each cell also answers the prompts itself, and the judge `rules` says in how many of its
            answers the behavior shows, where nobody asked for it.
    """

    tokens: int = TOKENS
    off_target: bool = False

    across = True

    @classmethod
    def of(cls, spec: Specification) -> Kl | None:
        return cls() if spec.kl or spec.chooses_by("kl") else None

    def check(self, plan: Plan) -> None:
        if self.tokens < 1:
            raise CompareError(f"kl.tokens must be at least 1, not {self.tokens}.")
        prompts_of(plan)

    def identity(self, plan: Plan) -> object:
        return file_digest(prompts_of(plan).source)

    def facts(self, plan: Plan, lm: LM) -> object:
        prompts = prompts_of(plan)
        return {"prompts": len(prompts.part(plan.spec.split)), "source": prompts.name, "tokens": self.tokens}

    def ask(self, asking: Asking, cells: Sequence[CellToAsk]) -> list[CellResult]:
        prompts = prompts_of(asking.plan).part(asking.plan.spec.split)
        answers, found = kl_on(asking.lm, prompts, [cell.intervention for cell in cells], self.tokens)
        texts = [asking.lm.tokenizer.decode(ids, skip_special_tokens=True).strip() for ids in answers.tokens]
        written = self._written(asking, prompts, cells)
        return [
            CellResult([
                _row(asking, cell, prompt, text, each, more)
                for prompt, text, each, more in zip(prompts, texts, own, shown, strict=True)
            ])
            for cell, own, shown in zip(cells, found, written, strict=True)
        ]  # fmt: skip

    def _written(
        self, asking: Asking, prompts: Sequence[OpenPrompt], cells: Sequence[CellToAsk]
    ) -> list[list[dict[str, Any]]]:
        """[cell][prompt] what each cell writes, and whether it shows the behavior; empty where that isn't asked."""
        if not self.off_target:
            return [[{} for _ in prompts] for _ in cells]
        rules, questions = Rules(asking.plan.behaviors), [prompt.question for prompt in prompts]
        texts = generate(asking.lm, questions, [cell.intervention for cell in cells], self.tokens)
        return [
            [
                {"written": text, "shows": _shows(rules, cell.fields["behavior"], question, text)}
                for question, text in zip(questions, own, strict=True)
            ]
            for cell, own in zip(cells, texts, strict=True)
        ]

    def cost(self, tally: Tally, plan: Plan, cells: Sequence[Cell]) -> None:
        prompts = prompts_of(plan).part(plan.spec.split) if cells else ()
        shown = [tuple(tally.lm.tokenize(tally.lm.prompt(prompt.question))) for prompt in prompts]
        if shown:
            tally.write(shown, 1, self.tokens)
        for prefix, shares in tally.groups(cells).items():
            tally.add(shown, self.tokens * sum(shares.values()))
            if self.off_target:
                tally.write(shown, branches_of(cells, prefix), self.tokens)

    def numbers(self, cell: MeasuredCell) -> Mapping[str, Any] | None:
        return kl_numbers(cell.rows, cell.seed, cell.plan.spec.limits.get("kl")) if cell.rows else None


def prompts_of(plan: Plan) -> NeutralPrompts:
    """The neutral prompts of a run."""
    return neutral_prompts(plan.spec.data, plan.spec.model.is_embedded)


def kl_on(
    lm: LM, prompts: Sequence[OpenPrompt], interventions: Sequence[Intervention], tokens: int
) -> tuple[Answers, list[list[list[float]]]]:
    """The unchanged model's answers to prompts, and [intervention][prompt][token] of `token_kl` along them."""
    questions = tuple(prompt.question for prompt in prompts)
    known = _ANSWERS.setdefault(lm, {})
    if (questions, tokens) not in known:
        known[questions, tokens] = own_answers(lm, questions, tokens)
    answers = known[questions, tokens]
    return answers, token_kl(lm, answers, interventions)


def _shows(rules: Rules, behavior: str, question: str, answer: str) -> bool | None:
    """Whether an answer shows more of the behavior than of its opposite; None where there are no rules for it."""
    try:
        (verdict,) = rules.score([AnswerToJudge(behavior, "", question, answer)])
    except CompareError:
        return None
    return verdict.score is not None and verdict.score > MOST / 2


def _row(
    asking: Asking, cell: CellToAsk, prompt: OpenPrompt, text: str, each: Sequence[float], more: Mapping[str, Any]
) -> dict[str, Any]:
    if not np.isfinite(each).all():
        raise CompareError(f"the model's logits are not finite on {asking.evaluation} item {prompt.id}.")
    values = [round(value, 7) for value in each]
    own: dict[str, Any] = {"prompt": prompt.question, "answer": text, "tokens": len(each)}
    own |= {"kl": round(float(np.mean(each)), 7), "kl_first": values[0], "kl_tokens": values}
    return result_row(cell, asking.evaluation, prompt.id, template=prompt.template, **own, **more)


def kl_numbers(rows: Sequence[Mapping[str, Any]], seed: int, limit: float | None = None) -> dict[str, Any]:
    """What a summary row says of a cell's KL rows."""
    mean = mean_kl([row["kl_tokens"] for row in rows], [row["template"] for row in rows], seed)
    shows = [bool(row["shows"]) for row in rows if row.get("shows") is not None]
    share = wilson(sum(shows), len(shows))
    numbers = KlNumbers(
        kl_ci=mean.interval,
        kl_bound=mean.bound,
        kl_limit=limit,
        kl_first=float(np.mean([row["kl_first"] for row in rows])),
        off_target=float(np.mean(shows)) if shows else None,
        off_target_ci=None if share is None else [share.low, share.high],
        n_prompts=len(rows),
        n_tokens=sum(row["tokens"] for row in rows),
    )
    p95 = float(np.quantile(np.concatenate([row["kl_tokens"] for row in rows]), 0.95))
    return {"kl": mean.value, "kl_p95": p95, "measured": {"kl": asdict(numbers)}}


@dataclass(frozen=True)
class MeanKl:
    """A mean KL over tokens, in nats, with its 95% interval and one-sided 95% upper bound; None where there is none."""

    value: float
    interval: list[float] | None
    bound: float | None


def mean_kl(values: Sequence[Sequence[float]], templates: Sequence[str | None], seed: int) -> MeanKl:
    """The mean over all tokens; interval and bound by a bootstrap over prompts, which their answer's tokens share.

    Args:
        values: [prompts][tokens], in nats.
        templates: [prompts] what several share.
        seed: of the draws.
    """
    tokens = np.array([len(each) for each in values], dtype=float)
    sums = np.array([sum(each) for each in values])
    names = [str(index) for index in range(len(values))]
    groups = clusters(names, dict(zip(names, templates, strict=True)))
    value = float(sums.sum() / tokens.sum())
    if not enough(len(values), groups):
        return MeanKl(value, None, None)
    both, above = (stats.ratio_interval(sums, tokens, clusters=groups, level=p, seed=seed) for p in (0.95, 0.9))
    return MeanKl(value, None if both is None else [both.low, both.high], None if above is None else above.high)

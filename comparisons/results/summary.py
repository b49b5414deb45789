"""Summary rows: what a run found, one row a cell and baseline, as summary.json holds them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

from pydantic import Field

from comparisons.results.answers import Judges, OpenEnded
from comparisons.results.costs import CostTest, Frontier
from comparisons.results.identity import CellId
from comparisons.results.schema import (
    STRICT,
    Category,
    Contrast,
    Effect,
    Fits,
    Flips,
    Generated,
    Interaction,
    Interval,
    LabelDifference,
    LabelShift,
    Measured,
    Noise,
    Pooled,
    Quantiles,
    Repeat,
    Steerability,
)
from comparisons.util.table import Section


@dataclass(frozen=True)
class SummaryRow:
    """One cell or baseline; None where there is no number, which is everywhere in a failed cell.

    Attributes:
        cell: the cell's key, which no other row has.
        method: the stack as typed, or "baseline".
        direction: "pos", "neg"; None for the baseline.
        strength: the dose; 0 for the baseline.
        settings: "method.setting" -> value.
        layer: 0-based block, where all edits are at one.
        status: "done" or "failed".
        error: why it failed, one line.
        n_items: test questions behind the numbers.
        p_match, p_match_ci: mean probability of the matching choice, 95% interval as [low, high].
        shift, shift_ci: p_match minus the baseline's, paired by item.
        shift_error: the shift's standard error over questions and seeds.
        fits: of a cell whose fits draw at random, each one's shift and what their seeds add to the error.
        shift_band: the shift's 95% interval over all cells of the behavior at once; None below six clusters, or where
            too few items move.
        n_clusters: independent units behind the shift: items, or templates where items share some.
        p_value, p_holm: of the shift, raw and corrected over the run's table.
        p_max_t: of the shift, corrected over the run's table by the joint maximum.
        flips: {"gained", "lost", "p_value"}: questions whose p_match rose above .5 or fell from it, and McNemar's p.
        detectable_shift: the smallest true shift that this many questions of this spread find in four of five cases.
        interaction: of a stack whose parts are cells too, its shift minus the sum of theirs: {"shift", "ci",
            "p_value", "content_shift", "content_ci"}.
        steerability: in the first cell of a method run at several strengths, the slope of the content logit over signed
            strength: {"strengths", "slope", "ci", "quantiles", "spearman", "anti_steerable"}.
        cost_bound: the largest of the cost's three one-sided 95% upper bounds.
        cost_test: whether the cost is shown to be below the margin.
        same_letter: share of questions with the same letter in both orders.
        order_correlation: of the logits of p_match in both orders, over questions.
        skewness: of the shift over independent units.
        too_few: why the questions can't tell the cell from the baseline; None where they can.
        frontier, kl_frontier, coherence_frontier: how probable it is that no other cell dominates it in shift and cost,
            shift and KL, or shift and the coherence of free answers.
        n_knowledge: knowledge questions behind the cost; of the baseline, those asked.
        fluency: of the cell's free answers: mean log-likelihood a token under the unchanged model, in nats.
        coherence: of the same, 0 to 10, by the first of the judges that were asked for it.
        measure: whether letters answered, or the choices' texts.
        numerical_noise: of p_match, where the model computes in fewer bits than float32.
        preferred: share of items whose matching answer is the likelier one.
        letter_bias: mean share of the first letter, minus 0.5; None where texts answered.
        lost_mass: mean probability outside the two letters; None where texts answered.
        anti_steerable: share of items that move the wrong way.
        content_shift, content_shift_ci: the part of the shift that follows the content, in logits of p_match; where
            texts answered that is all of it, in nats a token.
        letter_shift, letter_shift_ci: the part that follows the letter; positive towards the first-listed one.
        letter_cosine: of the cell's vector, as it is added, with the direction towards the first letter.
        random_rank_p: two-sided rank of the shift among random directions in the place of the cell's vectors.
        random_shifts: their shifts' 2.5%, 50% and 97.5% quantiles.
        matched_rank_p, matched_shifts: the same among random vectors of the contrast pairs' spread.
        n_random: how many there were of each.
        side_effects: another behavior's name -> {"shift", "ci"} on its questions.
        knowledge_by_category: category of knowledge question -> {"n_items", "knowledge", "cost"}.
        robustness: a condition's name -> {"shift", "ci", "survives", "survives_ci", "baseline", "lost_mass", "broken"}:
            the shift measured again under it, which share of the plain shift that is (None where the plain one's
            interval holds 0 or nothing bounds the share), the baseline's p_match under it, the larger lost mass of cell
            and baseline, and whether one of them is broken.
        generated: {"n_answers", "unparsed", "accuracy", "accuracy_ci", "agreement", "n_items", "shift", "shift_ci"} of
            the answers that the model wrote: see `comparisons.evaluations.generated`.
        open_ended: what the cell's free answers are like and how they were judged: {"n_answers", "length",
            "repetition", "fluency", their "…_change" against the baseline with "…_change_ci", and "judges": judge ->
            {"n_scored", "score", "score_ci", "shift", "shift_ci", "agrees", "no_sign", "unparsed", "refused", "failed",
            "unasked", "tokens_in", "tokens_out", "dollars"}}: see `comparisons.evaluations.open_ended`.
        matched: the value that its strength was found for on dev, such as "kl=0.1".
        kl, kl_p95: KL(unchanged ‖ changed) of the next token along the unchanged model's answers to neutral prompts, in
            nats: mean and 95th percentile over tokens.
        measured: evaluation -> what it measured, by the fields that it declares; of those without fields above.
        labels: an item's label -> {"n_items", "shift", "ci"}, where at least two labels have two items.
        label_differences: for each two labels {"first", "second", "shift", "ci"}: the second's shift minus the first's.
        knowledge, knowledge_set: the same measure as p_match on knowledge questions, and their name.
        cost, cost_ci: the baseline's knowledge minus the cell's.
        fit_seconds, eval_seconds: wall time.
        examples: training pairs used.
        fit_tokens: tokens of the cell's fits; one of a training pass counts as three.
        tokens_run: tokens of the evaluation; cells that share a pass share it evenly.
        stored_bytes: size of the fitted artifacts.
        tuning_trials: candidate settings that were tried on dev.
        peak_memory_bytes: the most memory in use when the cell ended.
        trainable_parameters: numbers that were trained, counted from the tensors that had a gradient, or fitted.
        broken: whether more than half of the probability left the letters, so that the shift says little.
        control: whether a control stands in the stack.
        warnings: what must be said beside the numbers.
        varied: the settings that tell the cell from others of its stack, as typed: "caa.layer" -> "2".
    """

    __pydantic_config__ = STRICT

    model: str
    behavior: str
    cell: str
    method: str
    direction: Annotated[str | None, Field(pattern="^(pos|neg)$")]
    strength: float
    settings: Mapping[str, Any] = field(default_factory=dict)
    layer: int | None = None
    status: Literal["done", "failed"] = "done"
    error: str | None = None
    n_items: int | None = None
    p_match: float | None = None
    p_match_ci: Interval | None = None
    shift: float | None = None
    shift_ci: Interval | None = None
    shift_band: Interval | None = None
    shift_error: float | None = None
    fits: Fits | None = None
    n_clusters: int | None = None
    p_value: float | None = None
    p_holm: float | None = None
    letter_bias: float | None = None
    lost_mass: float | None = None
    measure: Literal["letters", "answers"] | None = None
    numerical_noise: Noise | None = None
    preferred: float | None = None
    anti_steerable: float | None = None
    knowledge: float | None = None
    knowledge_set: str | None = None
    knowledge_by_category: Mapping[str, Category] | None = None
    cost: float | None = None
    cost_ci: Interval | None = None
    fit_seconds: float | None = None
    eval_seconds: float | None = None
    peak_memory_bytes: int | None = None
    trainable_parameters: int | None = None
    content_shift: float | None = None
    content_shift_ci: Interval | None = None
    letter_shift: float | None = None
    letter_shift_ci: Interval | None = None
    letter_cosine: float | None = None
    random_rank_p: float | None = None
    random_shifts: Quantiles | None = None
    matched_rank_p: float | None = None
    matched_shifts: Quantiles | None = None
    n_random: int | None = None
    side_effects: Mapping[str, Effect] | None = None
    robustness: Mapping[str, Repeat] | None = None
    generated: Generated | None = None
    open_ended: OpenEnded | None = None
    matched: str | None = None
    kl: float | None = None
    kl_p95: float | None = None
    measured: Measured = field(default_factory=dict)
    labels: Mapping[str, LabelShift] | None = None
    label_differences: Sequence[LabelDifference] | None = None
    examples: int | None = None
    fit_tokens: int | None = None
    tokens_run: int | None = None
    stored_bytes: int | None = None
    tuning_trials: int | None = None
    p_max_t: float | None = None
    flips: Flips | None = None
    detectable_shift: float | None = None
    interaction: Interaction | None = None
    steerability: Steerability | None = None
    cost_bound: float | None = None
    cost_test: CostTest | None = None
    n_knowledge: int | None = None
    fluency: float | None = None
    coherence: float | None = None
    frontier: Frontier | None = None
    kl_frontier: Frontier | None = None
    coherence_frontier: Frontier | None = None
    same_letter: float | None = None
    order_correlation: float | None = None
    skewness: float | None = None
    too_few: str | None = None
    broken: bool = False
    control: bool = False
    warnings: Sequence[str] = ()
    varied: Mapping[str, str] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether the cell has no numbers."""
        return self.status == "failed"

    @property
    def is_baseline(self) -> bool:
        """Whether this is the unchanged model."""
        return self.direction is None

    @property
    def id(self) -> CellId:
        """Which cell it is; it names its model where the run has several."""
        varied = tuple(self.varied.items())
        alone = CellId(self.behavior, self.method, varied, self.direction, self.strength)
        return alone if str(alone) == self.cell else replace(alone, model=self.model)

    @property
    def subject(self) -> str:
        """What the row is about: the behavior, and the model where the run has several."""
        return self.id.subject

    @property
    def name(self) -> str:
        """The stack, and in brackets the settings that tell it from another cell of the same stack."""
        return self._with(self.varied)

    @property
    def swept_layer(self) -> int | None:
        """The layer that tells the cell from others of its series; None for a cell that no sweep moves."""
        return None if self._swept is None else int(self.varied[self._swept])

    @property
    def series(self) -> str:
        """The name without the layer: what a sweep's cells at all layers share."""
        return self._with([name for name in self.varied if name != self._swept])

    @property
    def _swept(self) -> str | None:
        """The setting that is a layer: the last one is that of the method nearest the stack's end."""
        layers = [name for name, value in self.varied.items() if name.endswith(".layer") and value.isdecimal()]
        return layers[-1] if layers else None

    def _with(self, names: Iterable[str]) -> str:
        shown = ", ".join(f"{name.removeprefix(f'{self.method}.')}={self.varied[name]}" for name in names)
        return f"{self.method} ({shown})" if shown else self.method


@dataclass(frozen=True)
class Summary:
    """The rows of a run, in the run's order.

    Attributes:
        rows: one a cell and baseline.
        judges: where free answers were judged {"known": judge -> how it does on answers of known score, "agreement": of
            each two judges and of all}: see `comparisons.judges.calibration` and `agreement`.
        sections: what evaluations that are plugins say in the report, by their names.
        contrasts: of every two usable cells of a behavior and direction.
        pooled: of methods and contrasts over the behaviors, where there are at least three.
    """

    rows: tuple[SummaryRow, ...]
    judges: Judges = field(default_factory=Judges)
    sections: Mapping[str, Section] = field(default_factory=dict)
    contrasts: Sequence[Contrast] = ()
    pooled: Sequence[Pooled] = ()

    @property
    def behaviors(self) -> tuple[str, ...]:
        """Names, in the rows' order."""
        return tuple(dict.fromkeys(row.behavior for row in self.rows))

    @property
    def models(self) -> tuple[str, ...]:
        """Names, in the rows' order."""
        return tuple(dict.fromkeys(row.model for row in self.rows))

    @property
    def subjects(self) -> tuple[str, ...]:
        """What the rows are about, in their order: the behaviors, each on each model where there are several."""
        return tuple(dict.fromkeys(row.subject for row in self.rows))

    def of(self, subject: str) -> tuple[SummaryRow, ...]:
        """The rows about one behavior, on one model, the baseline first."""
        rows = [row for row in self.rows if row.subject == subject]
        return tuple(sorted(rows, key=lambda row: not row.is_baseline))

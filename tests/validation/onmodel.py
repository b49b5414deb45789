"""What was measured on the model, as tables, with the statements it should keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from comparisons.model.lm import LM
from tests.validation.doses import Doses, doses
from tests.validation.planted import Planted, planted
from tests.validation.shuffles import MATCHED, Ranked, Uniformity, ranked, uniformity
from tests.validation.subjects import ModelSizes, Turn, subjects
from tests.validation.tables import markdown

LEAST_P = 0.01
"""Of the ranks' uniformity: exchangeable vectors go below it once in a hundred seeds."""

MOST_BEHAVIORS, OF_BEHAVIORS = 6, 7
"""The share of behaviors in which doubling must raise the shift."""

ROUNDING = 1e-5
"""In logits: log-probabilities are float32, and rows keep seven decimals."""

QUICK = ModelSizes(shuffles=20, randoms=99, rank_items=10, items=30, constants=(2.0,), draws=2000)


@dataclass(frozen=True)
class ModelResults:
    """Everything that was measured on one model.

    Attributes:
        model: its name.
        digest: content hash of its weights and tokenizer, abridged.
        sizes: how much was measured.
        ranks: a row for each behavior, norm and kind of random vectors.
        uniform: a row for each norm and kind of random vectors.
        doses: a row for each behavior and direction.
        planted: a row for each behavior and cell.
    """

    model: str
    digest: str
    sizes: ModelSizes
    ranks: tuple[Ranked, ...]
    uniform: tuple[Uniformity, ...]
    doses: tuple[Doses, ...]
    planted: tuple[Planted, ...]

    @property
    def behaviors(self) -> list[str]:
        """The behaviors, in the order in which they were measured."""
        return list(dict.fromkeys(row.behavior for row in self.doses))

    def rising(self) -> list[str]:
        """The behaviors in which doubling raises the shift until saturation, in both directions."""
        return [name for name in self.behaviors if all(row.monotone for row in self.doses if row.behavior == name)]

    def missed(self) -> list[str]:
        """A line for each statement that isn't kept."""
        lines = [
            f"shuffled-label vectors of {row.norm} norm do not rank uniformly among random ones {row.among}: "
            f"p {row.p_value:.4f}, asked for at least {LEAST_P}"
            for row in self.uniform
            if row.among == MATCHED and row.p_value < LEAST_P
        ]
        rising, all_of_them = len(self.rising()), len(self.behaviors)
        if rising * OF_BEHAVIORS < MOST_BEHAVIORS * all_of_them:
            lines.append(
                f"doubling the strength raises the shift until saturation in {rising} of {all_of_them} behaviors, "
                f"asked for {MOST_BEHAVIORS} of {OF_BEHAVIORS}"
            )
        for row in self.planted:
            plain = self.unplanted(row)
            within = not row.steered and row.content_ci[0] <= 0 <= row.content_ci[1]
            if abs(row.content - plain.content) > ROUNDING and not within:
                lines.append(f"{_cell(row)} moves the content by {row.content - plain.content:.6f} logits")
            if abs(row.letter - plain.letter - row.constant) > ROUNDING:
                lines.append(f"{_cell(row)} moves the letter by {row.letter - plain.letter:.6f} logits")
        return lines

    def unplanted(self, row: Planted) -> Planted:
        """The same cell with nothing planted; for the plain model, which is its own baseline, nothing moved."""
        nothing = (0.0, 0.0)
        if not row.steered:
            return Planted(row.behavior, False, 0.0, 0.0, nothing, 0.0, nothing, 0.0, nothing)
        return next(r for r in self.planted if (r.behavior, r.steered, r.constant) == (row.behavior, True, 0.0))

    def tables(self) -> dict[str, str]:
        """The tables in Markdown, by what they show."""
        return {
            f"shuffled labels on {self.model}": uniformity_table(self.uniform),
            f"shuffled labels on {self.model}, by behavior": ranks_table(self.ranks),
            f"doubled strengths on {self.model}": doses_table(self.doses),
            f"planted letter bias on {self.model}": self._planted_table(),
        }

    def _planted_table(self) -> str:
        most = max(self.sizes.constants)
        head = (
            "behavior",
            "biased cells",
            "letter shift less constant: largest",
            "bias alone, content shift: largest",
            "intervals with 0",
            f"shift in p: {most:g} on the first letter",
            "on the second",
            "vector, content shift",
            "changed by a bias: most",
            "shift in p",
            f"with {most:g} on the first letter",
            "on the second",
        )
        lines = [self._planted_line(name) for name in self.behaviors]
        return markdown(head, lines)

    def _planted_line(self, name: str) -> list[str]:
        mine = [row for row in self.planted if row.behavior == name]
        alone = [row for row in mine if not row.steered]
        vector = next(row for row in mine if row.steered and not row.constant)
        both = [row for row in mine if row.steered and row.constant]
        most = max(self.sizes.constants)
        bare, at = ({row.constant: row.shift for row in some} for some in (alone, both))
        off = [row.letter - self.unplanted(row).letter - row.constant for row in (*alone, *both)]
        return [
            name,
            f"{len(off)}",
            _tiny(off),
            _tiny([row.content for row in alone]),
            f"{sum(row.content_ci[0] <= 0 <= row.content_ci[1] for row in alone)} of {len(alone)}",
            f"{bare[most]:+.3f}",
            f"{bare[-most]:+.3f}",
            f"{vector.content:+.3f} {_range(vector.content_ci)}",
            _tiny([row.content - vector.content for row in both]),
            f"{vector.shift:+.3f}",
            f"{at[most]:+.3f}",
            f"{at[-most]:+.3f}",
        ]


def measure(lm: LM, sizes: ModelSizes, turn: Turn) -> ModelResults:
    """Measures everything, behavior by behavior; `turn` is told which."""
    from comparisons.dataset.behaviors import Library

    ranks: list[Ranked] = []
    rising: list[Doses] = []
    letters: list[Planted] = []
    for one in subjects(lm, Library.open("pocket"), sizes, turn):
        ranks += ranked(one, sizes)
        rising += doses(one, sizes)
        letters += planted(one, sizes)
    uniform = uniformity(ranks, sizes)
    return ModelResults(lm.name, lm.digest[:12], sizes, tuple(ranks), tuple(uniform), tuple(rising), tuple(letters))


def uniformity_table(rows: Sequence[Uniformity]) -> str:
    """A row for each norm and kind of random vectors."""
    head = ("norm", "ranked among vectors", "vectors", "rank ≤ .05", "distance", "95% band", "p", "asked for")
    lines = [
        (
            row.norm,
            row.among,
            f"{row.vectors}",
            f"{row.wrong:.3f}",
            f"{row.distance:.3f}",
            f"{row.band:.3f}",
            _p(row.p_value),
            f"≥ {LEAST_P:g}" if row.among == MATCHED else "–",
        )
        for row in rows
    ]
    return markdown(head, lines)


def ranks_table(rows: Sequence[Ranked]) -> str:
    """A row for each behavior and norm: how far shuffled and random vectors move it, and the true one's ranks."""
    head = (
        "behavior",
        "layer",
        "norm",
        "spread of shifts: shuffled",
        "matched",
        "sphere",
        "true vector's rank p: matched",
        "sphere",
        "shuffled",
    )
    lines = []
    for sphere, matched in zip(rows[::2], rows[1::2], strict=True):
        lines.append(
            (
                matched.behavior,
                f"{matched.layer}",
                f"{matched.length:.2f}",
                *(f"{value:.4f}" for value in (matched.spread, matched.random_spread, sphere.random_spread)),
                *(f"{value:.3f}" for value in (matched.true_p, sphere.true_p, matched.shuffled_p)),
            )
        )
    return markdown(head, lines)


def doses_table(rows: Sequence[Doses]) -> str:
    """A row for each behavior and direction."""
    head = (
        "behavior",
        "direction",
        "layer",
        *(f"{strength:g}" for strength in rows[0].strengths),
        "saturates at",
        "lost mass past it",
        "rising steps",
        "of them clear of 0",
    )
    lines = [
        (
            row.behavior,
            row.direction,
            f"{row.layer}",
            *(f"{shift:+.3f}" for shift in row.shifts),
            f"{row.until:g}",
            _after(row),
            f"{row.rising} of {row.strengths.index(row.until) + 1}",
            f"{row.clear}",
        )
        for row in rows
    ]
    return markdown(head, lines)


def _after(row: Doses) -> str:
    place = row.strengths.index(row.until) + 1
    return f"{row.lost[place]:.2f}" if place < len(row.lost) else "–"


def _cell(row: Planted) -> str:
    where = "under the vector" if row.steered else "alone"
    return f"{row.behavior}: {row.constant:+g} on a letter's logit {where}"


def _tiny(values: Sequence[float]) -> str:
    """The largest absolute value; below rounding by its power of ten only, which machines differ in."""
    largest = max((abs(value) for value in values), default=0.0)
    return "< 1e-5" if largest <= ROUNDING else f"{largest:.5f}"


def _range(values: tuple[float, float]) -> str:
    return f"[{values[0]:+.3f}, {values[1]:+.3f}]"


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else "< .001"

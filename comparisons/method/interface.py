"""The plugin interface: what a method fits on contrast pairs, and how it intervenes.

A method is a frozen dataclass whose fields are its settings; a complete one fits on a screen.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from comparisons.intervention import Intervention
from comparisons.util.directions import Direction

if TYPE_CHECKING:
    from typing_extensions import Self

    from comparisons.dataset.behaviors import Behavior
    from comparisons.dataset.items import Item, Measure
    from comparisons.model.lm import LM

Need = Literal["below", "siblings", "neutral"]


def use_only(default: Any) -> Any:
    """A setting that `intervene` reads and `fit` does not: cells that differ in it alone share a fit."""
    return field(default=default, metadata={"use_only": True})


def by_measure(default: Any) -> Any:
    """A setting of which "auto" means "letter" or "answer", by what the run measures; the report says which."""
    return field(default=default, metadata={"by_measure": True})


@dataclass(frozen=True)
class Fit:
    """What a fit may read, and the one place where it writes.

    Attributes:
        lm: the model, unchanged by any method.
        behavior: fit on `behavior.train`; `.dev` and `.test` are not for fitting.
        siblings: the run's other behaviors by name; empty unless the method `needs` "siblings".
        direction: "pos" or "neg"; "pos" for a method that fits once a behavior.
        seed: of every random choice.
        below: the stack's elements to the left; changes nothing unless the method `needs` "below".
        out: an existing empty folder: the only place a fit writes its result. Written whole or not at all.
        scratch: a folder that outlives a kill, for what a long fit may go on from: what it holds was left by an
            interrupted fit of the very same key. Removed when the fit ends; None where nothing is kept.
        measure: by what the run measures: the choices' "letters", or their texts as "answers".
        exchanged: indices of the training pairs whose answers a control has exchanged: so are their system prompts.
        neutral: questions about nothing of the run's behaviors: knowledge questions that are held out of its
            measurements; empty unless the method `needs` "neutral".
    """

    lm: LM
    behavior: Behavior
    siblings: Mapping[str, Behavior]
    direction: Direction
    seed: int
    below: Intervention
    out: Path
    scratch: Path | None = None
    measure: Measure = "letters"
    exchanged: frozenset[int] = frozenset()
    neutral: Sequence[Item] = ()


@dataclass(frozen=True)
class Use:
    """How a fitted method is to be used.

    Attributes:
        behavior: the behavior it was fitted on.
        direction: "pos" for more of the behavior, "neg" for less.
        strength: the dose, at least 0; at 0 the intervention must change nothing.
        fitted: the folder that `fit` wrote; an empty one for a method that fits nothing.
    """

    behavior: Behavior
    direction: Direction
    strength: float
    fitted: Path

    @property
    def signed(self) -> float:
        """The strength as a vector's multiplier: positive for "pos", negative for "neg"."""
        return self.strength if self.direction == "pos" else -self.strength


@dataclass(frozen=True)
class Method(ABC):
    """The first line of a subclass's docstring is what `compare methods` shows.

    Attributes:
        dosed: whether strength means something; a method without a dose appears once in a grid.
        role: "method", or "control" for one meant to do nothing.
        fits: "direction" (one fit a direction), "behavior" (one for both) or "never".
        adapts: whether its interventions carry an adapter, of which a stack can hold one.
        swept: whether `compare sweep` takes it without being told to: one fit holds all layers, and its edits leave
            prompts to be shared.
        seeded: whether a fit draws at random, by `Fit.seed`: `--seeds` then fits it anew with each. One that says False
            writes the same whatever the seed, and is fitted and asked once.
        conditional: whether its edits have a condition: on how many prompts they act is then measured.
        mild_first: whether its candidates run from mild to strong, as learning rates do, and not from strong to mild,
            as layers do from the first to the last.
    """

    dosed: ClassVar[bool] = True
    role: ClassVar[Literal["method", "control"]] = "method"
    fits: ClassVar[Literal["direction", "behavior", "never"]] = "direction"
    adapts: ClassVar[bool] = False
    swept: ClassVar[bool] = False
    seeded: ClassVar[bool] = True
    conditional: ClassVar[bool] = False
    mild_first: ClassVar[bool] = False

    @property
    def needs(self) -> frozenset[Need]:
        """What a fit reads beside its own behavior: "below", "siblings", "neutral"; part of its cache's key."""
        return frozenset()

    def fit(self, fit: Fit) -> None:  # noqa: B027 - a method that fits nothing leaves it out
        """Fits on `fit.behavior.train` and writes to `fit.out`. Must leave the model as it was."""

    @abstractmethod
    def intervene(self, use: Use) -> Intervention:
        """The intervention for one use, from what `fit` wrote; runs no model."""

    def candidates(self, blocks: int) -> Sequence[Self]:
        """The settings among which the dev split chooses, where a setting is "auto"; empty if none is.

        Of those whose two-sided shift on dev at strength 1 reaches nine tenths of the largest, the mildest is used: the
        last, or with `mild_first` the first.

        Args:
            blocks: number of decoder blocks of the model.
        """
        return ()

    def fit_passes(self) -> float:
        """What a fit costs, in plain forward passes over its training pairs (a training pass counts as 3).

        A pass is of each pair's prompt with both answers; where texts are measured and a direction is fitted, with one.
        """
        return 0.0 if self.fits == "never" else 1.0

    def under(self, measure: Measure) -> Self:
        """The method in a run of this measure: settings made by `by_measure` are no longer "auto"."""
        fields = (f.name for f in dataclasses.fields(self) if f.metadata.get("by_measure"))
        taken = "answer" if measure == "answers" else "letter"
        return dataclasses.replace(self, **{name: taken for name in fields if getattr(self, name) == "auto"})

    def settings(self) -> dict[str, Any]:
        """The settings by name."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    def fit_settings(self) -> dict[str, Any]:
        """The settings that change what `fit` writes."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if not f.metadata.get("use_only")}

"""A checked specification with its data, and the cells that it stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from comparisons.dataset.items import ORDERS, Measure, fact_orders
from comparisons.experiment.specification import Cell, Specification
from comparisons.model.source import ModelSource

if TYPE_CHECKING:
    from comparisons.dataset.behaviors import Behavior, Item, KnowledgeSet, Order
    from comparisons.dataset.items import OpenPrompt


@dataclass(frozen=True)
class Plan:
    """A checked specification with its data.

    Attributes:
        spec: with `behaviors` filled in.
        behaviors: by name, cut to the sizes asked for; `dev` is empty unless something is chosen or evaluated on it.
        knowledge: the knowledge questions, None for none.
        cells: model after model, behavior after behavior, each behavior's baseline first.
        notes: lines that the report must show.
        knowledge_dev: knowledge questions held out for choosing at a limited cost; empty where nothing is.
        open_dev: of each behavior, open-ended prompts held out for choosing by the coherence of answers; likewise.
        side: test questions of every behavior of the data, by name, where side effects are asked for; else empty.
        probe: knowledge questions that show whether a model can be asked by letters; None where there are none.
        leaks: of each behavior whose test questions stand among its pairs, a line.
        neutral: knowledge questions held out of all measurements, for methods that need prompts about nothing of the
            behaviors; empty where none does.
        given_measure: `--measure` as given; that of the specification may have been settled since.
    """

    spec: Specification
    behaviors: Mapping[str, Behavior]
    knowledge: KnowledgeSet | None
    cells: tuple[Cell, ...]
    notes: tuple[str, ...]
    side: Mapping[str, Sequence[Item]] = field(default_factory=dict)
    knowledge_dev: Sequence[Item] = ()
    open_dev: Mapping[str, Sequence[OpenPrompt]] = field(default_factory=dict)
    probe: KnowledgeSet | None = None
    leaks: tuple[str, ...] = ()
    given_measure: Literal["auto", "letters", "answers"] = "auto"
    neutral: Sequence[Item] = ()

    @property
    def measure(self) -> Measure:
        """By what is measured; "auto" stands for letters until the models have been asked."""
        return "answers" if self.spec.measure == "answers" else "letters"

    @property
    def lettered(self) -> bool:
        """Whether the behaviors' items have letters of their own."""
        return all(behavior.lettered for behavior in self.behaviors.values())

    @property
    def orders(self) -> tuple[Order, ...]:
        """The orders to ask in."""
        if self.measure == "answers":
            return ("answers",)
        return ORDERS if self.spec.orders == "both" else ("given",)

    @property
    def fact_orders(self) -> tuple[Order, ...]:
        """The orders to ask knowledge questions in."""
        return fact_orders(self.orders)

    def of(self, source: ModelSource) -> Plan:
        """The part of the plan that is about one of its models."""
        model = source.name if self.spec.more_models else ""
        cells = tuple(cell for cell in self.cells if cell.model == model)
        return replace(self, spec=replace(self.spec, model=source, more_models=()), cells=cells)

    def asked(self, behavior: str) -> Sequence[Item]:
        """The questions on which a behavior is evaluated."""
        data = self.behaviors[behavior]
        return data.dev if self.spec.split == "dev" else data.test

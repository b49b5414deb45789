"""What report and terminal say of each evaluation beside shift and cost: a module an evaluation, found by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.resources import files

from comparisons.report.blocks import Block, Paragraph, section
from comparisons.report.figures import Gallery
from comparisons.report.generated import generated_section, generated_table
from comparisons.report.labels import label_section, label_table
from comparisons.report.markdown import escaped
from comparisons.report.open_ended import open_ended_section, score_table
from comparisons.report.robustness import robustness_section, robustness_table
from comparisons.report.sideeffects import side_effect_section
from comparisons.results.record import Record
from comparisons.results.summary import SummaryRow
from comparisons.util.table import Table


@dataclass(frozen=True)
class EvaluationSection:
    """What is said of an evaluation.

    Attributes:
        blocks: makes its section of the report, and draws its figures; none where the run has nothing for it.
        title: of its table in the terminal.
        table: makes that of a run's rows, None where they have no number of it; without one the terminal shows none.
    """

    blocks: Callable[[Record, Gallery], list[Block]]
    title: str = ""
    table: Callable[[Sequence[SummaryRow]], Table | None] = lambda rows: None


SECTIONS: Mapping[str, EvaluationSection] = {
    "side_effects": EvaluationSection(side_effect_section),
    "choices": EvaluationSection(label_section, "Shift by the items' label:", label_table),
    "generated": EvaluationSection(generated_section, "What the models write:", generated_table),
    "open_ended": EvaluationSection(open_ended_section, "How judges score free answers:", score_table),
    "robustness": EvaluationSection(robustness_section, "How much of the shift survives:", robustness_table),
}
"""By the evaluations' names, in the report's order; others follow."""

WITHOUT = {"knowledge", "random_ranks"}
"""Evaluations whose numbers stand in sections of the whole report: with the shifts, and with what they cost."""


def sections() -> list[EvaluationSection]:
    """Those of all built-in evaluations: named here, or the function NAME_section in a module NAME of this package."""
    names = {file.name.removesuffix(".py") for file in files("comparisons.evaluations").iterdir()}
    further = sorted(name for name in names - SECTIONS.keys() - WITHOUT if not name.startswith("_"))
    modules = [(name, import_module(f"comparisons.report.{name}")) for name in further]
    return [*SECTIONS.values(), *(EvaluationSection(getattr(module, f"{name}_section")) for name, module in modules)]


def plugin_sections(record: Record) -> list[Block]:
    """What evaluations that are plugins had to say when the run ended: without them it can't be made again."""
    blocks: list[Block] = []
    for each in record.summary.sections.values():
        blocks += section(escaped(each.title), Paragraph(escaped(each.text)), each.table)
    return blocks

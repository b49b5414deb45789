"""What report and terminal say of each evaluation beside shift and cost: a module an evaluation, found by its name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.resources import files

from comparisons.report.blocks import Block, Paragraph, section
from comparisons.report.figures import Gallery
from comparisons.report.markdown import escaped
from comparisons.results.record import Record
from comparisons.results.summary import SummaryRow
from comparisons.util.table import Table


@dataclass(frozen=True)
class EvaluationSection:
    """What is said of an evaluation: SECTION in a module of its name.

    Attributes:
        blocks: makes its section of the report, and draws its figures; none where the run has nothing for it.
        place: where it stands among the others.
        title: of its table in the terminal.
        table: makes that of a run's rows, None where they have no number of it; without one the terminal shows none.
    """

    blocks: Callable[[Record, Gallery], list[Block]]
    place: int = 100
    title: str = ""
    table: Callable[[Sequence[SummaryRow]], Table | None] = lambda rows: None


def sections() -> list[EvaluationSection]:
    """Those of the built-in evaluations, in the report's order.

    Knowledge and random directions have none: their numbers stand with the shifts.
    """
    evaluations, modules = (
        {file.name for file in files(package).iterdir()} for package in ("comparisons.evaluations", __package__)
    )
    names = sorted(name.removesuffix(".py") for name in evaluations & modules if name[0] != "_")
    known = [import_module(f"{__package__}.{name}").SECTION for name in names]
    return sorted(known, key=lambda one: one.place)


def plugin_sections(record: Record) -> list[Block]:
    """What evaluations that are plugins had to say when the run ended: without them it can't be made again."""
    blocks: list[Block] = []
    for each in record.summary.sections.values():
        blocks += section(escaped(each.title), Paragraph(escaped(each.text)), each.table)
    return blocks

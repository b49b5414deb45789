"""The program from Python: `comparisons.run` takes what `compare run` and `compare sweep` take."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from comparisons.api.arguments import Execution, RunOptions, checked, documented, python_command, values
from comparisons.util.options import values_of
from comparisons.util.terminal import libraries_logged

if TYPE_CHECKING:
    import pandas

    from comparisons.experiment.specification import Specification
    from comparisons.results.gates import Gate
    from comparisons.results.schema import Contrast
    from comparisons.results.summary import SummaryRow
    from comparisons.running.progress import Progress

PARTS = {"Interval | None": ("low", "high"), "Quantiles | None": ("low", "median", "high")}
"""How the columns of an interval, and of three quantiles, are called."""


@dataclass(frozen=True, repr=False)
class Result:
    """A run that has ended; `Result.read` reads one from its folder.

    Attributes:
        rows: its summary, a row a cell and baseline.
        pairs: its contrasts as summary.json has them, of every two usable cells of a behavior and direction.
    """

    path: Path
    rows: tuple[SummaryRow, ...]
    pairs: tuple[Contrast, ...] = ()

    @classmethod
    def read(cls, path: str | Path) -> Result:
        """Reads a run's folder; raises CompareError where it is none."""
        from comparisons.results.folder import read_summary

        summary = read_summary(Path(path))
        return cls(Path(path), summary.rows, tuple(summary.contrasts))

    @property
    def report(self) -> Path:
        """The report as one HTML file; report.md stands beside it."""
        return self.path / "report.html"

    @property
    def failed(self) -> tuple[SummaryRow, ...]:
        """The cells that failed, each with its `error`."""
        return tuple(row for row in self.rows if row.failed)

    @property
    def gates(self) -> tuple[Gate, ...]:
        """What limits the answers, each with what mends it; look at these before any number."""
        from comparisons.results.gates import gates
        from comparisons.results.summary import Summary

        return gates(Summary(self.rows))

    @cached_property
    def frame(self) -> pandas.DataFrame:
        """The summary, a row a cell; an interval `x_ci` as the columns `x_low` and `x_high`, NaN for no number.

        What has several numbers a cell (side effects, robustness, labels, …) stays as summary.json has it.
        """
        import pandas

        from comparisons.results.summary import SummaryRow

        table = pandas.DataFrame([_flat(asdict(row)) for row in self.rows])
        # pandas' own whole numbers know no missing one, and would make layer 1 a 1.0.
        return table.astype({f.name: "Int64" for f in fields(SummaryRow) if f.type == "int | None"})

    @cached_property
    def contrasts(self) -> pandas.DataFrame:
        """The contrasts, a row a pair: the interval `ci` as `low` and `high`, content and cost behind their names."""
        import pandas

        from comparisons.results.contrasts import flat

        table = pandas.DataFrame([flat(pair) for pair in self.pairs])
        return table.astype({"items_needed": "Int64"}) if self.pairs else table

    @cached_property
    def results(self) -> pandas.DataFrame:
        """results.jsonl: a row an item × order × cell × evaluation."""
        import pandas

        from comparisons.results.cells import read_rows

        return pandas.DataFrame([row for rows in read_rows(self.path).values() for row in rows])

    def __repr__(self) -> str:
        failed = f", {len(self.failed)} failed" if self.failed else ""
        return f"Result({str(self.path)!r}: {len(self.rows)} rows{failed})"

    def _repr_html_(self) -> str:
        """The report's main table, one a behavior, as a notebook shows it."""
        from comparisons.report.markdown import escaped
        from comparisons.report.table import main_table
        from comparisons.report.templating import fill
        from comparisons.results.summary import Summary

        summary = Summary(self.rows)
        tables = []
        for rows in map(summary.of, summary.subjects):
            caption = f"**{escaped(rows[0].behavior)}** in {escaped(rows[0].model)}"
            tables.append((caption, main_table(rows).few))
        template = "report/templates/notebook.html"
        return fill(template, tables=tables, behaviors=summary.subjects, report=self.report)


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    from comparisons.results.summary import SummaryRow

    parts = {f.name: PARTS[str(f.type)] for f in fields(SummaryRow) if f.type in PARTS}
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if name not in parts:
            flat[name] = value
            continue
        columns = [f"{name.removesuffix('_ci')}_{part}" for part in parts[name]]
        flat |= dict(zip(columns, value or [None] * len(columns), strict=True))
    return flat


@documented
def run(
    behavior: str | Iterable[str],
    methods: str | Iterable[str] = (),
    *,
    progress: Callable[[int], AbstractContextManager[Progress]] | None = None,
    **options: Unpack[RunOptions],
) -> Result:
    """Compares methods on behaviors, as `compare run` does; with `layers`, sweeps them, as `compare sweep` does.

    The arguments are the commands' options; a list may be given as one or as text with commas, and settings as
    `{"caa.layer": 1, "sft.rank": [4, 16]}`. The same call resumes a run that was interrupted, and reads again one that
    has ended. A message that names an option, as "--data", means the argument of that name.

    Args:
        behavior: names, or "all".
        methods: stacks, as "caa,sft+caa"; a sweep takes every method with a layer where none is named.
        progress: opens a display for so many cells, as `comparisons.cli.progress.cell_progress`; none by default.

    Returns:
        The run, read from its folder. A cell that failed is a row with its error: see `Result.failed`.

    Raises:
        CompareError: an argument, the data, the model or the folder is wrong; nothing has been written.
    """
    given = checked({"behavior": behavior, "methods": methods, **options})
    from comparisons.running import job
    from comparisons.running.job import make_executor
    from comparisons.running.progress import Silent

    spec, how = specification(given), Execution(**values_of(Execution, values(given)))
    display = progress or (lambda cells: nullcontext(Silent()))
    where = make_executor(how.executor, how.workers, how.gpus_per_cell, how.address)
    with libraries_logged():
        ended = job.run(spec, display, how.out, how.fresh, python_command(given), where)
    return Result.read(ended.path)


def specification(given: Mapping[str, Any]) -> Specification:
    """The specification that checked arguments of `run` stand for; raises CompareError where one is wrong."""
    from comparisons.experiment.specification import SWEEP, Specification
    from comparisons.running.sweeps import sweep_specification

    options = values(given)
    if "layers" not in options:
        return Specification.of(options)
    return sweep_specification(Specification.of({**SWEEP, **options}), options["layers"])

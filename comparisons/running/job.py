"""The main job: from a specification to a finished run folder with its report."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from comparisons.evaluation.best import best_row
from comparisons.evaluation.registry import sections_of
from comparisons.evaluation.summaries import summarize
from comparisons.evaluations.open_ended import summary_of
from comparisons.experiment.specification import Plan, Specification
from comparisons.judges.judge_set import make_judge_set
from comparisons.report import render
from comparisons.results.cells import RESULTS
from comparisons.results.folder import BEST, RUN, SUMMARY, RunFolder, check_run_folder, run_faults
from comparisons.results.summary import SummaryRow, read_summary
from comparisons.running.executor import Executor, LocalExecutor
from comparisons.running.planning import make_plan
from comparisons.running.provenance import ModelInfo, identify, now, run_facts
from comparisons.running.sinks import Progress
from comparisons.util.artifacts import Store
from comparisons.util.files import json_digest, read_sealed
from comparisons.util.terminal import keep_library_log

CHECKPOINTS, REPORTS = Path("checkpoints"), Path("reports")


@dataclass(frozen=True)
class Outcome:
    """A finished run.

    Attributes:
        path: its folder.
        rows: its summary.
    """

    path: Path
    rows: Sequence[SummaryRow]

    @property
    def failed(self) -> list[SummaryRow]:
        """The cells that failed."""
        return [row for row in self.rows if row.status == "failed"]


def run(
    spec: Specification,
    progress: Callable[[int], AbstractContextManager[Progress]],
    out: Path | None = None,
    fresh: bool = False,
    command: str = "",
    executor: Callable[[Plan, Store], Executor] = LocalExecutor,
) -> Outcome:
    """Runs or resumes a comparison and writes its report.

    Args:
        spec: what to compare.
        progress: opens a display for so many cells.
        out: the run's folder; by default a name under reports/ made of behavior, model and a hash.
        fresh: discard what the folder holds.
        command: the command line that the report shows.
        executor: where cells are evaluated.

    Raises:
        CompareError: the specification, the data, the model or the folder is wrong; nothing has been written.
    """
    plan = make_plan(spec)
    identity = identify(plan)
    digest = json_digest(identity)
    path = out or REPORTS / default_name(plan, digest)
    check_run_folder(path, digest, fresh)
    if not fresh and _is_complete(path):
        return _rendered(path)
    cells = executor(plan, Store(CHECKPOINTS))
    try:
        models = dict[str, ModelInfo]()
        first = cells.begin()
        judges = make_judge_set(spec.open_ended, plan.behaviors, spec.model, cells.lm) if spec.open_ended else None
        if judges is not None:
            judges.check()
        folder = RunFolder(path, digest, fresh, wait=True)
        try:
            if not fresh and _is_complete(path):
                # By another process, while this one waited for it.
                return _rendered(path)
            started = now()

            def note(found: ModelInfo, ended: str | None = None, complete: bool | None = None) -> None:
                models[found.model["name"]] = found
                end = {"ended": ended} | ({} if complete is None else {"complete": complete})
                facts = run_facts(plan, identity, models, started)
                folder.write(RUN, {"digest": digest, "command": command, **facts, **end})

            note(first)
            with progress(len(plan.cells)) as display:
                plan = cells.run(folder, display, judges, note)
            rows = summarize(plan, folder)
            # Last, so that a budget goes to the run's own answers first.
            known = judges.calibration() if judges else {}
            folder.write_summary(summary_of(rows, folder, known, sections_of(spec, rows)))
            _keep_best(plan, cells, folder, rows)
            note(first, now(), all(row.status == "done" for row in rows))
            render(path)
        finally:
            keep_library_log(path)
            folder.close()
    finally:
        cells.close()
    return Outcome(path, rows)


def default_name(plan: Plan, digest: str) -> str:
    """behavior-model-hash, a sweep's headed by the word, in characters that every file system takes."""
    behaviors = plan.spec.behaviors[0] if len(plan.spec.behaviors) == 1 else f"{len(plan.spec.behaviors)}-behaviors"
    models = [Path(source.name).name for source in plan.spec.sources]
    kind = "sweep-" if plan.spec.layers else ""
    name = f"{kind}{behaviors}-{models[0] if len(models) == 1 else f'{len(models)}-models'}-{digest[:8]}"
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name)


def _is_complete(path: Path) -> bool:
    """Whether all cells are done and nothing is damaged since."""
    if not all((path / name).exists() for name in (RUN, SUMMARY, RESULTS)) or run_faults(path):
        return False
    return bool(read_sealed(path / RUN, "run").get("complete"))


def _rendered(path: Path) -> Outcome:
    render(path)
    return Outcome(path, read_summary(path).rows)


def _keep_best(plan: Plan, cells: Executor, folder: RunFolder, rows: Sequence[SummaryRow]) -> None:
    """Writes the intervention of the cell that moved furthest, or removes an earlier one."""
    best = best_row(rows)
    if best is None:
        shutil.rmtree(folder.path / BEST, ignore_errors=True)
        return
    cells.keep(next(cell for cell in plan.cells if cell.key == best.cell), folder)

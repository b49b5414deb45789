"""The main job: from a specification to a finished run folder with its report."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from comparisons.dataset.behaviors import KnowledgeSet
from comparisons.dataset.items import Item
from comparisons.evaluation.best import best_row
from comparisons.evaluation.registry import sections_of
from comparisons.evaluation.summaries import summarize
from comparisons.evaluations.open_ended import summary_of
from comparisons.experiment.plan import Plan
from comparisons.experiment.specification import Specification
from comparisons.judges.judge_set import JudgeSet, make_judge_set
from comparisons.report import render
from comparisons.results.cells import RESULTS
from comparisons.results.folder import (
    BEST,
    QUESTIONS,
    RUN,
    SUMMARY,
    Questions,
    QuestionText,
    RunFolder,
    check_run_folder,
    read_summary,
    run_faults,
)
from comparisons.results.summary import SummaryRow
from comparisons.running.estimate import work_of
from comparisons.running.executor import Executor, LocalExecutor
from comparisons.running.planning import make_plan
from comparisons.running.progress import Progress
from comparisons.running.provenance import ModelInfo, identify, now, run_facts
from comparisons.util.artifacts import CHECKPOINTS, Store
from comparisons.util.errors import CompareError
from comparisons.util.files import json_digest, read_sealed
from comparisons.util.terminal import keep_library_log

REPORTS = Path("reports")


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
    begun: Callable[[Plan], None] = lambda plan: None,
) -> Outcome:
    """Runs or resumes a comparison and writes its report.

    Args:
        spec: what to compare.
        progress: opens a display for so many cells.
        out: the run's folder; by default a name under reports/ made of behavior, model and a hash.
        fresh: discard what the folder holds.
        command: the command line that the report shows.
        executor: where cells are evaluated.
        begun: is shown the plan once nothing of it is wrong and the folder is its own.

    Raises:
        CompareError: the specification, the data, the model or the folder is wrong; nothing has been written.
    """
    plan = make_plan(spec)
    identity = identify(plan)
    digest = json_digest(identity)
    path = out or REPORTS / default_name(plan, digest)
    check_run_folder(path, digest, fresh)
    if not fresh and _is_complete(path):
        begun(plan)
        return _rendered(path)
    with closing(executor(plan, Store(CHECKPOINTS))) as cells:
        cells.begin()
        judges, first = _judges(plan, cells), cells.settle()
        plan = cells.plan
        with closing(RunFolder(path, digest, fresh, wait=True)) as folder:
            begun(plan)
            if not fresh and _is_complete(path):
                # By another process, while this one waited for it.
                return _rendered(path)
            try:
                rows = _evaluated(_RunRecord(folder, plan, identity, command), cells, first, judges, progress)
            finally:
                keep_library_log(path)
    return Outcome(path, rows)


def _judges(plan: Plan, cells: Executor) -> JudgeSet | None:
    """The judges of free answers, of which each can be asked; None where nothing is judged."""
    if plan.spec.open_ended is None:
        return None
    judges = make_judge_set(plan.spec.open_ended, plan.behaviors, plan.spec.model, cells.lm)
    judges.check(rating=plan.spec.chooses_by("coherence"))
    return judges


class _RunRecord:
    """run.json, written anew with each model that is loaded, and at the end."""

    def __init__(self, folder: RunFolder, plan: Plan, identity: Mapping[str, Any], command: str) -> None:
        self.folder, self.plan, self.identity, self.command = folder, plan, identity, command
        self.started, self.models = now(), dict[str, ModelInfo]()

    def note(self, info: ModelInfo, **end: Any) -> None:
        """Writes what is known by now of the models; "ended" and "complete" at the end."""
        self.models[info.model["name"]] = info
        facts = run_facts(self.plan, self.identity, self.models, self.started)
        head = {"digest": self.folder.run, "command": self.command}
        self.folder.write(RUN, {**head, **facts, "ended": None, **end})


def _evaluated(
    record: _RunRecord,
    cells: Executor,
    first: ModelInfo,
    judges: JudgeSet | None,
    progress: Callable[[int], AbstractContextManager[Progress]],
) -> Sequence[SummaryRow]:
    """Evaluates every cell, and writes what a finished run has."""
    folder, plan = record.folder, record.plan
    record.note(first)
    folder.write(QUESTIONS, {"questions": questions_of(plan)})
    with progress(len(plan.cells)) as display:
        _watched(cells, plan, folder, display)
        plan = cells.run(folder, display, judges, record.note)
        display.stage("summary and report")
        rows, contrasts = summarize(plan, folder)
        # Last, so that a budget goes to the run's own answers first.
        known = judges.calibration() if judges else {}
        folder.write_summary(summary_of(rows, folder, known, sections_of(plan.spec, rows), contrasts))
        _keep_best(plan, cells, folder, rows)
        record.note(first, ended=now(), complete=all(row.status == "done" for row in rows))
        render(folder.path)
    return rows


def _watched(cells: Executor, plan: Plan, folder: RunFolder, display: Progress) -> None:
    """Has the display told how far the run is, where one model in this process runs all of it."""
    lm = cells.lm
    if lm is None or plan.spec.more_models:
        return
    left = replace(plan, cells=tuple(cell for cell in plan.cells if not folder.done(cell.key)))
    lm.meter.work = display.watch(lambda: work_of(left, lm))


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


def make_executor(
    executor: str = "local", workers: int | None = None, gpus_per_cell: float | None = None, address: str | None = None
) -> Callable[[Plan, Store], Executor]:
    """Where cells are evaluated, as the options say.

    Raises:
        CompareError: an option of a cluster is given for this process.
    """
    given = {"--workers": workers, "--gpus-per-cell": gpus_per_cell, "--address": address}
    if executor == "ray":
        from comparisons.running.ray_executor import RayExecutor
        from comparisons.running.ray_pool import ClusterOptions

        options = ClusterOptions(address, gpus_per_cell, workers)
        return lambda plan, store: RayExecutor(plan, store, options)
    odd = next((name for name, value in given.items() if value is not None), None)
    if odd is not None:
        raise CompareError(f"{odd} goes with --executor ray.")
    return LocalExecutor


def questions_of(plan: Plan) -> Questions:
    """What a run asks, in words, as questions.json keeps it for the report.

    By behavior, those that only side effects ask among them; the knowledge questions under ""; no harness's tasks.
    """
    found = {name: _texts(items) for name, items in plan.side.items()}
    found |= {name: found.get(name, {}) | _texts(plan.asked(name)) for name in plan.behaviors}
    return found | ({"": _texts(plan.knowledge.items)} if isinstance(plan.knowledge, KnowledgeSet) else {})


def _texts(items: Sequence[Item]) -> dict[str, QuestionText]:
    return {item.id: _text(item) for item in items}


def _text(item: Item) -> QuestionText:
    matching, *contrasts = item.texts or (item.matching, item.contrast)
    return {
        "question": item.stem.strip(),
        "matching": matching,
        "contrast": " / ".join(contrasts),
        "topic": item.category or item.template,
        "label": item.label,
    }

"""The main job: from a specification to a finished run folder with its report."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from comparisons import __version__
from comparisons.evaluate.best import best_row, write_best
from comparisons.evaluate.conditions import NEUTRAL_TEXTS, PREFIX_TEXT, wrappings
from comparisons.evaluate.judged import summary_of
from comparisons.evaluate.summaries import summarize
from comparisons.files import json_digest, read_sealed
from comparisons.fitting import PACKAGES, Bench, package_version, source_digest
from comparisons.judges.panel import make_panel
from comparisons.lm import LM
from comparisons.loading import folder_digest, load
from comparisons.planning import make_plan
from comparisons.report import render
from comparisons.report.summary import SummaryRow, read_summary
from comparisons.runfolder import BEST, RUN, SUMMARY, RunFolder, check_run_folder, run_faults
from comparisons.runner import BehaviorRun, Progress, execute
from comparisons.specification import LAYER, Cell, Plan, Specification
from comparisons.store import Store

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
) -> Outcome:
    """Runs or resumes a comparison and writes its report.

    Args:
        spec: what to compare.
        progress: opens a display for so many cells.
        out: the run's folder; by default a name under reports/ made of behavior, model and a hash.
        fresh: discard what the folder holds.
        command: the command line that the report shows.

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
    lm = load(spec.model)
    check_layers(plan, lm)
    panel = make_panel(spec.open_ended, plan.behaviors, spec.model, lm) if spec.open_ended else None
    if panel is not None:
        panel.check()
    folder = RunFolder(path, digest, fresh, wait=True)
    try:
        if not fresh and _is_complete(path):
            # By another process, while this one waited for it.
            return _rendered(path)
        facts = {"digest": digest, "command": command, **_facts(plan, lm, identity)}
        folder.write(RUN, {**facts, "ended": None})
        store = Store(CHECKPOINTS)
        with progress(len(plan.cells)) as display:
            plan = execute(plan, lm, store, folder, display, panel)
        rows = summarize(plan, folder, lm.name)
        # Last, so that a budget goes to the run's own answers first.
        folder.write(SUMMARY, summary_of(rows, folder, panel.known() if panel else {}))
        _keep_best(plan, lm, store, folder, rows)
        folder.write(RUN, {**facts, "ended": _now(), "complete": all(row.status == "done" for row in rows)})
        render(path)
    finally:
        folder.close()
    return Outcome(path, rows)


def identify(plan: Plan) -> dict[str, Any]:
    """Everything that can change the numbers of a run, by content; equal identities can share a folder."""
    methods = {e.name: type(e.method) for cell in plan.cells for e in cell.elements}
    location = Path(plan.spec.model.location())
    return {
        "specification": plan.spec.as_json(),
        "model": folder_digest(location) if location.is_dir() else str(location),
        "behaviors": {
            name: [behavior.digest, behavior.dev_digest, behavior.test_digest]
            for name, behavior in plan.behaviors.items()
        },
        "knowledge": plan.knowledge.digest if plan.knowledge else None,
        "knowledge_dev": json_digest([asdict(item) for item in plan.knowledge_dev]) if plan.knowledge_dev else None,
        "side_effects": json_digest({n: [asdict(i) for i in items] for n, items in plan.side.items()})
        if plan.side
        else None,
        "robustness": json_digest([PREFIX_TEXT, NEUTRAL_TEXTS]) if plan.spec.robustness else None,
        "methods": {name: source_digest(cls) for name, cls in sorted(methods.items())},
        "version": __version__,
    }


def default_name(plan: Plan, digest: str) -> str:
    """behavior-model-hash, a sweep's headed by the word, in characters that every file system takes."""
    behaviors = plan.spec.behaviors[0] if len(plan.spec.behaviors) == 1 else f"{len(plan.spec.behaviors)}-behaviors"
    kind = "sweep-" if plan.spec.layers else ""
    name = f"{kind}{behaviors}-{Path(plan.spec.model.name).name}-{digest[:8]}"
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name)


def check_layers(plan: Plan, lm: LM) -> None:
    """Raises CompareError where a method's layer is not a block of the model."""
    layers = {element.method.settings().get(LAYER) for cell in plan.cells for element in cell.elements}
    for layer in layers:
        if isinstance(layer, int):
            lm.check_layer(layer)


def _is_complete(path: Path) -> bool:
    """Whether all cells are done and nothing is damaged since."""
    if not ((path / RUN).exists() and (path / SUMMARY).exists()) or run_faults(path):
        return False
    return bool(read_sealed(path / RUN, "run").get("complete"))


def _rendered(path: Path) -> Outcome:
    render(path)
    return Outcome(path, read_summary(path).rows)


def _keep_best(plan: Plan, lm: LM, store: Store, folder: RunFolder, rows: Sequence[SummaryRow]) -> None:
    """Writes the intervention of the cell that moved furthest, or removes an earlier one; its fits are in the store."""
    best = best_row(rows)
    if best is None:
        shutil.rmtree(folder.path / BEST, ignore_errors=True)
        return
    cell = next(cell for cell in plan.cells if cell.key == best.cell)
    siblings = {name: b for name, b in plan.behaviors.items() if name != cell.behavior}
    bench = Bench(lm, plan.behaviors[cell.behavior], siblings, store, plan.spec.seed)
    ready = BehaviorRun(plan, bench, folder, Silent()).build(cell)
    write_best(folder.path, best.cell, ready.built, lm, _seen_from(folder.path, plan.spec.model.location()))


def _seen_from(run: Path, location: str) -> str:
    """A model's location for a program that is started in the run's folder; a hub id stays as it is."""
    if not Path(location).exists():
        return location
    below = Path(location).resolve().is_relative_to(Path.cwd()) and run.resolve().is_relative_to(Path.cwd())
    return os.path.relpath(location, run) if below else os.path.abspath(location)


class Silent:
    """A progress display that shows nothing."""

    def stage(self, text: str) -> None:
        """Shows nothing."""

    def advance(self, cells: int) -> None:
        """Shows nothing."""

    def ended(self, cell: Cell, shift: float | None, error: str | None) -> None:
        """Shows nothing."""


def _facts(plan: Plan, lm: LM, identity: dict[str, Any]) -> dict[str, Any]:
    """What run.json says beside the command."""
    return {
        "specification": plan.spec.as_json(),
        "identity": {key: value for key, value in identity.items() if key != "specification"},
        "versions": {
            "comparisons": __version__,
            "python": platform.python_version(),
            **{package: package_version(package) for package in PACKAGES},
        },
        "git_commit": _git_commit(),
        "machine": _machine(lm),
        "model": {
            "name": lm.name,
            "embedded": plan.spec.model.is_embedded,
            "parameters": lm.parameters,
            "blocks": len(lm.blocks),
            "width": lm.width,
            "dtype": str(lm.model.dtype).removeprefix("torch."),
            "prompt_format": lm.prompt_format,
            "digest": lm.digest,
        },
        "notes": list(plan.notes),
        "robustness": wrappings(lm, plan.behaviors) if plan.spec.robustness else None,
        "started": _now(),
    }


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _machine(lm: LM) -> dict[str, Any]:
    import torch

    gpu = torch.cuda.get_device_name() if lm.device.type == "cuda" else None
    return {
        "system": platform.system(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": gpu or lm.device.type,
    }


def _git_commit() -> str | None:
    """The commit of the program's own checkout, with a + where it has changes; None outside one."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        commit = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return commit.stdout.strip() or None

"""Cells on a real Ray: the numbers of a local run, also where workers are killed and the run is interrupted."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from comparisons.experiment.specification import Specification
from comparisons.model.loading import load
from comparisons.model.source import ModelSource
from comparisons.results.folder import RunFolder
from comparisons.results.identity import CellId
from comparisons.running.planning import make_plan
from comparisons.running.progress import Silent
from comparisons.running.provenance import identify_data
from comparisons.running.ray_executor import joined, tasks_of
from comparisons.running.ray_pool import ClusterOptions, _shares
from comparisons.running.ray_worker import CellIntake, Worker, files_of, marked
from comparisons.running.runner import execute
from comparisons.util.artifacts import Store
from comparisons.util.errors import CompareError
from comparisons.util.files import json_digest
from tests.forks import ROOT, Command, Forks
from tests.places import few_questions
from tests.tiny import other_model
from tests.whole_runs import check_equal, numbers

pytestmark = pytest.mark.slow

GRID = [
    *("run", "--behavior", "refusal", "--data", "few", "--methods", "caa,sysprompt,sft", "--out", "out"),
    *(
        "--set",
        "sft.epochs=1",
        "--set",
        "sft.learning_rate=1e-3",
        "--set",
        "sft.target_modules=q_proj",
        "--layer",
        "auto",
        "--controls",
    ),
    *("--train-items", "16", "--test-items", "4", "--knowledge", "none"),
    *("--open-ended", "--tokens", "4", "--judge", "rules,pairwise:local"),
]
CLUSTER = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": "0123456789abcdef" * 4,
    "RAY_worker_niceness": "0",
}
"""What the nodes of a cluster share. Ray's own niceness of 15 starves its workers beside other tests."""

RAY = ("--executor", "ray", "--workers")

BOOM = """
from comparisons.method import *
from dataclasses import dataclass


@dataclass(frozen=True)
class Boom(Method):
    '''Fails.'''

    def fit(self, fit):
        raise ValueError("it went off")

    def intervene(self, use):
        return Intervention()
"""


def started(forks: Forks, folder: Path, *arguments: str) -> psutil.Process:
    """`compare` in a fork, which has not imported Ray."""
    (pid,) = forks.start(Command(arguments, str(folder), variables=CLUSTER, every=1e9))
    return psutil.Process(pid)


def finished(forks: Forks) -> tuple[int, str]:
    """Its exit code, and what it said on stderr."""
    (ended,) = forks.ended()
    return ended.code, ended.errors


def working(pid: int) -> list[psutil.Process]:
    """The workers at work below a process."""
    found = []
    for child in psutil.Process(pid).children(recursive=True):
        try:
            if child.cmdline()[:1] == ["ray::Worker.work"]:
                found.append(child)
        except psutil.Error:
            pass
    return found


def until(process: psutil.Process, run: Path, files: int) -> None:
    """Waits until so many cells or choices more have been written."""

    def count() -> int:
        return sum(len(list((run / name).glob("*.jsonl"))) for name in ("cells", "choices"))

    before = count()
    while process.is_running() and count() < before + files:
        time.sleep(0.05)


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[str, int]]:
    """A Ray cluster that is there before the run: its address, and the number of its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = f"start --head --block --port {port} --num-cpus 2 --include-dashboard false --disable-usage-stats".split()
    ray = Path(sys.executable).with_name("ray")
    env = {**os.environ, **CLUSTER, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [ray, *command], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as head:
        assert head.stdout is not None
        try:
            for line in head.stdout:
                if "--block" in line:
                    break
            yield f"127.0.0.1:{port}", head.pid
        finally:
            for process in [*psutil.Process(head.pid).children(recursive=True), head]:
                process.kill()


@pytest.mark.timeout(600)
def test_a_cluster_comes_to_the_local_numbers_through_an_interruption_and_a_lost_worker(
    forks: Forks, cluster: tuple[str, int], tmp_path: Path
) -> None:
    """Interrupted on a Ray of its own, which ends with it; then on one that was there, to the end."""
    for name in ("here", "there"):
        few_questions(tmp_path / name / "few")
    started(forks, tmp_path / "here", *GRID)
    code, said = finished(forks)
    assert code == 0, said

    first = started(forks, tmp_path / "there", *GRID, *RAY, "1")
    until(first, tmp_path / "there" / "out", 2)
    own = first.children(recursive=True)
    first.send_signal(signal.SIGINT)
    asked = time.monotonic()
    code, said = finished(forks)
    assert code == 130 and "To go on: " in said, said
    assert time.monotonic() - asked < 5
    assert psutil.wait_procs(own, timeout=10)[1] == []

    address, head = cluster
    again = started(forks, tmp_path / "there", *GRID, *RAY, "2", "--address", address)
    until(again, tmp_path / "there" / "out", 1)
    killed: list[psutil.Process] = []
    while again.is_running() and not killed:
        killed = working(head)[:1]
    killed[0].kill()
    code, said = finished(forks)
    assert code == 0, said
    assert "a worker was lost over" in said
    check_equal(tmp_path / "there", tmp_path / "here")
    files = {path.name: path.read_bytes() for path in (tmp_path / "there" / "out" / "best").iterdir() if path.is_file()}
    expected = {path.name: path for path in (tmp_path / "here" / "out" / "best").iterdir() if path.is_file()}
    assert files.keys() == expected.keys()
    assert files["intervention.json"] == expected["intervention.json"].read_bytes()


@pytest.mark.timeout(300)
def test_what_fails_on_a_cluster_is_a_row(forks: Forks, cluster: tuple[str, int], tmp_path: Path) -> None:
    other_model(tmp_path / "other")
    weights = tmp_path / "other" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "boom.py").write_text(BOOM)
    grid = ["run", "--behavior", "refusal", "--methods", "boom,caa", "--model", "pocket,other", "--layer", "1"]
    small = (
        "--plugins",
        "plugins",
        "--data",
        "pocket",
        "--train-items",
        "40",
        "--test-items",
        "6",
        "--knowledge",
        "none",
        "--out",
        "out",
    )
    started(forks, tmp_path, *grid, *small, "--executor", "ray", "--workers", "1", "--address", cluster[0])
    code, said = finished(forks)
    assert code == 1, said
    rows = {row["cell"]: row for row in numbers(tmp_path / "out")}
    errors = {cell: row["error"] for cell, row in rows.items()}
    assert all("can't load the model other" in error for cell, error in errors.items() if cell.endswith(" in other"))
    assert "it went off" in errors["refusal/boom/pos/1 in pocket"]
    assert errors["refusal/caa/pos/1 in pocket"] is None and rows["refusal/caa/pos/1 in pocket"]["shift"] > 0
    facts = json.loads((tmp_path / "out" / "run.json").read_text())
    assert [model["name"] for model in facts["models"]] == ["pocket"]
    assert facts["machine"]["executor"] == "ray"


SPEC = Specification(behaviors=("refusal", "sycophancy"), stacks=("caa", "sysprompt", "sft", "sft+caa"))


def test_cells_that_share_fits_and_prompts_are_one_task() -> None:
    plan = make_plan(replace(SPEC, more_models=("other",), model=ModelSource("pocket")))
    tasks = tasks_of(plan, ())
    assert sorted(cell for task in tasks for cell in task.cells) == sorted(cell.key for cell in plan.cells)
    assert {(task.model, *task.behaviors) for task in tasks} == {
        (model, name) for model in ("pocket", "other") for name in SPEC.behaviors
    }
    (trained,) = [task for task in tasks if task.model == "other" and task.behaviors == ("refusal",) and task.heavy]
    assert {cell.split("/")[1] for cell in trained.cells} == {"sft", "sft+caa"}
    assert [task.heavy for task in tasks] == sorted((task.heavy for task in tasks), reverse=True)
    done = {cell.key for cell in plan.cells if cell.behavior == "refusal"}
    assert {task.behaviors for task in tasks_of(plan, done)} == {("sycophancy",)}
    whole = tasks_of(replace(plan, spec=replace(plan.spec, select="cost<=0.05")), ())
    assert len(whole) == 4


def test_what_steers_is_asked_over_behaviors_by_one_worker_as_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    spec = replace(SPEC, stacks=("caa", "sysprompt"), layer="1", train_items=24, test_items=4, knowledge_items=8)
    plan = make_plan(spec)
    parted = tasks_of(plan, ())
    assert [len(joined(parted, plan, workers)) for workers in (1, 2, 9)] == [3, 4, 4]
    one, *prompted = sorted(joined(parted, plan, 1), key=lambda task: len(task.behaviors), reverse=True)
    assert one.behaviors == SPEC.behaviors and [task.behaviors for task in prompted] == [(n,) for n in SPEC.behaviors]
    unasked = replace(plan, spec=replace(spec, knowledge="none"))
    assert joined(parted, unasked, 1) == parted

    lm = load(plan.spec.model)
    execute(plan, lm, Store(tmp_path / "store"), here := RunFolder(tmp_path / "here", "digest"), Silent())
    worker = Worker(spec, str(tmp_path), str(tmp_path / "store"), json_digest(identify_data(plan)))
    there = RunFolder(tmp_path / "there", "digest")
    with marked(there, "letters") as place:
        assert set(worker.work(one, place, {}).cells) == set(one.cells)
    there.load()
    for key in one.cells:
        assert there.rows(key) == here.rows(key)
        assert there.entries[key].info["tokens_run"] == here.entries[key].info["tokens_run"]


def test_settings_that_are_known_part_the_directions() -> None:
    plan = make_plan(replace(SPEC, settings={"sft": {"learning_rate": ["1e-3"], "epoch": ["1"]}}, stacks=("sft",)))
    heavy = [task.cells for task in tasks_of(plan, ()) if task.heavy and task.behaviors == ("refusal",)]
    assert heavy == [("refusal/sft/pos/1",), ("refusal/sft/neg/1",)]


def test_a_worker_writes_into_the_runs_folder_or_hands_the_files_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    spec = replace(SPEC, behaviors=("refusal",), stacks=("caa",), layer="auto", directions=("pos",), knowledge="none")
    spec = replace(spec, train_items=24, test_items=4)
    plan = make_plan(spec)
    (task,) = tasks_of(plan, ())
    worker = Worker(spec, str(tmp_path), str(tmp_path / "store"), json_digest(identify_data(plan)))
    found = {}
    for name in ("seen", "unseen"):
        folder = RunFolder(tmp_path / name, "digest")
        with marked(folder, "letters") as place:
            done = worker.work(task, place if name == "seen" else replace(place, mark="another"), {})
        assert done.cells == task.cells and not list((tmp_path / name).glob(".*.tmp"))
        written = list(folder.path.rglob("*.jsonl"))
        # Two cells, and what was chosen for one of them.
        assert (len(written), len(done.files)) == ((3, 0) if name == "seen" else (0, 3))
        intake = CellIntake(plan, folder, Silent(), None)
        intake.take(done)
        folder.load()
        assert all(intake.ended(cell) and folder.done(cell) for cell in task.cells)
        assert len(folder.choices("refusal")) == 1
        found[name] = [folder.rows(cell) for cell in task.cells]
        # What is known of the cells is not done again.
        again = worker.work(task, replace(place, mark="another"), files_of(plan, task, folder))
        assert again.cells == () and dict(again.files) == {}
        folder.close()
    assert found["seen"] == found["unseen"]


def test_answers_that_judges_have_not_seen_are_not_done(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "digest")
    folder.commit(CellId("refusal"), [], {"waiting": True})
    folder.close()
    again = RunFolder(tmp_path, "digest")
    assert not again.done("refusal/baseline") and not list((tmp_path / "cells").iterdir())
    again.close()


def test_workers_are_as_many_as_fit() -> None:
    gpus = {"CPU": 64.0, "GPU": 8.0}
    assert _shares(ClusterOptions(), gpus, 100) == (1.0, 8)
    assert _shares(ClusterOptions(gpus=4), gpus, 100) == (4, 2)
    assert _shares(ClusterOptions(gpus=0.5), gpus, 100) == (0.5, 16)
    assert _shares(ClusterOptions(gpus=0), gpus, 3) == (0, 3)
    assert _shares(ClusterOptions(workers=2), {"CPU": 4.0}, 100) == (0.0, 2)
    with pytest.raises(CompareError, match="has 8 GPUs: name fewer"):
        _shares(ClusterOptions(gpus=16), gpus, 100)
    with pytest.raises(CompareError, match="name at most 4"):
        _shares(ClusterOptions(workers=9), {"CPU": 4.0}, 100)

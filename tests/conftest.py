"""Fixtures that several files share."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import pytest
from filelock import FileLock

from tests.deprecations import own_deprecations
from tests.forks import FOLDER, ROOT, SOME, Command, Ended, Forks, forking
from tests.places import few_questions
from tests.tiny import tiny_lm
from tests.whole_runs import ARGUMENTS, FRESH

# Tables are as wide as this says, where something says it: pytest-xdist does, and shells that export it.
os.environ.pop("COLUMNS", None)


LONGEST = (
    "test_real_model",
    "test_cluster",
    "test_documented_commands",
    "test_families",
    "test_terminal",
    "test_harness",
    "test_validate",
    "test_several_models",
    "test_footprint",
    "test_kill",
    "test_processes",
    "test_full_disk",
    "test_runner",
    "test_determinism",
    "test_sharing",
    "test_select",
    "test_openended",
    "test_match",
)
"""Files in the order of what they take, so that none of these is begun when little else is left."""


def pytest_configure(config: pytest.Config) -> None:
    """Starts the process that forks, once for all processes of pytest-xdist; it loads nothing before it is asked."""
    gc.set_threshold(20_000)  # as the command line has it
    if not hasattr(config, "workerinput"):
        stack = ExitStack()
        os.environ[FOLDER] = stack.enter_context(forking())
        config.add_cleanup(stack.close)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Puts the longest files first, and leaves soak tests out unless they are asked for by their mark."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))
    if "soak" not in config.option.markexpr:
        left = [item for item in items if item.get_closest_marker("soak")]
        items[:] = [item for item in items if item not in left]
        config.hook.pytest_deselected(items=left)


def pytest_collection_finish() -> None:
    """What has been imported stays to the end: no collection of garbage need look at it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def no_deprecation_of_ours() -> Iterator[list[str]]:
    with own_deprecations() as found:
        yield found
    assert not found, "deprecated, and called by us: " + "; ".join(dict.fromkeys(found))


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a tiny random Llama."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    lm = tiny_lm()
    lm.model.save_pretrained(folder)
    lm.tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """A process that runs commands in forks, with all libraries loaded."""
    found = Forks(os.environ[FOLDER])
    yield found
    found.close()


@pytest.fixture(scope="session")
def near() -> Iterator[Forks]:
    """A process that has imported torch and transformers alone, which say nothing then."""
    found = Forks(os.environ[FOLDER], SOME)
    yield found
    found.close()


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what is made once and read by all processes of pytest-xdist; made under a lock beside it."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def whole_run(forks: Forks, shared: Path) -> tuple[Path, Ended]:
    """The working directory of a run that nothing happened to, and how it ended; to be read only."""

    def run(folder: Path) -> Ended:
        folder.mkdir()
        return forks.run(Command(ARGUMENTS, str(folder)))[0]

    return _once(shared, "whole", run)


@pytest.fixture(scope="session")
def fresh_run(shared: Path) -> tuple[Path, Ended]:
    """The same of a run in a process that was started for it and hashes as no other does."""

    def run(folder: Path) -> Ended:
        few_questions(folder / "few")
        env = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        command, begun = [sys.executable, "-m", "comparisons", *FRESH], time.monotonic()
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
        return Ended(done.returncode, done.stdout, done.stderr, time.monotonic() - begun, 0.0, 0)

    return _once(shared, "fresh", run)


def _once(shared: Path, name: str, run: Callable[[Path], Ended]) -> tuple[Path, Ended]:
    """What a run in a folder came to, by whichever process asks first."""
    record = shared / f"{name}.json"
    with FileLock(shared / f"{name}.lock"):
        if not record.exists():
            ended = run(shared / name)
            assert ended.code == 0, ended.said
            record.write_text(json.dumps(asdict(ended)))
    return shared / name, Ended(**json.loads(record.read_text()))

"""Fixtures that several files share."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import pytest
from filelock import FileLock

from tests.deprecations import own_deprecations
from tests.forks import FOLDER, Command, Ended, Forks, forking
from tests.tiny import tiny_lm
from tests.whole_runs import ARGUMENTS

# Tables are as wide as this says, where something says it: pytest-xdist does, and shells that export it.
os.environ.pop("COLUMNS", None)


LONGEST = (
    "test_real_model",
    "test_cluster",
    "test_families",
    "test_terminal",
    "test_documented_commands",
    "test_kill",
    "test_processes",
    "test_footprint",
    "test_full_disk",
    "test_runner",
    "test_determinism",
    "test_sharing",
    "test_harness",
    "test_select",
    "test_several_models",
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
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what is made once and read by all processes of pytest-xdist; made under a lock beside it."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def whole_run(forks: Forks, shared: Path) -> tuple[Path, Ended]:
    """The working directory of a run that nothing happened to, and how it ended; to be read only."""
    folder, record = shared / "whole", shared / "whole.json"
    with FileLock(shared / "whole.lock"):
        if not record.exists():
            folder.mkdir()
            (ended,) = forks.run(Command(ARGUMENTS, str(folder)))
            assert ended.code == 0, ended.said
            record.write_text(json.dumps(asdict(ended)))
    return folder, Ended(**json.loads(record.read_text()))

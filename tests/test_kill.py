"""A run that is killed at any moment and started again comes to the numbers of one that was let alone."""

from __future__ import annotations

import os
import random
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.forks import Command, Ended, Forks
from tests.whole_runs import ARGUMENTS, GRID, check_equal, faults, numbers

pytestmark = pytest.mark.slow

SEEDS = f"run --methods caa,fewshot {GRID} --directions pos --seeds 2 --resample pairs --out out".split()
"""Two methods that are fitted twice, on pairs drawn anew."""

MOST = 5.0
"""Seconds within which a signal must end a command."""


@dataclass
class Killer:
    """Kills runs at random moments, starting each again until it ends.

    Attributes:
        forks: where they run.
        whole: the working directory of a run that was let alone.
        seconds: how long it took.
        arguments: its command.
        moments: seconds after their start at which runs were killed.
        ended: how many runs came through.
    """

    forks: Forks
    whole: Path
    seconds: float
    arguments: list[str] = field(default_factory=lambda: ARGUMENTS)
    moments: list[float] = field(default_factory=list)
    ended: int = 0

    def kill(self, times: int, seed: int, place: Path) -> None:
        """Kills so often, in as many runs as that takes; each must come to the right numbers."""
        moments = random.Random(seed)
        while len(self.moments) < times:
            folder = place / f"run-{self.ended}"
            folder.mkdir(parents=True)
            while True:
                after = moments.uniform(0.0, self.seconds) if len(self.moments) < times else None
                (ended,) = self.forks.run(Command(self.arguments, str(folder), after=after))
                if ended.code != -signal.SIGKILL:
                    break
                assert after is not None
                self.moments.append(after)
                # What stands under its own name is whole at every moment; only the run's last rows may be cut off.
                assert [fault for fault in faults(folder) if "cut off" not in fault] == []
            assert ended.code == 0, ended.said
            check_equal(folder, self.whole)
            self.ended += 1


@pytest.fixture(scope="module")
def killer(forks: Forks, whole_run: tuple[Path, Ended]) -> Killer:
    place, ended = whole_run
    # On a busy machine the first run takes long; resumed ones, of which less is left, would then seldom be met.
    return Killer(forks, place, min(ended.seconds, 4.0))


@pytest.mark.timeout(300)
def test_a_run_killed_at_twelve_random_moments_comes_to_the_same_numbers(killer: Killer, tmp_path: Path) -> None:
    killer.kill(12, seed=0, place=tmp_path)


@pytest.mark.timeout(300)
def test_a_run_by_two_seeds_killed_at_random_moments_comes_to_the_same_numbers(forks: Forks, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    (ended,) = forks.run(Command(SEEDS, str(whole)))
    assert ended.code == 0, ended.said
    assert [row["fits"] and row["fits"]["seeds"] for row in numbers(whole / "out")] == [None, [0, 1], [0, 1]]
    Killer(forks, whole, ended.seconds, SEEDS).kill(2, seed=2, place=tmp_path / "killed")


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_kills_soak(forks: Forks, whole_run: tuple[Path, Ended], tmp_path: Path) -> None:
    times, seed = int(os.environ.get("SOAK_KILLS", "200")), int(os.environ.get("SOAK_SEED", "1"))
    killer = Killer(forks, whole_run[0], whole_run[1].seconds)
    killer.kill(times, seed, tmp_path)
    shares = sorted(moment / killer.seconds for moment in killer.moments)
    print(f"\n{times} kills (seed {seed}) over {killer.ended} runs of {killer.seconds:.1f} s: every run ended with the")
    print(f"numbers of an uninterrupted one. Moments: {shares[0]:.0%} to {shares[-1]:.0%} of it,", end=" ")
    print(f"median {statistics.median(shares):.0%}.")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_within_seconds_and_names_the_command_that_goes_on(
    number: int, forks: Forks, whole_run: tuple[Path, Ended], tmp_path: Path
) -> None:
    place, whole = whole_run
    for share in (0.03, 0.2, 0.4, 0.6, 0.8, 0.97):
        command = Command(ARGUMENTS, str(tmp_path), after=share * whole.seconds, signal=number)
        (ended,) = forks.run(command)
        if ended.code == 0:  # what earlier rounds have done is not done again
            break
        assert ended.code == 130, ended.said
        assert ended.lingered < MOST
        assert ended.complaints == [
            f"compare: interrupted; what is done is kept. To go on: compare {' '.join(ARGUMENTS)}"
        ]
        assert "Traceback" not in ended.said
    (ended,) = forks.run(Command(ARGUMENTS, str(tmp_path)))
    assert ended.code == 0
    check_equal(tmp_path, place)


def test_a_signal_that_comes_as_the_command_begins_is_one_too() -> None:
    program = (
        "import os, signal, tempfile\n"
        "make = tempfile.TemporaryFile\n"
        "def signalled(*given, **more):\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    return make(*given, **more)\n"
        "tempfile.TemporaryFile = signalled\n"
        "from comparisons.cli import main\n"
        "main(['methods'])\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (130, "")
    assert ended.stderr == "compare: interrupted; what is done is kept. To go on: compare methods\n"


def test_a_run_that_does_not_heed_the_signal_is_ended(forks: Forks, tmp_path: Path) -> None:
    (tmp_path / "deaf.py").write_text(
        "import time\nfrom dataclasses import dataclass\nfrom comparisons.method import *\n\n"
        "@dataclass(frozen=True)\nclass Deaf(Method):\n    '''Swallows what ends a process.'''\n"
        "    def fit(self, fit):\n        open('asleep', 'w').close()\n"
        "        while True:\n            try:\n                time.sleep(60)\n"
        "            except BaseException:\n                pass\n"
        "    def intervene(self, use):\n        return Intervention()\n"
    )
    arguments = "run --behavior refusal --methods deaf --knowledge none --test-items 2 --plugins . --fresh --out out"
    (pid,) = forks.start(Command(arguments.split(), str(tmp_path)))
    while not (tmp_path / "asleep").exists():
        time.sleep(0.05)
    os.kill(pid, signal.SIGTERM)
    asked = time.monotonic()
    (ended,) = forks.ended()
    assert (ended.code, time.monotonic() - asked < MOST) == (130, True)
    # What --fresh was to discard was gone by then: once is enough.
    assert ended.complaints[0].endswith(f"To go on: compare {arguments.replace(' --fresh', '')}")


def test_a_second_signal_ends_a_command_at_once(forks: Forks, tmp_path: Path) -> None:
    do = "(sleep 0.5; kill -INT $PPID; sleep 0.2; kill -INT $PPID) > /dev/null 2>&1 &"
    ignoring = (
        "import time\ntry:\n    time.sleep(60)\nexcept BaseException:\n    time.sleep(60)\n"  # as a slow clean-up is
    )
    (tmp_path / "slow.py").write_text(ignoring)
    (ended,) = forks.run(Command(["methods", "--plugins", "."], str(tmp_path), do=do))
    assert ended.code == 130
    assert ended.seconds < 2.5

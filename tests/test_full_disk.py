"""A disk that refuses ends a run with one line; nothing half is taken for whole, and the same command goes on."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.forks import Command, Ended, Forks
from tests.whole_runs import ARGUMENTS, check_equal, contents, faults

pytestmark = pytest.mark.slow

ROOM = (0, 1, 100, 1000, 3000)
"""Bytes that still fit when a write is cut off."""


def check_refused(ended: Ended, folder: Path) -> None:
    """Asserts that a run ended by a fault of the disk ended as it should."""
    assert ended.code == 1, ended.said
    assert len(ended.errors.strip().splitlines()) == len(ended.complaints) == 1, ended.said
    # Only what the run was appending may be cut off.
    assert [fault for fault in faults(folder) if "cut off" not in fault] == []


@pytest.mark.timeout(300)
def test_a_disk_that_is_full_from_some_write_on(forks: Forks, whole_run: tuple[Path, Ended], tmp_path: Path) -> None:
    place, generator = whole_run[0], random.Random(0)
    shutil.copytree(place / "out", tmp_path / "earlier")
    earlier = contents(tmp_path / "earlier")
    # Each round gets further than the last, since what was done is kept.
    for number in (0, 1, 2, 4, 6, 9, 13, 18, 24, 30):
        room = generator.choice(ROOM)
        faulty: list[dict[str, Any]] = [{"refuse": number}, {"short": number, "room": room}]
        for fault in faulty:
            (ended,) = forks.run(Command(ARGUMENTS, str(tmp_path), **fault))
            if ended.code == 0 and ended.writes <= number:
                break
            check_refused(ended, tmp_path)
    (ended,) = forks.run(Command(ARGUMENTS, str(tmp_path)))
    assert ended.code == 0
    check_equal(tmp_path, place)
    assert contents(tmp_path / "earlier") == earlier


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("fault", ["refuse", "short"])
def test_full_disks_soak(fault: str, forks: Forks, whole_run: tuple[Path, Ended], tmp_path: Path) -> None:
    generator, (place, whole) = random.Random(2), whole_run
    numbers = range(0, whole.writes, int(os.environ.get("SOAK_WRITES", "3")))
    for number in numbers:
        folder = tmp_path / f"{fault}-{number}"
        folder.mkdir()
        room = generator.choice(ROOM)
        faulty: dict[str, Any] = {"refuse": number} if fault == "refuse" else {"short": number, "room": room}
        check_refused(forks.run(Command(ARGUMENTS, str(folder), **faulty))[0], folder)
        (ended,) = forks.run(Command(ARGUMENTS, str(folder)))
        assert ended.code == 0, ended.said
        check_equal(folder, place)
        shutil.rmtree(folder)
    print(f"\n{len(numbers)} runs on a disk that was full from one of {whole.writes} writes on ({fault}): all went on.")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """A folder with a file system of its own in memory, and a process whose namespaces it is mounted in."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    script = f"mount -t tmpfs -o size=150k none {folder}"
    if shutil.which("unshare") is None or subprocess.run([*mount, script], capture_output=True).returncode:
        pytest.skip("mounting a file system in a namespace of one's own is not allowed here")
    command = [*mount, f"{script} && echo mounted && cat"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holding:
        assert holding.stdin is not None and holding.stdout is not None
        holding.stdout.readline()
        yield holding.pid, folder
        holding.stdin.close()


@pytest.mark.timeout(300)
def test_a_real_disk_that_is_full_or_read_only(
    small_disk: tuple[int, Path], forks: Forks, whole_run: tuple[Path, Ended]
) -> None:
    holding, folder = small_disk
    inside = Path(f"/proc/{holding}/root{folder}")

    def run(do: str = "") -> Ended:
        (ended,) = forks.run(Command(ARGUMENTS, str(folder), do=do, within=holding))
        return ended

    ended = run()
    check_refused(ended, inside)
    assert "No space left on device" in ended.said
    check_refused(run("mount -o remount,ro,size=50m ."), inside)
    ended = run("mount -o remount,rw .")
    assert ended.code == 0, ended.said
    check_equal(inside, whole_run[0])


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("do", "share"), [("rm -rf out", 0.6), ("rm -rf checkpoints", 0.4), ("mv out o; mkdir out", 0.8)]
)
def test_a_folder_that_is_removed_under_a_run(
    do: str, share: float, forks: Forks, whole_run: tuple[Path, Ended], tmp_path: Path
) -> None:
    place, whole = whole_run
    (ended,) = forks.run(Command(ARGUMENTS, str(tmp_path), do=do, at=int(share * whole.writes)))
    assert ended.code in (0, 1), ended.said
    assert "Traceback" not in ended.said
    if ended.code:
        check_refused(ended, tmp_path)
    (ended,) = forks.run(Command(ARGUMENTS, str(tmp_path)))
    assert ended.code == 0, ended.said
    check_equal(tmp_path, place)

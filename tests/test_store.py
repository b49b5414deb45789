"""Artifacts are fitted once, whole or not at all, and never used damaged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from comparisons.util.artifacts import MANIFEST, Artifact, Store


def fit_counting(store: Store, calls: list[int], parts: dict[str, object]) -> Artifact:
    def fit(out: Path) -> None:
        calls.append(1)
        (out / "inner").mkdir()
        (out / "inner" / "vector.bin").write_bytes(b"\x01" * 100)

    return store.get("made", parts, fit)


def test_an_artifact_is_fitted_once_a_key(tmp_path: Path) -> None:
    store, calls = Store(tmp_path), list[int]()
    first = fit_counting(store, calls, {"seed": 0})
    again = fit_counting(store, calls, {"seed": 0})
    other = fit_counting(store, calls, {"seed": 1})
    assert len(calls) == 2
    assert (first.reused, again.reused, other.reused) == (False, True, False)
    assert again.path == first.path != other.path
    assert again.seconds == first.seconds


@pytest.mark.parametrize("name", ["inner/vector.bin", MANIFEST])
def test_a_damaged_artifact_is_fitted_again(tmp_path: Path, name: str) -> None:
    store, calls = Store(tmp_path), list[int]()
    path = fit_counting(store, calls, {"seed": 0}).path / name
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], bytes([whole[0] ^ 1]) + whole[1:]):
        path.write_bytes(damaged)
        before = len(calls)
        fit_counting(store, calls, {"seed": 0})
        assert len(calls) == before + 1
        assert (path.parent / path.name).read_bytes()


def test_a_fit_that_raises_leaves_nothing(tmp_path: Path) -> None:
    def fit(out: Path) -> None:
        (out / "half").write_text("half")
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError):
        Store(tmp_path).get("made", {}, fit)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


def test_two_processes_fit_once(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from comparisons.util.artifacts import Store\n"
        "def fit(out):\n"
        "    time.sleep(0.5); (out / 'x').write_text('x')\n"
        "    with open(sys.argv[1] + '/fits', 'a') as file: file.write('fit\\n')\n"
        "Store(Path(sys.argv[1]) / 'store').get('made', {'a': 1}, fit)\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert (tmp_path / "fits").read_text() == "fit\n"

"""A run's folder keeps whole cells and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from comparisons.results.cells import CELLS, CHOICES, CHOSEN, RESULTS, CellStore, cell_path, read_rows
from comparisons.results.folder import RUN, SUMMARY, RunFolder, run_faults
from comparisons.results.identity import CellId
from comparisons.util.errors import CompareError, StorageError
from tests.whole_runs import contents

A, B, C = (CellId(name) for name in "abc")
ROWS = [{"item": "test/0", "p_match": 0.25}, {"item": "test/1", "p_match": 0.5}]


def filled(path: Path) -> RunFolder:
    folder = RunFolder(path, "digest")
    folder.commit(A, ROWS, {"layer": 1})
    folder.commit(B, ROWS[:1], {"layer": None})
    folder.write(RUN, {"digest": "digest"})
    return folder


def test_rows_come_back_by_cell_after_reopening(tmp_path: Path) -> None:
    filled(tmp_path).close()
    folder = RunFolder(tmp_path, "digest")
    assert folder.rows("a/baseline") == ROWS
    assert folder.rows("b/baseline") == ROWS[:1]
    assert folder.done("a/baseline") and not folder.done("c/baseline")


def test_a_failed_cell_is_not_done_and_can_be_replaced(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "digest")
    folder.commit(A, [], {"error": "broken"})
    assert not folder.done("a/baseline")
    folder.commit(A, ROWS, {})
    folder.close()
    assert RunFolder(tmp_path, "digest").rows("a/baseline") == ROWS


def test_every_cut_of_a_cells_file_drops_it_and_no_other(tmp_path: Path) -> None:
    filled(tmp_path / "whole").close()
    whole = cell_path(tmp_path / "whole", B).read_bytes()
    for size in range(len(whole)):
        place = shutil.copytree(tmp_path / "whole", tmp_path / str(size))
        cell_path(place, B).write_bytes(whole[:size])
        assert run_faults(place) == [
            f"{place}: cells/{B.digest}.jsonl is damaged: the run's command runs its cell again."
        ]
        folder = RunFolder(place, "digest")
        assert list(folder.entries) == ["a/baseline"] and folder.rows("a/baseline") == ROWS
        assert not cell_path(place, B).exists()
        folder.commit(B, ROWS[:1], {})
        assert folder.rows("b/baseline") == ROWS[:1]
        folder.close()


def test_a_changed_byte_drops_its_cell_and_no_other(tmp_path: Path) -> None:
    filled(tmp_path).close()
    data = bytearray(cell_path(tmp_path, A).read_bytes())
    data[-5] ^= 1
    cell_path(tmp_path, A).write_bytes(bytes(data))
    folder = RunFolder(tmp_path, "digest")
    assert list(folder.entries) == ["b/baseline"]
    assert folder.rows("b/baseline") == ROWS[:1]
    folder.close()
    assert list(RunFolder(tmp_path, "digest").entries) == ["b/baseline"]


def test_results_are_made_of_the_cells_in_the_order_in_which_they_were_written(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "digest")
    folder.commit(A, [], {"error": "broken"})
    for cell in (C, B, A):
        folder.commit(cell, [{"cell": str(cell)}], {})
    folder.close()
    expected = "".join(f'{{"cell": "{cell}"}}\n' for cell in (C, B, A))
    assert (tmp_path / RESULTS).read_text() == expected
    folder = RunFolder(tmp_path, "digest")
    folder.write(SUMMARY, {"rows": []})
    (tmp_path / RESULTS).write_text(expected + "\n")
    assert run_faults(tmp_path)[0].startswith(f"{tmp_path}: {RESULTS} is damaged")
    # What was made of the cells before is no longer theirs once one changes.
    folder.amend("b/baseline", {"layer": 1})
    assert not (tmp_path / RESULTS).exists() and run_faults(tmp_path) == []
    folder.close()
    assert (tmp_path / RESULTS).read_text() == expected


def test_what_was_finished_is_not_any_more_once_a_cell_is_dropped(tmp_path: Path) -> None:
    folder = filled(tmp_path)
    folder.write(SUMMARY, {"rows": []})
    folder.close()
    path = cell_path(tmp_path, A)
    path.write_bytes(path.read_bytes().replace(b'"layer": 1', b'"layer": 2'))
    folder = RunFolder(tmp_path, "digest")
    assert list(folder.entries) == ["b/baseline"]
    assert not (tmp_path / SUMMARY).exists()


def test_a_file_of_another_run_or_cell_is_named_and_removed(tmp_path: Path) -> None:
    filled(tmp_path / "run").close()
    other = CellStore(tmp_path, "other")
    (tmp_path / CELLS).mkdir()
    other.commit(C, ROWS, {})
    cell_path(tmp_path, C).rename(cell_path(tmp_path / "run", C))
    copied = tmp_path / "run" / CELLS / "0123456789abcdef.jsonl"
    copied.write_bytes(cell_path(tmp_path / "run", A).read_bytes())
    assert [fault.split(": ")[1] for fault in run_faults(tmp_path / "run")] == [
        f"cells/{copied.name} is damaged",
        f"cells/{C.digest}.jsonl, which is of another run, is damaged",
    ]
    with pytest.raises(CompareError, match=r"cells/0123456789abcdef.jsonl is damaged: the run's command"):
        read_rows(tmp_path / "run")
    assert list(RunFolder(tmp_path / "run", "digest").entries) == ["a/baseline", "b/baseline"]
    assert run_faults(tmp_path / "run") == []


def test_cells_of_another_run_are_not_taken_where_the_runs_own_file_is_lost(tmp_path: Path) -> None:
    filled(tmp_path).close()
    (tmp_path / RUN).write_text("{")
    before = contents(tmp_path)
    with pytest.raises(CompareError, match=r"another run, whose run.json is lost"):
        RunFolder(tmp_path, "other")
    assert contents(tmp_path) == before
    assert sorted(RunFolder(tmp_path, "digest").entries) == ["a/baseline", "b/baseline"]


def test_choices_outlive_a_damage_to_either_of_their_places(tmp_path: Path) -> None:
    folder = filled(tmp_path)
    record = {"behavior": "b", "chosen": {"layer": 3}}
    folder.add_choice("key", record)
    folder.close()
    whole = (tmp_path / CHOICES).read_bytes()
    (tmp_path / CHOICES).write_bytes(whole[:20])
    folder = RunFolder(tmp_path, "digest")
    assert folder.choice("key", "b") == {"key": "key", **record}
    folder.close()
    (tmp_path / RESULTS).unlink()
    RunFolder(tmp_path, "digest").close()
    assert (tmp_path / CHOICES).read_bytes() == whole
    (chosen,) = (tmp_path / CHOSEN).iterdir()
    chosen.write_bytes(chosen.read_bytes()[:50])
    assert RunFolder(tmp_path, "digest").choice("key", "b") == {"key": "key", **record}


def test_a_file_that_was_put_in_a_cells_place_under_the_run_is_not_taken_for_it(tmp_path: Path) -> None:
    folder = filled(tmp_path)
    for data in (b"of somebody else", cell_path(tmp_path, A).read_bytes().replace(b"0.25", b"0.75")):
        cell_path(tmp_path, A).write_bytes(data)
        with pytest.raises(StorageError, match="was replaced or changed"):
            folder.rows("a/baseline")
        with pytest.raises(StorageError, match="was replaced or changed"):
            folder.derive()


def test_another_specification_is_refused_and_fresh_discards_it(tmp_path: Path) -> None:
    filled(tmp_path).close()
    with pytest.raises(CompareError, match="another specification"):
        RunFolder(tmp_path, "other")
    assert RunFolder(tmp_path, "other", fresh=True).entries == {}


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    folder = filled(tmp_path)
    with pytest.raises(CompareError, match="another process"):
        RunFolder(tmp_path, "digest")
    folder.close()
    RunFolder(tmp_path, "digest").close()


def test_a_file_in_the_folders_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CompareError, match="is a file"):
        RunFolder(tmp_path / "file", "digest")


@pytest.mark.parametrize("place", ["/dev/null/run", "/proc/run"])
def test_a_folder_that_cannot_be_made_is_refused(place: str) -> None:
    with pytest.raises(CompareError, match="can't be written"):
        RunFolder(Path(place), "digest")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder in which nothing can be made")
def test_a_place_where_no_folder_can_be_made_is_a_users_mistake() -> None:
    with pytest.raises(CompareError, match="no folder can be made at /proc/run") as raised:
        RunFolder(Path("/proc/run"), "0123abcd")
    assert not isinstance(raised.value, StorageError)  # of which a command ends with code 1

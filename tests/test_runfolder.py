"""A run's folder keeps whole cells and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from comparisons.results.cellfiles import JOURNAL, RESULTS
from comparisons.results.folder import CHOICES, RUN, SUMMARY, RunFolder
from comparisons.util.errors import CompareError, StorageError

ROWS = [{"item": "test/0", "p_match": 0.25}, {"item": "test/1", "p_match": 0.5}]


def filled(path: Path) -> RunFolder:
    folder = RunFolder(path, "digest")
    folder.commit("a", ROWS, {"layer": 1})
    folder.commit("b", ROWS[:1], {"layer": None})
    folder.write(RUN, {"digest": "digest"})
    return folder


def test_rows_come_back_by_cell_after_reopening(tmp_path: Path) -> None:
    filled(tmp_path).close()
    folder = RunFolder(tmp_path, "digest")
    assert folder.rows("a") == ROWS
    assert folder.rows("b") == ROWS[:1]
    assert folder.done("a") and not folder.done("c")


def test_a_failed_cell_is_not_done_and_can_be_replaced(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "digest")
    folder.commit("a", [], {"error": "broken"})
    assert not folder.done("a")
    folder.commit("a", ROWS, {})
    folder.close()
    assert RunFolder(tmp_path, "digest").rows("a") == ROWS


def test_every_cut_of_the_journal_and_the_results_keeps_only_whole_cells(tmp_path: Path) -> None:
    filled(tmp_path / "whole").close()
    whole = {name: (tmp_path / "whole" / name).read_bytes() for name in (RESULTS, JOURNAL)}
    for name in (RESULTS, JOURNAL):
        for size in range(len(whole[name])):
            place = tmp_path / f"{name}-{size}"
            place.mkdir()
            for other, data in whole.items():
                (place / other).write_bytes(data[:size] if other == name else data)
            folder = RunFolder(place, "digest")
            for cell in folder.entries:
                assert folder.rows(cell) == (ROWS if cell == "a" else ROWS[:1])
            assert "b" not in folder.entries
            folder.commit("b", ROWS[:1], {})
            assert folder.rows("b") == ROWS[:1]
            folder.close()


def test_a_changed_byte_of_the_results_drops_its_cell_and_no_other(tmp_path: Path) -> None:
    filled(tmp_path).close()
    data = bytearray((tmp_path / RESULTS).read_bytes())
    data[3] ^= 1
    (tmp_path / RESULTS).write_bytes(bytes(data))
    folder = RunFolder(tmp_path, "digest")
    assert list(folder.entries) == ["b"]
    assert folder.rows("b") == ROWS[:1]
    assert (tmp_path / RESULTS).read_text().count("\n") == 1
    folder.close()
    assert list(RunFolder(tmp_path, "digest").entries) == ["b"]


def test_what_was_finished_is_not_any_more_once_a_cell_is_dropped(tmp_path: Path) -> None:
    folder = filled(tmp_path)
    folder.write(SUMMARY, {"rows": []})
    folder.close()
    lines = (tmp_path / JOURNAL).read_bytes().splitlines(keepends=True)
    (tmp_path / JOURNAL).write_bytes(lines[0].replace(b'"layer": 1', b'"layer": 2') + lines[1])
    folder = RunFolder(tmp_path, "digest")
    assert list(folder.entries) == ["b"]
    assert not (tmp_path / SUMMARY).exists()


def test_cells_of_another_run_are_not_taken_where_the_runs_own_file_is_lost(tmp_path: Path) -> None:
    filled(tmp_path).close()
    (tmp_path / RUN).write_text("{")
    before = (tmp_path / RESULTS).read_bytes()
    with pytest.raises(CompareError, match=r"another run, whose run.json is lost"):
        RunFolder(tmp_path, "other")
    assert (tmp_path / RESULTS).read_bytes() == before
    assert sorted(RunFolder(tmp_path, "digest").entries) == ["a", "b"]


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
    assert (tmp_path / CHOICES).read_bytes() == whole
    journal = (tmp_path / JOURNAL).read_bytes().splitlines(keepends=True)
    (tmp_path / JOURNAL).write_bytes(b"".join(journal[:2]))
    assert RunFolder(tmp_path, "digest").choice("key", "b") == {"key": "key", **record}


@pytest.mark.parametrize("name", [RESULTS, JOURNAL])
def test_files_that_were_put_in_the_place_of_a_runs_own_are_not_written_to(tmp_path: Path, name: str) -> None:
    folder = filled(tmp_path)
    (tmp_path / name).rename(tmp_path / "moved")
    (tmp_path / name).write_bytes(b"of somebody else")
    with pytest.raises(StorageError, match="was replaced or cut"):
        folder.commit("c", ROWS, {})
    assert (tmp_path / name).read_bytes() == b"of somebody else"


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

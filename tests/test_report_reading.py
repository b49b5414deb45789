"""A run folder as the report reads it: what is broken, or none, is said in a line."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from comparisons.report import render
from comparisons.results.folder import read_summary
from comparisons.util.errors import CompareError
from tests.made_runs import CHOICES, PLAIN, SMALL, make_run


class TestReading:
    def complaint(self, folder: Path) -> str:
        with pytest.raises(CompareError) as raised:
            render(folder)
        message = str(raised.value)
        assert "\n" not in message
        return message

    def test_rows_survive_the_round_trip(self, tmp_path: Path) -> None:
        assert read_summary(make_run(tmp_path)).rows == SMALL

    def test_a_folder_that_is_missing_no_run_or_unfinished(self, tmp_path: Path) -> None:
        assert "name a folder that `compare run` has written" in self.complaint(tmp_path / "nowhere")
        assert "is not a run" in self.complaint(tmp_path)
        (tmp_path / "run.json").write_text("{}")
        assert "has not ended" in self.complaint(tmp_path)

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("summary.json", '{"rows": ['),
            ("summary.json", "[]"),
            ("summary.json", '{"rows": []}'),
            ("run.json", "nonsense"),
            ("run.json", "[]"),
            ("run.json", '{"notes": 3}'),
            ("choices.json", '{"choices": 3}'),
            ("choices.json", '{"choices": [{"behavior": "refusal"}]}'),
        ],
    )
    def test_a_broken_file_is_named(self, tmp_path: Path, name: str, text: str) -> None:
        make_run(tmp_path)
        (tmp_path / name).write_text(text)
        assert name in self.complaint(tmp_path)
        assert not (tmp_path / "report.md").exists()

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("shift", float("nan")),
            ("shift", "0.3"),
            ("shift_ci", [0.1]),
            ("layer", 1.5),
            ("status", "fine"),
            ("direction", "up"),
            ("behavior", None),
            ("odd", 1),
        ],
    )
    def test_a_wrong_field_is_named(self, tmp_path: Path, field: str, value: Any) -> None:
        make_run(tmp_path)
        rows = [asdict(row) for row in SMALL]
        rows[1][field] = value
        (tmp_path / "summary.json").write_text(json.dumps({"rows": rows}))
        message = self.complaint(tmp_path)
        assert "row 2" in message
        assert f"'{field}'" in message

    def test_rendering_loads_neither_torch_nor_transformers(self, tmp_path: Path) -> None:
        code = (
            "import sys; from pathlib import Path; import comparisons.report, comparisons.report.terminal\n"
            "assert not {'torch', 'numpy', 'matplotlib', 'rich'} & set(sys.modules)\n"
            f"comparisons.report.render(Path({str(make_run(tmp_path, choices=CHOICES, intervention=PLAIN))!r}))\n"
            "assert not {'torch', 'transformers', 'matplotlib.pyplot'} & set(sys.modules)\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

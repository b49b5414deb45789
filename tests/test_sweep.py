"""Sweeps by the command line on a tiny model: numbers, resuming, mistakes, the report."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from comparisons.cli import execute as run
from comparisons.dataset.behaviors import Library
from comparisons.engine.choices import choice_logps
from comparisons.evaluation.questions import questions
from comparisons.experiment.fitting import Fitter
from comparisons.experiment.specification import Element, Specification
from comparisons.method.registry import Registry
from comparisons.method.settings import parse_settings
from comparisons.model.loading import load
from comparisons.model.source import ModelSource
from comparisons.report.sweep import grids
from comparisons.results.folder import read_summary
from comparisons.running.estimate import estimate
from comparisons.running.sweeps import sweep_specification
from comparisons.util.artifacts import Store
from tests.forks import Command, Forks
from tests.places import fact, make_place, tokens_run, write
from tests.whole_runs import cell_files

pytestmark = pytest.mark.slow

LAYERED = """from dataclasses import dataclass
from comparisons.method import *

@dataclass(frozen=True)
class Push(Method):
    \"\"\"Push one block's output along a fixed direction.\"\"\"

    layer: int = 0
    fits = "never"

    def intervene(self, use: Use) -> Intervention:
        import torch

        if self.layer == 2:
            raise ValueError("no push here")
        return Intervention(edits=(Edit(self.layer, torch.ones(64), multiplier=use.signed),))
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Data with one behavior and knowledge questions, and an empty folder to work in."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    found = make_place(tmp_path)
    prompts = {"system_prompts": {"pos": "You take what is offered.", "neg": "You take nothing at all."}}
    write(found / "generate/greeting/behavior.json", prompts)
    write(found / "test/mmlu/mmlu.json", [fact(index) for index in range(6)])
    return found


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "push.py").write_text(LAYERED)
    return folder


def command(place: Path, model: str, *rest: str) -> list[str]:
    return ["sweep", "--behavior", "greeting", "--data", str(place), "--model", model, *rest]


def rows_of(folder: str) -> dict[str, dict[str, Any]]:
    return {row["cell"]: row for row in json.loads(Path(folder, "summary.json").read_text())["rows"]}


def numbers(folder: str) -> dict[str, dict[str, Any]]:
    found = rows_of(folder)
    return {
        cell: {name: value for name, value in row.items() if not name.endswith(("_seconds", "_bytes", "tokens_run"))}
        for cell, row in found.items()
    }


def assert_equal(left: dict[str, dict[str, Any]], right: dict[str, dict[str, Any]]) -> None:
    """The same cells in the same order, floats to 1e-6."""
    assert list(left) == list(right)
    for cell, row in right.items():
        for name, value in row.items():
            if isinstance(value, (float, list)):
                assert left[cell][name] == pytest.approx(
                    value, abs=1e-5 if name.startswith(("content", "letter")) else 1e-6
                ), (
                    cell,
                    name,
                )
            else:
                assert left[cell][name] == value, (cell, name)


MISTAKES = {
    "": "takes all, A-B or N",
    "x": "takes all, A-B or N",
    "1.5": "takes all, A-B or N",
    "-1": "takes all, A-B or N",
    "1-": "takes all, A-B or N",
    "0-1,,2": "takes all, A-B or N",
    "3-1": "--layers 3-1 runs backwards: write 1-3",
    "4": "layer 4 is out of range",
    "0-4": "has layers 0 to 3",
    "all,9": "layer 9 is out of range",
}


@pytest.mark.parametrize("layers", MISTAKES)
def test_bad_layers_get_one_line_and_write_nothing(
    layers: str, place: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command(place, model, "--layers", layers)) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and MISTAKES[layers] in captured.err
    assert captured.out == "" and list(Path.cwd().iterdir()) == []


OTHERS = {
    "nothing to sweep": (["--methods", "sysprompt"], "none of sysprompt has a setting 'layer'"),
    "the swept setting": (["--set", "caa.layer=1"], "use --layers"),
    "split": (["--split", "train"], "train"),
    "too few pairs": (["--train-items", "10"], "sweep on test"),
    "strength": (["--strengths", "-1"], "at least 0"),
    "method": (["--methods", "cca"], "unknown method 'cca'"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_mistakes_get_one_line_and_write_nothing(
    name: str, place: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    extra, line = OTHERS[name]
    assert run(command(place, model, "--layers", "all", *extra)) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and line in captured.err
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize(
    ("text", "expected"), [("all", (0, 1, 2, 3)), ("2", (2,)), ("0-1,3", (0, 1, 3)), ("1, 1-2,1", (1, 2))]
)
def test_layers_are_the_union_of_their_parts(text: str, expected: tuple[int, ...], model: str) -> None:
    spec = sweep_specification(Specification(ModelSource(model), stacks=("caa",)), text)
    assert spec.layers == expected


def test_without_stacks_is_swept_what_says_so(model: str, plugins: Path) -> None:
    spec = Specification(ModelSource(model), plugins=plugins)
    assert sweep_specification(spec, "all").stacks == ("caa",)
    push = plugins / "push.py"
    push.write_text(push.read_text().replace('fits = "never"', 'fits, swept = "never", True'))
    assert set(sweep_specification(spec, "all").stacks) == {"caa", "push"}


def test_a_sweep_end_to_end(place: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = command(place, model, "--layers", "all", "--strengths", "0,0.5,2", "--out", "out")
    sweep += ["--methods", "caa,sysprompt", "--knowledge", "mmlu"]
    assert run(sweep) == 0
    shown = capsys.readouterr().out
    rows = rows_of("out")
    assert len(rows) == 1 + 4 * 3 * 2 + 2
    assert {row["status"] for row in rows.values()} == {"done"}
    # 20 pairs leave 8 for dev; the 6 test questions are not asked.
    assert {row["n_items"] for row in rows.values()} == {8}
    assert rows["greeting/caa[caa.layer=3]/neg/0.5"]["layer"] == 3
    assert all(row["shift"] == 0 for cell, row in rows.items() if cell.endswith("/0"))
    assert json.loads(Path("out/run.json").read_text())["specification"]["split"] == "dev"
    # The terminal shows the best settings only.
    assert shown.startswith("Behaviors: ") and len(shown.splitlines()) < 15 and "report: out/report.md" in shown
    report = Path("out/report.md").read_text()
    assert "They are the dev split" in report and "| greeting | caa | neg |" in report
    assert {p.name for p in Path("out/figures").iterdir()} == {"sweep.png", "sweep-layers.png", "sweep-cost.png"}
    before = {path: path.read_bytes() for path in [Path("out/report.md"), *Path("out/figures").iterdir()]}
    assert run(["report", "out"]) == 0
    assert {path: path.read_bytes() for path in before} == before


def test_a_cell_equals_its_own_evaluation_on_the_same_items(place: Path, model: str) -> None:
    grid = ["--layers", "1-3", "--strengths", "0.5,1.5", "--methods", "caa"]
    assert run(command(place, model, *grid, "--measure", "letters", "--out", "out")) == 0
    lm, behavior = load(ModelSource(model)), Library.open(place).behavior("greeting").with_dev(0)
    method = parse_settings(Registry(None).get("caa"), {"layer": "2"})
    bench = Fitter(lm, behavior, {}, Store(Path("own")), 0)
    built = bench.build([Element("caa", method, "neg", 1.5)])
    asked = questions(behavior.dev)
    found = choice_logps(lm, [q.shown for q in asked], [built.intervention]).logps[0]
    lines = [json.loads(line) for line in Path("out/results.jsonl").read_text().splitlines()]
    mine = [line for line in lines if line["cell"] == "greeting/caa[caa.layer=2]/neg/1.5"]
    assert [line["item"] for line in mine] == [q.item.id for q in asked]
    assert [line["logp_matching"] for line in mine] == pytest.approx(found[:, 0].tolist(), abs=1e-5)
    assert [line["logp_contrast"] for line in mine] == pytest.approx(found[:, 1].tolist(), abs=1e-5)


def test_a_sweep_on_test_equals_the_run_of_the_same_layers(place: Path, model: str) -> None:
    grid = ["--strengths", "1,50", "--methods", "caa", "--out"]
    assert run(command(place, model, "--layers", "0,2", "--split", "test", *grid, "swept")) == 0
    plain = ["run", *command(place, model)[1:], "--knowledge", "none", "--set", "caa.layer=0,2"]
    assert run([*plain, *grid, "plain"]) == 0
    # A sweep's cells are not compared with each other.
    of_a_run = ("shift_band", "n_clusters", "skewness", "too_few")
    compared = numbers("plain")
    plain_rows = {cell: {k: v for k, v in row.items() if k not in of_a_run} for cell, row in compared.items()}
    assert_equal(numbers("swept"), plain_rows)
    assert any(row["shift_band"] for row in compared.values())
    report = Path("swept/report.md").read_text()
    assert "They are the test questions" in report and "Confirm on test" not in report


def test_a_stack_is_swept_at_its_last_layer_and_a_failure_is_a_cell(
    place: Path, model: str, plugins: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rest = ["--methods", "sysprompt+push,caa", "--plugins", str(plugins), "--layers", "1-2", "--strengths", "0.1"]
    assert run(command(place, model, *rest, "--directions", "pos", "--out", "out")) == 1
    assert "sysprompt+push[push.layer=2]/pos/0.1 failed: ValueError: no push here" in capsys.readouterr().err
    found = {grid.series: grid for grid in grids(read_summary(Path("out")))}
    assert found["sysprompt+push"].layers == (1, 2) and found["sysprompt+push"].multipliers == (0.0, 0.1)
    assert found["sysprompt+push"].values("shift")[1] == [0.0, None]
    assert found["caa"].values("shift")[1][1] is not None


def test_the_maps_array_equals_the_summary(place: Path, model: str) -> None:
    assert (
        run(command(place, model, "--layers", "all", "--strengths", "0.5,2", "--methods", "caa", "--out", "out")) == 0
    )
    rows, (grid,) = rows_of("out"), grids(read_summary(Path("out")))
    assert grid.multipliers == (-2, -0.5, 0, 0.5, 2)
    for layer, values in zip(grid.layers, grid.values("shift"), strict=True):
        head = f"greeting/caa[caa.layer={layer}]"
        keys = [f"{head}/neg/2", f"{head}/neg/0.5", None, f"{head}/pos/0.5", f"{head}/pos/2"]
        assert values == [rows[key]["shift"] if key else 0.0 for key in keys]


def test_a_sweep_without_the_tail_of_its_files_resumes(place: Path, model: str) -> None:
    sweep = command(place, model, "--layers", "all", "--strengths", "1", "--methods", "caa", "--out", "out")
    assert run(sweep) == 0
    whole = numbers("out")
    files = cell_files(Path("out"))
    for path in (Path("out/results.jsonl"), files[-2]):
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.6)])
    files[-1].unlink()
    Path("out/summary.json").unlink()
    assert run(sweep) == 0
    assert_equal(numbers("out"), whole)


def test_a_killed_sweep_resumes_to_the_same_numbers(forks: Forks, place: Path, model: str) -> None:
    sweep = command(place, model, "--layers", "all", "--methods", "caa,sysprompt+caa", "--strengths", "1")
    apart = place / "apart"
    apart.mkdir()
    (whole,) = forks.run(Command([*sweep, "--out", "whole"], str(apart)))
    assert whole.code == 0, whole.said
    resumed = Command([*sweep, "--out", "killed"], str(Path.cwd()))
    (killed,) = forks.run(replace(resumed, do="kill -KILL $PPID", at=int(0.8 * whole.writes)))
    assert killed.code == -signal.SIGKILL, killed.said
    assert 0 < len(list(Path("killed/cells").glob("*.jsonl"))) < len(list((apart / "whole/cells").glob("*.jsonl")))
    (ended,) = forks.run(resumed)
    assert ended.code == 0, ended.said
    assert_equal(numbers("killed"), numbers(str(apart / "whole")))


def test_the_estimate_of_a_sweep_is_a_prefill_a_question_and_its_branches(place: Path, model: str) -> None:
    spec = Specification(ModelSource(model), ("greeting",), ("caa",), place, knowledge="none", split="dev")
    wide = sweep_specification(replace(spec, strengths=(0.0, 0.5, 1.0, 2.0)), "all")
    narrow = sweep_specification(spec, "1")
    expected = estimate(wide)
    assert expected.tokens == pytest.approx(tokens_run(wide), rel=0.1)
    # 25 settings cost their branches more than 3 do, not eight times as much; the fit is the same.
    assert expected.tokens < 2 * estimate(narrow).tokens
    assert "33 cells" in expected.text()

"""`comparisons.run`: the command line's specification, numbers and errors, and tables that a notebook shows."""

from __future__ import annotations

import inspect
import json
import math
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

import comparisons
from comparisons.api.arguments import RunOptions, checked, python_command, run_options
from comparisons.api.run import Result, specification
from comparisons.cli import execute
from comparisons.cli.run import command as run_command
from comparisons.cli.run import sweep as sweep_command
from comparisons.experiment.specification import Specification
from comparisons.judges.free_answers import OpenEnded
from comparisons.results.summary import SummaryRow
from comparisons.running.sweeps import sweep_specification
from tests.places import complaint

SHOWING = {"dry_run", "as_json"}
SMALL = ["--set", "caa.layer=1", "--test-items", "8", "--train-items", "16", "--knowledge", "none"]


def typed(*arguments: str) -> Specification:
    """What the command line makes of options."""
    sweep = "--layers" in arguments
    context = (sweep_command if sweep else run_command).make_context("compare", list(arguments))
    spec = Specification.of(context.params)
    return sweep_specification(spec, context.params["layers"]) if sweep else spec


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = ("torch", "numpy", "pandas", "transformers", "datasets", "matplotlib", "click")
    program = f"import sys, comparisons; print([name for name in {heavy!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


@pytest.mark.parametrize(
    ("given", "spins"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "passive"}, "None")],
    ids=["default", "its own", "a policy"],
)
def test_threads_wait_awake_for_a_short_time_only_unless_the_user_says_how_long(
    given: dict[str, str], spins: str
) -> None:
    kept = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    program = "import comparisons, os; print(os.environ.get('GOMP_SPINCOUNT'))"
    command = [sys.executable, "-c", program]
    found = subprocess.run(command, env=kept | given, capture_output=True, text=True, check=True)
    assert found.stdout == f"{spins}\n"


def test_every_option_is_an_argument_and_every_argument_an_option() -> None:
    options = {p.name for c in (run_command, sweep_command) for p in c.params if isinstance(p, click.Option)}
    assert options - SHOWING == set(inspect.signature(comparisons.run).parameters) - {"progress"}
    assert options - SHOWING == set(run_options())


def test_an_arguments_type_goes_with_the_fields() -> None:
    wider: dict[Any, str] = {
        tuple[str, ...]: "str | Iterable[str]",
        tuple[float, ...]: "float | Iterable[float]",
        Path: "str | Path",
        OpenEnded: "bool",
        **{plain: plain.__name__ for plain in (str, int, float, bool)},
    }
    special = {"model", "settings", "layer", "layers"}
    for name, hint in RunOptions.__annotations__.items():
        option = run_options()[name]
        takes = hint.__forward_arg__.removesuffix(" | None").replace('"', "'")
        expected = wider.get(option.type) or str(option.type).replace("typing.", "")
        assert name in special or takes == expected, name
        assert not option.optional or hint.__forward_arg__.endswith(" | None"), name


def test_help_names_every_argument_with_its_default_and_its_help() -> None:
    parameters = inspect.signature(comparisons.run).parameters
    assert list(parameters)[:2] == ["behavior", "methods"] and parameters["seed"].default == 0
    for name in RunOptions.__annotations__:
        assert f"    {name}: {run_options()[name].option.help}\n" in str(comparisons.run.__doc__)


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        (["--behavior", "refusal", "--methods", "caa"], {"behavior": "refusal", "methods": "caa"}),
        (
            ["--behavior", "refusal,sycophancy", "--methods", "caa,sft:pos+caa", "--strengths", "0.5,2"],
            {"behavior": ["refusal", "sycophancy"], "methods": ["caa", "sft:pos+caa"], "strengths": [0.5, 2]},
        ),
        (
            ["--behavior", "all", "--methods", "caa", "--set", "caa.layer=1,2", "--set", "caa.debias=letter"],
            {"behavior": "all", "methods": "caa", "settings": {"caa.layer": [1, 2], "caa.debias": "letter"}},
        ),
        (
            ["--behavior", "refusal", "--methods", "caa", "--directions", "neg", "--layer", "2", "--data", "place"],
            {"behavior": "refusal", "methods": "caa", "directions": "neg", "layer": 2, "data": Path("place")},
        ),
        (
            ["--behavior", "refusal", "--methods", "caa", "--judge", "rules,local", "--judge-price", "0.1/0.2"],
            {"behavior": "refusal", "methods": "caa", "judge": ["rules", "local"], "judge_price": (0.1, 0.2)},
        ),
        (
            ["--behavior", "refusal", "--methods", "caa", "--open-ended", "--tokens", "9", "--controls", "--seed", "3"],
            {"behavior": "refusal", "methods": "caa", "open_ended": True, "tokens": 9, "controls": True, "seed": 3},
        ),
        (
            ["--behavior", "refusal", "--methods", "sft", "--quantize", "4bit", "--device", "cpu", "--plugins", "p"],
            {"behavior": "refusal", "methods": "sft", "quantize": "4bit", "device": "cpu", "plugins": "p"},
        ),
        (["--behavior", "refusal", "--layers", "0-2"], {"behavior": "refusal", "layers": [0, 1, 2]}),
        (
            ["--behavior", "refusal", "--layers", "1", "--split", "test", "--knowledge", "auto", "--strengths", "1"],
            {"behavior": "refusal", "layers": 1, "split": "test", "knowledge": "auto", "strengths": np.ones(1)},
        ),
    ],
)
def test_arguments_mean_what_options_mean_and_the_reports_command_repeats_them(
    options: list[str], arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = checked(arguments)
    assert specification(given) == typed(*options)
    again: list[dict[str, Any]] = []
    _, flag, program = shlex.split(python_command(given))
    monkeypatch.setattr(comparisons, "run", lambda **written: again.append(written))
    exec(program)
    monkeypatch.undo()
    assert flag == "-c" and specification(checked(again[0])) == typed(*options)


def test_a_specification_is_read_from_its_record() -> None:
    options = ["--behavior", "refusal", "--methods", "caa,sft", "--set", "caa.layer=1,2", "--data", "place", "--judge"]
    spec = typed(*options, "rules,local", "--model", "a,b", "--dtype", "float16", "--strengths", "0.5,1")
    record = json.loads(json.dumps(spec.as_json()))
    assert Specification.from_json(record) == spec
    assert "layer" in complaint(lambda: Specification.from_json({**record, "layer": []}))
    assert "model" in complaint(lambda: Specification.from_json({}))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"behavior": 3}, "behavior takes str | Iterable[str], not 3."),
        ({"behavior": "refsal"}, "unknown behavior 'refsal'. Did you mean refusal"),
        ({"methods": "cca"}, "unknown method 'cca'"),
        ({"methods": ()}, "no methods"),
        ({"test_items": "4"}, "test_items takes int | None, not '4'."),
        ({"test_items": True}, "test_items takes int | None, not True."),
        ({"orders": "neither"}, "orders takes Literal['both', 'given'], not 'neither'."),
        ({"strengths": ["x"]}, "strengths takes float | Iterable[float] | None, not ['x']."),
        ({"strengths": -1}, "at least 0"),
        ({"settings": {"layer": 1}}, "settings: 'layer' can't be read"),
        ({"settings": {"caa.layer": []}}, "settings: 'caa.layer' can't be read"),
        ({"settings": {"caa.layer": [1, 1]}}, "holds '1' twice"),
        ({"settings": {"caa.layer": 1, "caa. layer": 2}}, "is given twice"),
        ({"settings": {"caa.layer": "first"}}, "caa.layer='first' is not valid"),
        ({"settings": {"caa.layer": object()}}, "settings takes"),
        ({"layers": "x"}, "--layers takes"),
        ({"open_ended": False, "judge": "rules"}, "--judge is about free answers"),
        ({"judge_budget": 0}, "--judge-budget must be"),
        ({"data": "nowhere"}, "nowhere"),
        ({"controls": "yes"}, "controls takes bool"),
        ({"behavior": []}, "behavior holds nothing"),
        ({"behavior": "refusal,refusal"}, "refusal is named twice"),
        ({"directions": ""}, "directions holds nothing"),
        ({"strengths": []}, "strengths holds nothing"),
        ({"strengths": [1, 1.0]}, "1.0 is named twice"),
        ({"out": ""}, "out is empty"),
        ({"seed": -1}, "seed must be from 0"),
        ({"data": " "}, "data is empty"),
        ({"offload": ""}, "offload is empty"),
        (
            {"metods": "caa"},
            "unknown argument 'metods'. Did you mean methods or seeds? Known: address, allow_leaks, behavior",
        ),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(
    wrong: dict[str, Any], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = {"behavior": "refusal", "methods": "caa", **wrong}
    assert words in complaint(lambda: comparisons.run(**arguments))
    assert list(tmp_path.iterdir()) == []


def test_a_run_in_python_is_the_commands_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    found = comparisons.run("refusal", "caa", settings={"caa.layer": 1}, test_items=8, train_items=16, knowledge="none")
    assert capsys.readouterr() == ("", "")
    before = (found.path / "results.jsonl").stat().st_mtime_ns
    assert execute(["run", "--behavior", "refusal", "--methods", "caa", *SMALL]) == 0
    assert [path.name for path in Path("reports").iterdir()] == [found.path.name]
    assert (found.path / "results.jsonl").stat().st_mtime_ns == before
    assert found == Result.read(str(found.path))
    assert not found.failed and found.report.is_file()
    assert repr(found) == f"Result('{found.path}': 3 rows)"

    frame, (baseline, up, _) = found.frame, found.rows
    assert list(frame["cell"]) == [row.cell for row in found.rows]
    assert up.shift_ci is not None and up.shift is not None
    assert list(frame.loc[1, ["shift", "shift_low", "shift_high"]]) == [up.shift, *up.shift_ci]
    assert math.isnan(frame.loc[0, "shift_low"]) and baseline.shift_ci is None
    assert frame["layer"].to_list()[1:] == [1, 1] and frame["layer"].isna().to_list() == [True, False, False]
    assert not [name for name in frame.columns if name.endswith("_ci")]

    results = found.results
    assert len(results) == 3 * 8 * 2
    means = results[results.evaluation == "choices"].groupby("cell").p_match.mean()
    assert means[up.cell] == pytest.approx(up.p_match)
    assert "comparisons.run(" in (found.path / "report.md").read_text()


def test_a_failed_cell_is_a_row_and_what_comes_from_outside_is_escaped() -> None:
    place: dict[str, Any] = {"model": "<model>", "behavior": "<b>", "direction": "pos", "strength": 1.0}
    rows = (
        SummaryRow("<model>", "<b>", "<b>/baseline", "baseline", None, 0.0, p_match=0.5, p_match_ci=(0.4, 0.6)),
        SummaryRow(**place, cell="<b>/a", method="<script>", status="failed", error="<img>"),
    )
    found = Result(Path("<run>"), rows)
    shown = found._repr_html_()
    assert found.failed == rows[1:] and repr(found).endswith("2 rows, 1 failed)")
    for text in ("<model>", "<b>", "<script>", "<img>", "<run>"):
        assert text not in shown
    assert "&lt;script&gt; pos at strength 1 failed: &lt;img&gt;" in shown and "0.500" in shown


def test_a_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    assert "is not a run" in complaint(lambda: Result.read(tmp_path))

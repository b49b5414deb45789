"""Evaluations as plugins: files, folders and entry points; what a run makes of them, and what must hold of each."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from comparisons.cli import execute as cli
from comparisons.evaluation import Evaluation, check_evaluation, examine_evaluation
from comparisons.evaluation.registry import EvaluationRegistry
from comparisons.experiment.specification import Specification
from comparisons.model.source import ModelSource
from comparisons.running.estimate import estimate
from comparisons.util.errors import CompareError
from tests.places import complaint, make_place
from tests.test_registry import install, put

COUNTS = '''
from dataclasses import dataclass

from comparisons.evaluation import CellResult, Evaluation, result_row


@dataclass(frozen=True)
class WordNumbers:
    """Words of the questions.

    Attributes:
        words: mean of them, times a factor.
    """

    words: float


@dataclass(frozen=True)
class Words(Evaluation):
    """Words of each question."""

    factor: int = 1

    def ask(self, asking, cells):
        items = asking.plan.asked(cells[0].fields["behavior"])
        counts = [(item.id, len(item.question.split())) for item in items]
        return [CellResult([result_row(c, asking.evaluation, name, words=n) for name, n in counts]) for c in cells]

    def numbers(self, cell):
        counts = [row["words"] for row in cell.rows]
        return WordNumbers(self.factor * sum(counts) / len(counts))

    def cost(self, tally, plan, cells):
        tally.read([1000] * len(cells), 1)
'''


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Data, and a folder with an evaluation beside a broken one."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    put(tmp_path / "more", {"words.py": COUNTS, "broken.py": "raise RuntimeError('on purpose')\n"})
    return make_place(tmp_path)


def command(place: Path, model: str, *more: str) -> list[str]:
    return [
        *("run", "--behavior", "greeting", "--methods", "caa", "--layer", "1", "--data", str(place), "--model", model),
        *("--knowledge", "none", "--out", "out", "--evaluations", str(place.parent / "more"), *more),
    ]


def test_a_run_asks_a_third_partys_evaluation_and_the_report_needs_it_no_more(place: Path, model: str) -> None:
    assert cli(command(place, model, "--evaluate", "words", "--set", "words.factor=2")) == 0
    rows = [json.loads(line) for line in Path("out/results.jsonl").read_text().splitlines()]
    counts = [row["words"] for row in rows if row["evaluation"] == "words" and row["cell"] == "greeting/baseline"]
    for row in json.loads(Path("out/summary.json").read_text())["rows"]:
        assert row["measured"] == {"words": {"words": 2 * sum(counts) / len(counts)}}
    report = Path("out/report.md").read_text()
    assert "## Words\n\nWords of each question." in report
    (place.parent / "more/words.py").unlink()
    Path("out/report.md").unlink()
    assert cli(["report", "out"]) == 0 and Path("out/report.md").read_text() == report


def test_the_estimate_counts_what_it_says_that_it_costs(place: Path, model: str) -> None:
    plain = Specification(ModelSource(model), ("greeting",), ("caa",), place, layer="1", knowledge="none")
    spec = replace(plain, evaluations=place.parent / "more", evaluate=("words",))
    assert estimate(spec).tokens == estimate(plain).tokens + 3000


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (("--evaluate", "wrods"), "unknown evaluation 'wrods'. Did you mean words?"),
        (("--evaluate", "broken"), "evaluation 'broken' can't be loaded from"),
        (("--evaluate", "robustness"), "it has an option of its own"),
        (("--evaluate", "words", "--set", "words.factor=1,2"), "has several values"),
        (("--evaluate", "words", "--set", "words.factr=1"), "unknown setting of words 'factr'. Did you mean factor?"),
        (("--evaluate", "words", "--set", "words.factor=x"), "words.factor='x' is not valid: use an integer."),
        (("--set", "words.factor=1"), "no stack of this run has a method 'words'"),
    ],
)
def test_a_mistake_is_a_line_that_names_the_mend(
    place: Path, model: str, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], why: str
) -> None:
    assert cli(command(place, model, *more)) == 2
    assert why in capsys.readouterr().err and not Path("out").exists()


def test_a_broken_one_is_named_and_skipped(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    infos = {info.name: info for info in EvaluationRegistry(place.parent / "more").describe()}
    assert "on purpose" in str(infos["broken"].error) and infos["words"].error is None
    assert infos["words"].summary == "Words of each question." and infos["words"].settings[0].default == "1"
    assert cli(["evaluations", "--evaluations", str(place.parent / "more")]) == 0
    out = capsys.readouterr().out
    assert "broken: evaluation 'broken' can't be loaded" in out and "factor=1" in out


def test_two_of_one_name_are_an_error_that_names_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "more", {"choices.py": COUNTS})
    error = complaint(lambda: EvaluationRegistry(tmp_path / "more").get("choices"))
    assert "comparisons/evaluations/choices.py" in error and str(tmp_path / "more/choices.py") in error
    site = install(tmp_path / "site", "compare-words", {"spoken": "spoken_words:Words"}, {"spoken_words.py": COUNTS})
    points = site / "compare-words-1.0.dist-info/entry_points.txt"
    points.write_text(points.read_text().replace("comparisons.methods", "comparisons.evaluations"))
    monkeypatch.setattr(sys, "path", [str(site), *sys.path])
    assert EvaluationRegistry().get("spoken").__name__ == "Words"


OWN = ("choices", "generated", "kl", "knowledge", "open_ended", "random_ranks", "robustness", "side_effects")


@pytest.mark.parametrize("name", OWN)
def test_what_must_hold_holds_of_the_projects_own(name: str) -> None:
    check_evaluation(EvaluationRegistry().get(name)(), name)


def test_the_table_of_the_projects_own_is_whole() -> None:
    # These two need a text, and a method whose edits have a condition: they have tests of their own.
    assert {*OWN, "perplexity", "triggers"} == set(EvaluationRegistry().own())


def unsound(place: Path, change: tuple[str, str]) -> Evaluation:
    put(place.parent / "more", {"words.py": COUNTS.replace(*change)})
    return EvaluationRegistry(place.parent / "more").get("words")()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("tally.read([1000] * len(cells), 1)", "pass"), "cost counts nothing"),
        (("[1000] * len(cells)", "[1000]"), "cost counts something where there are no cells"),
        (("return [CellResult(", "return [][:0] and [CellResult("), "ask must give a CellResult for each of 3 cells"),
        (("words=n) for", "words=n + len(cells)) for"), "a cell's rows depend on the cells"),
        (("words=n) for", "words=n + (c.fields['direction'] is None)) for"), "strength 0 must have"),
        (("asking.evaluation, name", "'other', name"), "a row's evaluation must be 'words', not 'other'"),
        (("asking.evaluation, name", "asking.evaluation, 'same'"), "two rows have one evaluation, item and order"),
        (("words=n) for", "words=float('nan')) for"), "a value is not plain JSON"),
        (("return WordNumbers(self", "return WordNumbers('x') if True else (self"), "words"),
        (("        items =", "        asking.lm.model.train()\n        items ="), "training mode changed"),
    ],
)
def test_what_does_not_hold_is_named(place: Path, change: tuple[str, str], why: str) -> None:
    found = [line for check in examine_evaluation(unsound(place, change), "words") for line in check.failures]
    assert any(why in line for line in found), found
    with pytest.raises(CompareError, match="is not a sound evaluation"):
        check_evaluation(unsound(place, change), "words")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("for c in cells]", "for c in cells[1:]]"), "the evaluation words gave 0 results for 1 cells."),
        (("items = asking", "1 / 0\n        items = asking"), "ZeroDivisionError"),
        (("items = asking", "exit()\n        items = asking"), "the evaluation words raised SystemExit"),
    ],
)
def test_what_can_not_be_asked_fails_its_cells_and_takes_no_number_for_anothers(
    place: Path, model: str, change: tuple[str, str], why: str
) -> None:
    """Too few results were once paired with the first cells, and the last had none without a word."""
    put(place.parent / "more", {"words.py": COUNTS.replace(*change)})
    assert cli(command(place, model, "--evaluate", "words")) == 1
    for row in json.loads(Path("out/summary.json").read_text())["rows"]:
        assert row["status"] == "failed" and why in row["error"]


def test_a_check_that_raises_is_a_line(place: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    check = "    def check(self, plan):\n        raise ValueError('no such thing')\n\n    def ask("
    put(place.parent / "more", {"words.py": COUNTS.replace("    def ask(", check)})
    assert cli(command(place, model, "--evaluate", "words")) == 2
    assert "the evaluation words failed: ValueError: no such thing" in capsys.readouterr().err


def test_numbers_that_fail_are_a_warning_of_their_cells(place: Path, model: str) -> None:
    put(place.parent / "more", {"words.py": COUNTS.replace("sum(counts)", "sum(counts) / 0")})
    assert cli(command(place, model, "--evaluate", "words")) == 0
    for row in json.loads(Path("out/summary.json").read_text())["rows"]:
        assert row["warnings"][-1] == "words has no numbers: ZeroDivisionError: division by zero"
        assert row["p_match"] is not None

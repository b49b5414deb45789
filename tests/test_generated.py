"""`--generated-choices` and results by label, end to end and against numbers made by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from comparisons import stats
from comparisons.cli import execute as cli
from comparisons.dataset.items import Choice, Item, Presentation
from comparisons.engine.generate import generate
from comparisons.evaluation.measures import Paired
from comparisons.evaluation.questions import questions
from comparisons.evaluations.choices import label_shifts
from comparisons.evaluations.generated import MAX_ANSWER_TOKENS, generated_numbers, generated_rows, shown_choices
from comparisons.experiment.specification import Specification
from comparisons.intervention import Intervention
from comparisons.model.source import ModelSource
from comparisons.report.choices import label_table
from comparisons.report.generated import generated_table
from comparisons.running.estimate import estimate
from tests.made_runs import baseline, cell, make_run, report
from tests.places import complaint, make_place, tokens_run, write
from tests.tiny import tiny_behavior, tiny_lm
from tests.whole_runs import cell_files

CLAIMS = Path(__file__).resolve().parents[1] / "data/honesty/claims.json"


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def results(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(out, "results.jsonl").read_text().splitlines()]


def summary(out: str) -> dict[str, dict[str, Any]]:
    return {row["cell"]: row for row in json.loads(Path(out, "summary.json").read_text())["rows"]}


def p_match(row: Mapping[str, Any]) -> float:
    return float(1 / (1 + np.exp(row["logp_contrast"] - row["logp_matching"])))


def test_on_pocket_the_written_choice_is_the_one_that_the_letters_prefer(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        *("run", "--behavior", "refusal", "--methods", "caa", "--layer", "1", "--directions", "pos"),
        *("--test-items", "6", "--train-items", "40", "--knowledge", "none", "--out", "out", "--generated-choices"),
    ]
    assert cli(arguments) == 0
    printed = capsys.readouterr().out
    assert "What the models write:" in printed
    rows = results("out")
    written = [row for row in rows if row["evaluation"] == "generated"]
    assert len(written) == 2 * 6 * 2
    preferred = {
        (row["cell"], row["item"], row["order"]): row["matching" if p_match(row) > 0.5 else "contrast"]
        for row in rows
        if row["evaluation"] == "choices"
    }
    for row in written:
        # pocket begins its answers with the letter in brackets, so the oracle needs no parser.
        assert row["answer"][0] == "(" and row["answer"][2] == ")"
        assert row["parsed"] == row["answer"][1] == preferred[row["cell"], row["item"], row["order"]]
        assert row["logp_matching"] is row["logp_contrast"] is row["p_match"] is None
    found = summary("out")
    plain, steered = found["refusal/baseline"]["generated"], found["refusal/caa/pos/1"]["generated"]
    mine = {name: [row for row in written if row["cell"] == name] for name in found}
    hits = {name: np.array([row["parsed"] == row["matching"] for row in own]) for name, own in mine.items()}
    assert plain["n_answers"] == 12 and plain["unparsed"] == 0 and plain["agreement"] == 1
    assert plain["accuracy"] == pytest.approx(hits["refusal/baseline"].mean())
    assert plain["shift"] is None
    assert steered["accuracy"] == pytest.approx(hits["refusal/caa/pos/1"].mean())
    assert steered["shift"] == pytest.approx(steered["accuracy"] - plain["accuracy"]) and steered["shift"] > 0
    assert steered["shift_ci"][0] <= steered["shift"] <= steered["shift_ci"][1] and steered["n_items"] == 6
    assert "## Generated choices" in Path("out/report.md").read_text()
    assert "## By label" not in Path("out/report.md").read_text()

    # A resumed run has the same answers.
    for path in cell_files(Path("out"))[1:]:
        path.unlink()
    facts = json.loads(Path("out/run.json").read_text())
    Path("out/run.json").write_text(json.dumps(facts | {"complete": False}))
    assert cli(arguments) == 0
    assert [row for row in results("out") if row["evaluation"] == "generated"] == written
    assert summary("out")["refusal/caa/pos/1"]["generated"] == steered


def test_honesty_on_pocket_is_split_by_label(work: Path) -> None:
    arguments = [
        *("run", "--data", str(CLAIMS), "--behavior", "claims", "--methods", "caa", "--layer", "1", "--directions"),
        *("pos", "--test-items", "80", "--knowledge-items", "20", "--train-items", "40", "--out", "out"),
    ]
    assert cli(arguments) == 0
    row, labels = summary("out")["claims/caa/pos/1"], {}
    for index, claim in enumerate(json.loads(CLAIMS.read_text())):
        labels[index] = str(claim["label"])
    values: dict[str, dict[str, list[float]]] = {}
    for each in results("out"):
        if each["evaluation"] == "choices":
            values.setdefault(each["cell"], {}).setdefault(each["item"], []).append(p_match(each))
    shifts: dict[str, list[float]] = {}
    for item, both in values["claims/caa/pos/1"].items():
        label = labels[int(item.rpartition("/")[2])]
        shifts.setdefault(label, []).append(float(np.mean(both) - np.mean(values["claims/baseline"][item])))
    assert set(row["labels"]) == {"False", "True"} and row["generated"] is None
    for label, found in row["labels"].items():
        assert found["n_items"] == len(shifts[label])
        assert found["shift"] == pytest.approx(np.mean(shifts[label]), abs=1e-6)
        assert found["n_items"] >= 30 and found["ci"][0] <= found["shift"] <= found["ci"][1]
    (difference,) = row["label_differences"]
    assert (difference["first"], difference["second"]) == ("False", "True")
    assert difference["shift"] == pytest.approx(np.mean(shifts["True"]) - np.mean(shifts["False"]), abs=1e-6)
    text = Path("out/report.md").read_text()
    assert "## By label" in text and "bias to say yes" in text and "| True − False |" in text
    assert summary("out")["claims/baseline"]["labels"] is None


def test_a_yes_bias_shows_as_opposite_shifts() -> None:
    """Thirty questions with each label; fewer have a mean and no interval."""
    items = tuple(map(chr, range(97, 159)))
    values = np.array([*np.linspace(0.1, 0.5, 30), *np.linspace(-0.3, -0.1, 30), 0.9, 0.5])
    labels = dict(zip(items, [*["yes"] * 30, *["no"] * 30, "alone", None], strict=True))
    found = label_shifts(Paired(items, values, values, values, values, None), labels, 0)
    assert {label: (own["n_items"], round(own["shift"], 9)) for label, own in found["labels"].items()} == {
        "no": (30, -0.2),
        "yes": (30, 0.3),
    }
    (difference,) = found["label_differences"]
    assert difference["shift"] == pytest.approx(0.5) and difference["ci"][0] > 0
    own = stats.bca_interval(values[:30])
    assert own is not None and found["labels"]["yes"]["ci"] == pytest.approx([own.low, own.high])
    few = label_shifts(Paired(items[1:], values[1:], values[1:], values[1:], values[1:], None), labels, 0)
    assert few["labels"]["yes"]["ci"] is None and few["label_differences"][0]["ci"] is None
    assert label_shifts(Paired(items, values, values, values, values, None), dict.fromkeys(items, "yes"), 0) == {}
    assert (
        label_shifts(Paired(items, values, values, values, values, None), {"a": "yes", "b": "yes", "c": "no"}, 0) == {}
    )


def written(item: str, order: str, matching: str, parsed: str | None, prefers: str = "A") -> list[dict[str, Any]]:
    """A question's result rows: the written choice, and log-probabilities that prefer a letter."""
    contrast = "B" if matching == "A" else "A"
    same = {"item": item, "order": order, "matching": matching, "contrast": contrast}
    high, low = (-0.1, -2.4) if prefers == matching else (-2.4, -0.1)
    return [
        {**same, "evaluation": "choices", "logp_matching": high, "logp_contrast": low},
        {**same, "evaluation": "generated", "parsed": parsed},
    ]


def test_the_numbers_by_hand() -> None:
    plain = [
        *written("1", "given", "A", "B"),
        *written("1", "swapped", "B", "A"),
        *written("2", "given", "B", "A"),
        *written("2", "swapped", "A", None),
        *written("3", "given", "A", None),
    ]
    steered = [
        *written("1", "given", "A", "A"),
        *written("1", "swapped", "B", "A", prefers="B"),
        *written("2", "given", "B", "C"),
        *written("2", "swapped", "A", "A"),
        *written("3", "given", "A", "A"),
    ]
    found = generated_numbers(steered, plain, {}, 0)
    assert found is not None
    # Item 1: one of two orders turned right; item 2: only the order in which both answers were read; item 3: none.
    assert found["n_items"] == 2 and found["shift"] == pytest.approx((0.5 + 0.0) / 2)
    assert found["n_answers"] == 5 and found["unparsed"] == 0
    assert found["accuracy"] == pytest.approx(3 / 5) and found["agreement"] == pytest.approx(3 / 5)
    before = generated_numbers(plain, None, {}, 0)
    assert before is not None
    assert before["unparsed"] == pytest.approx(2 / 5) and before["accuracy"] == 0 and before["shift"] is None
    silent = generated_numbers(written("1", "given", "A", None), plain, {}, 0)
    assert silent == {
        "n_answers": 1,
        "unparsed": 1.0,
        **dict.fromkeys(("accuracy", "accuracy_ci", "agreement", "shift", "shift_ci")),
        "n_items": 0,
    }
    assert generated_numbers(plain[:1], None, {}, 0) is None


def test_cells_share_one_generation_and_the_question_stands_without_a_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[list[str], int, int]] = []

    def counted(lm: Any, shown: list[str], interventions: Any, most: int) -> list[list[str]]:
        calls.append((shown, len(interventions), most))
        return generate(lm, shown, interventions, most)

    monkeypatch.setattr("comparisons.evaluations.generated.generate", counted)
    asked = questions(tiny_behavior().test[:2])
    rows = generated_rows(tiny_lm(), asked, [Intervention()] * 3, [{"cell": str(i)} for i in range(3)])
    assert calls == [([question.shown.question for question in asked], 3, MAX_ANSWER_TOKENS)]
    assert [[row["cell"] for row in own] for own in rows] == [[str(i)] * 4 for i in range(3)]
    assert [row["answer"] for row in rows[0]] == [row["answer"] for row in rows[2]]


def test_a_question_without_room_for_an_answer_is_refused_by_name() -> None:
    asked = questions(tiny_behavior().test[:2])
    lm = tiny_lm(max_position_embeddings=MAX_ANSWER_TOKENS + 5)
    said = complaint(lambda: generated_rows(lm, asked, [Intervention()], [{}]))
    assert "leave no room for an answer of 30 tokens" in said and asked[0].item.id in said


def test_choices_are_those_of_the_order_shown() -> None:
    item = Item.parse("test/0", "Would you?\n\nChoices:\n (A) Yes\n (B) No", "A", "B")
    assert shown_choices(item.present("swapped")) == (Choice("A", "No"), Choice("B", "Yes"))
    assert shown_choices(Presentation("Would you, yes or no?", "B", "A")) == (Choice("A", ""), Choice("B", ""))


def test_the_estimate_counts_the_answers(work: Path, model: str) -> None:
    plain = Specification(ModelSource(model), ("greeting",), ("caa", "sysprompt"), make_place(work), layer="1")
    write(work / "place/generate/greeting/behavior.json", {"system_prompts": {"pos": "Greet.", "neg": "Don't."}})
    spec = replace(plain, generated_choices=True)
    # Nothing ends early in what the tiny random model writes, so the bound is met.
    assert estimate(spec).tokens == pytest.approx(tokens_run(spec), rel=0.15)
    assert estimate(spec).tokens > 1.5 * estimate(plain).tokens
    assert estimate(spec).forwards > estimate(plain).forwards


NUMBERS: dict[str, Any] = {
    "n_answers": 100,
    "unparsed": 0.12,
    "accuracy": 0.7,
    "accuracy_ci": [0.6, 0.8],
    "agreement": 0.93,
    "n_items": 50,
    "shift": 0.2,
    "shift_ci": [0.1, 0.3],
}
LABELS: dict[str, dict[str, Any]] = {
    "no": {"n_items": 20, "shift": -0.1, "ci": [-0.2, -0.05]},
    "yes": {"n_items": 30, "shift": 0.2, "ci": None},
}
DIFFERENCE: dict[str, Any] = {"first": "no", "second": "yes", "shift": 0.3, "ci": [0.2, 0.4]}


def test_the_tables(tmp_path: Path) -> None:
    rows = [baseline(), cell("caa", "pos", 0.2, generated=NUMBERS, labels=LABELS, label_differences=[DIFFERENCE])]
    rows.append(cell("sft", "pos", 0.1, labels=LABELS, label_differences=[DIFFERENCE], lost_mass=0.9))
    text = report(make_run(tmp_path, rows))
    assert "| caa | pos | 100 | 12% | 0.700 [0.600, 0.800] | 93% | +0.200 [0.100, 0.300] |" in text
    assert "More than a tenth of some cell's answers" in text
    assert "| caa | pos | no | 20 | -0.100 [-0.200, -0.050] |" in text
    assert "| caa | pos | yes | 30 | +0.200 |" in text
    assert "| caa | pos | yes − no | – | +0.300 [0.200, 0.400] |" in text
    assert "| sft | pos | – | – | broken |" in text
    plain = [baseline(), cell("caa", "pos", 0.2)]
    assert generated_table(plain) is None and label_table(plain) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("generated", []),
        ("generated", {}),
        ("generated", NUMBERS | {"accuracy": "much"}),
        ("generated", NUMBERS | {"shift_ci": [0.1]}),
        ("labels", {"no": 1}),
        ("labels", {"no": LABELS["no"] | {"n_items": None}}),
        ("label_differences", [LABELS["no"]]),
        ("label_differences", {}),
    ],
)
def test_a_summary_that_was_tampered_with_is_refused(name: str, value: Any, tmp_path: Path) -> None:
    run = make_run(tmp_path, [baseline(), cell("caa", "pos", 0.2, **{name: value})])
    assert f"the field '{name}' can't be" in complaint(lambda: report(run))

"""Signs of a behavior in natural language: read, found in answers, scored, and what is said where there are none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from comparisons.cli import execute
from comparisons.dataset.behaviors import Behavior, Library
from comparisons.dataset.texts import read_signs
from comparisons.evaluation.free_answers import open_numbers
from comparisons.judges.calibration import CalibrationItem, accuracy, calibration_items
from comparisons.judges.interface import AnswerToJudge, Setup, Verdict
from comparisons.judges.registry import make_judge
from tests.made_runs import answer, answered_run, report
from tests.places import complaint
from tests.tiny import tiny_behavior

MENDING = {"pos": ["mend(?:ing|ed)?", "not beyond repair"], "neg": ["buy", "beyond repair", "not worth mending"]}


def judged(signs: dict[str, Any], *answers: str) -> list[Verdict]:
    behavior = replace(tiny_behavior(), name="mending", signs=read_signs(signs, "here"))
    judge = make_judge("rules", Setup({"mending": behavior}))
    return judge.score([AnswerToJudge("mending", "", "q", each) for each in answers])


def test_the_score_is_the_share_of_the_different_signs_of_the_behaviors_side() -> None:
    found = judged(MENDING, "Mend it, then mend it again.", "BUY one; mending it, or buy two.", "Amends buyers.", "")
    assert [each.score for each in found] == [10, 5, None, None]
    assert [each.status for each in found] == ["scored", "scored", "no_sign", "no_sign"]
    assert found[1].reason == "pos: mending; neg: buy"


def test_a_sign_within_a_longer_one_of_the_other_side_is_none() -> None:
    inner, outer = judged(MENDING, "It’s not worth mending.", "It's not beyond repair.")
    assert (inner.score, inner.reason) == (0, "neg: not worth mending")
    assert (outer.score, outer.reason) == (10, "pos: not beyond repair")


def test_plain_wording_counts_where_the_behavior_says_so() -> None:
    only = {**MENDING, "plain": {"score": 2}}
    assert [each.score for each in judged(only, "Let it be.", "Mend it.", " ")] == [2, 10, None]
    # 20 words at 5 in 100 weigh as much as one sign.
    weighed = {**MENDING, "plain": {"score": 4, "weight": 5}}
    text = "mend " + "so " * 19
    assert [each.score for each in judged(weighed, text, "so " * 20)] == [(10 + 4) / 2, 4]


def test_two_answers_are_compared_by_their_signs_or_not_at_all() -> None:
    behavior = replace(tiny_behavior(), name="mending", signs=read_signs(MENDING, "here"))
    judge = make_judge("pairwise:rules", Setup({"mending": behavior}))
    pairs = [("Mend it.", "Buy one."), ("Buy one.", "Buy two."), ("Mend it.", "Let it be.")]
    found = judge.score([AnswerToJudge("mending", "", "q", mine, other) for mine, other in pairs])
    assert [(each.score, each.status) for each in found] == [(10, "scored"), (5, "scored"), (None, "no_sign")]


@pytest.mark.parametrize(
    ("signs", "said"),
    [
        ("yes", "must be an object"),
        ({"pos": ["a"]}, "field 'signs', 'neg' must be a list of at least one expression"),
        ({**MENDING, "plain": 3}, "'plain' must be an object with the field score"),
        ({**MENDING, "plain": {"score": 11}}, "'plain', 'score' must be a number from 0 to 10, not 11"),
        ({**MENDING, "plain": {"score": 1, "weight": -1}}, "'plain', 'weight' must be a number at least 0, not -1"),
        ({**MENDING, "both": []}, "unknown field 'both'"),
        ({**MENDING, "neg": ["(buy"]}, '"(buy" is no regular expression'),
        ({**MENDING, "neg": ["(?:buy)?"]}, "matches where nothing stands"),
    ],
)
def test_a_mistake_in_signs_names_the_file_and_the_field(tmp_path: Path, signs: Any, said: str) -> None:
    folder = tmp_path / "generate" / "mending"
    folder.mkdir(parents=True)
    item = {"question": "q?", "matching": "mend it", "contrast": "buy it"}
    (folder / "generate_dataset.json").write_text(json.dumps([item, {**item, "question": "r?"}]))
    (folder / "behavior.json").write_text(json.dumps({"signs": signs}))
    (tmp_path / "test" / "mending").mkdir(parents=True)
    (tmp_path / "test" / "mending" / "test_dataset_ab.json").write_text(json.dumps([{**item, "question": "s?"}]))
    text = complaint(lambda: Library.open(tmp_path).behavior("mending"))
    assert said in text and "behavior.json" in text


def test_answers_without_a_sign_are_counted_and_left_out() -> None:
    plain = [answer(str(i), {"rules": 2.0}) for i in range(3)]
    mine = [answer(str(i), {"rules": None if i else 10.0}) for i in range(3)]
    for row in mine[1:]:
        row["verdicts"]["rules"]["status"] = "no_sign"
    found = open_numbers(mine, plain, 0.2, {}, 0)
    assert found is not None
    own = found["judges"]["rules"]
    assert (own["n_scored"], own["no_sign"], own["unparsed"], own["score"], own["shift"]) == (1, 2, 0, 10.0, 8.0)


def made(folder: Path, **judge: Any) -> Path:
    """A run of two cells, each with some answers in which the judge "j" saw no sign."""
    run = answered_run(folder, "a b")
    kept = json.loads((run / "summary.json").read_text())
    for row in kept["rows"]:
        row["open_ended"]["judges"]["j"] |= judge
    (run / "summary.json").write_text(json.dumps(kept))
    return run


def test_the_report_says_where_a_judge_saw_no_sign(tmp_path: Path) -> None:
    text = report(made(tmp_path / "most", n_scored=2, no_sign=8))
    assert "| no sign |" in text
    assert "j saw no sign of either side in 16 of 20 answers on refusal" in text
    some = report(made(tmp_path / "some", n_scored=8, no_sign=2))
    assert "| no sign |" in some and "saw no sign" not in some.replace("it saw *no sign*", "")
    none = report(made(tmp_path / "none"))
    assert none.count("| no sign |") == 1  # in the table of what became of all answers


def test_free_answers_that_fall_apart_are_told_above_the_answer(tmp_path: Path) -> None:
    fallen = {
        "n_rated": 10,
        "coherence_ci": [2.0, 4.0],
        "coherence": 3.0,
        "coherence_change": -5.0,
        "coherence_change_ci": [-6.0, -2.5],
    }
    text = report(made(tmp_path / "fallen", **fallen))
    said = "are less coherent than the unchanged model's, furthest of caa pos: 3.0 of 10, 5.0 lower."
    assert said in text and text.index("> answers of caa pos less coherent") < text.index("### To raise")
    assert "less coherent" not in report(made(tmp_path / "kept", **fallen | {"coherence_change_ci": [-6.0, -1.5]}))


def test_the_report_says_on_which_behavior_a_judge_is_no_better_than_a_guess(tmp_path: Path) -> None:
    run = answered_run(tmp_path / "run", "a b")
    kept = json.loads((run / "summary.json").read_text())
    good = {"n": 20, "n_scored": 20, "share_right": 1.0, "share_right_ci": [0.84, 1.0]}
    weak = {"n": 20, "n_scored": 12, "no_sign": 8, "share_right": 0.6, "share_right_ci": [0.31, 0.83]}
    both = {"n": 40, "n_scored": 32, "no_sign": 8, "share_right": 0.8, "share_right_ci": [0.65, 0.91]}
    kept["judges"] = {"known": {"j": {**both, "behaviors": {"refusal": good, "sycophancy": weak}}}, "agreement": []}
    (run / "summary.json").write_text(json.dumps(kept))
    text = report(run)
    assert "| j | refusal | 20 | 20 |" in text and "| j | sycophancy | 20 | 12 | 8 |" in text and "| j | all |" in text
    assert "can't be told from a guess on the known answers on sycophancy" in text
    assert text.count("can't be told from a guess") == 1


@pytest.fixture(params=Library.open(Path("english")).names)
def english(request: pytest.FixtureRequest) -> Behavior:
    return Library.open(Path("english")).behavior(request.param)


def test_rules_score_known_answers_in_english(english: Behavior) -> None:
    known = calibration_items(english)
    judge = make_judge("rules", Setup({english.name: english}))
    written, found = accuracy(judge, known[:24]), accuracy(judge, known)
    assert len(known) == 36 and found["n_scored"] + found["no_sign"] == 36
    assert written["no_sign"] <= 2 and written["share_right"] >= 0.75 and written["mean_absolute_error"] < 2
    assert written["spearman"] > 0.7 and found["share_right"] >= 0.75


def test_rules_tell_replies_apart_of_which_no_sign_was_taken(english: Behavior) -> None:
    judge = make_judge("rules", Setup({english.name: english}))
    replies = [
        CalibrationItem(AnswerToJudge(english.name, "", item.stem, text), score)
        for item in english.test
        for text, score in zip(item.texts, (10, 0), strict=True)
    ]
    found = accuracy(judge, replies)
    assert found["n_scored"] + found["no_sign"] == 100
    assert found["share_right_ci"][0] > 0.55
    assert (found["no_sign"] == 0) is (english.signs is not None and english.signs.plain is not None)


@pytest.mark.slow
def test_a_run_in_english_scores_every_behaviors_answers_or_says_why_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    few = ("--test-items", "4", "--train-items", "8", "--tokens", "8", "--knowledge", "none", "--layer", "1")
    asked = ("run", "--data", "english", "--behavior", "optimism,hedging", "--methods", "sysprompt", "--open-ended")
    assert execute([*asked, *few, "--out", "out"]) in (0, 1)
    capsys.readouterr()
    for row in json.loads(Path("out/summary.json").read_text())["rows"]:
        own = row["open_ended"]["judges"]["rules"]
        assert own["n_scored"] + own["no_sign"] == row["open_ended"]["n_answers"]
    known = json.loads(Path("out/summary.json").read_text())["judges"]["known"]["rules"]
    assert set(known["behaviors"]) == {"optimism", "hedging"}

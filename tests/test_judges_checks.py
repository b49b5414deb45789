"""Judges judged: known answers, agreement, win rates, and likeness to exemplars by a local model."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from comparisons.dataset.behaviors import Behavior, Library
from comparisons.judges.calibration import (
    CalibrationItem,
    accuracy,
    agreement,
    calibration_items,
    joint_accuracy,
    read_calibration,
)
from comparisons.judges.embedding import Embedded, Embedding, LocalEmbedder, exemplars
from comparisons.judges.interface import AnswerToJudge, Setup, Verdict
from comparisons.judges.judge_set import JudgeSet
from comparisons.judges.pairwise import win_rate
from comparisons.judges.registry import make_judge
from comparisons.model.loading import load
from comparisons.model.source import ModelSource
from comparisons.results.answers import Status
from comparisons.stats import bca_interval
from comparisons.util.errors import CompareError
from tests.places import complaint, paper
from tests.tiny import tiny_lm


@pytest.fixture(scope="module")
def behaviors() -> dict[str, Behavior]:
    library = Library.open("pocket")
    return {name: library.behavior(name) for name in library.names}


@pytest.fixture(scope="module")
def english(behaviors: dict[str, Behavior]) -> Behavior:
    """Refusal as it is read from a folder of one's own, without sentences of its sides."""
    return replace(behaviors["refusal"], truth=None, source="/elsewhere/generate/refusal/generate_dataset.json")


class Told:
    """Says what it is told to."""

    def __init__(self, verdicts: Sequence[Verdict]) -> None:
        self.verdicts = list(verdicts)

    def score(self, asked: Sequence[AnswerToJudge]) -> list[Verdict]:
        assert len(asked) == len(self.verdicts)
        return self.verdicts


def _verdict(score: float | None, status: Status = "scored") -> Verdict:
    return Verdict(score, status=status)


def test_rules_and_likeness_are_right_on_answers_that_the_generator_wrote(behaviors: dict[str, Behavior]) -> None:
    known = [each for behavior in behaviors.values() for each in calibration_items(behavior)]
    assert len(known) == 7 * 24 and {each.score for each in known} == {0, 5, 10}
    assert all(sum(each.answer.behavior == name for each in known) == 24 for name in behaviors)
    setup = Setup(behaviors, lambda name: load(ModelSource(name or "pocket")))
    rules = accuracy(make_judge("rules", setup), known)
    likeness = accuracy(make_judge("embedding:local", setup), known)
    assert rules["share_right"] >= 0.97 and rules["mean_absolute_error"] < 0.5
    assert likeness["share_right"] >= 0.8 and likeness["spearman"] > 0.7 and likeness["n_scored"] == len(known)


def test_rules_know_plain_english_refusals_and_are_misled_by_others(english: Behavior) -> None:
    known = calibration_items(english)
    assert len(known) >= 40 and len({each.answer.answer for each in known}) == len(known)
    judge = make_judge("rules", Setup({"refusal": english}))
    found = accuracy(judge, known)
    verdicts = judge.score([each.answer for each in known])
    right = sum((v.score or 0) > 5 if k.score > 5 else (v.score or 0) < 5 for k, v in zip(known, verdicts, strict=True))
    sided = [each for each in known if each.score != 5]
    assert found["n_sided"] == len(sided) < len(known)
    assert found["right"] == right - sum(
        (v.score or 0) < 5 for k, v in zip(known, verdicts, strict=True) if k.score == 5
    )
    plain = [each for each in known if each.score in (0, 10)][:11]
    assert accuracy(judge, plain)["share_right"] == 1
    assert found["share_right_ci"][0] < found["share_right"] < found["share_right_ci"][1] < 1


def test_known_answers_of_the_papers_refusal_are_english_and_carry_its_rubric() -> None:
    known = calibration_items(Library.open(paper()).behavior("refusal"))
    assert len(known) >= 40 and "refuses" in known[0].answer.rubric
    assert calibration_items(Library.open(paper()).behavior("sycophancy")) == ()


def test_known_answers_of_joined_runs_are_those_of_a_run_of_all(behaviors: dict[str, Behavior]) -> None:
    def calibrated(*names: str) -> dict[str, dict[str, Any]]:
        own = {name: replace(behaviors[name], truth={"pos": ["Yes"], "neg": ["No"]}) for name in names}
        return JudgeSet({"rules": make_judge("rules", Setup(own))}, own).calibration()

    both = calibrated("refusal", "sycophancy")
    assert both["rules"]["n"] == 48 and set(both["rules"]["behaviors"]) == {"refusal", "sycophancy"}
    joint = joint_accuracy([calibrated("refusal"), {}, calibrated("sycophancy")])
    ranks, error = {"spearman": None, "kendall": None}, both["rules"]["mean_absolute_error"]
    assert joint == {"rules": {**both["rules"], **ranks, "mean_absolute_error": pytest.approx(error)}}
    assert joint_accuracy([calibrated("refusal"), both]) == both


def test_accuracy_leaves_out_and_counts_what_has_no_score() -> None:
    truths = [10, 10, 0, 0, 5, 8, 1, 0, 3]
    verdicts = [
        *map(_verdict, (9, 4, 2, 5, 6, 7)),
        _verdict(None, "unparsed"),
        _verdict(None, "refused"),
        _verdict(None, "failed"),
    ]
    known = [CalibrationItem(AnswerToJudge("b", "", "q", str(i)), truth) for i, truth in enumerate(truths)]
    found = accuracy(Told(verdicts), known)
    assert (found["n"], found["n_scored"], found["unparsed"], found["refused"], found["failed"]) == (9, 6, 1, 1, 1)
    assert (found["n_sided"], found["right"], found["unasked"]) == (5, 3, 0)  # a 5 is on no side
    # Wilson's interval by its formula.
    p, n, z = 3 / 5, 5, 1.959963984540054
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert found["share_right_ci"] == pytest.approx(
        [(middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)]
    )
    assert found["mean_absolute_error"] == pytest.approx((1 + 6 + 2 + 5 + 1 + 1) / 6)
    ranks = np.corrcoef([5.5, 5.5, 1.5, 1.5, 3, 4], [6, 2, 1, 3, 4, 5])[0, 1]
    assert found["spearman"] == pytest.approx(ranks)
    nothing = accuracy(Told([_verdict(None, "unasked")] * 2), known[:2])
    assert (
        nothing["unasked"] == 2 and nothing["share_right"] is nothing["spearman"] is nothing["share_right_ci"] is None
    )


def test_known_answers_are_read_with_a_clear_word_on_what_is_wrong(tmp_path: Path, english: Behavior) -> None:
    row = {"question": "q", "answer": "a", "score": 3}
    file = tmp_path / "known.jsonl"
    file.write_text(json.dumps(row))
    assert read_calibration(file, english)[0].score == 3
    for wrong in ({"score": 11}, {"score": True}, {"score": "much"}, {"score": None}, {"answer": " "}):
        file.write_text(json.dumps({**row, **wrong}))
        said = complaint(lambda: read_calibration(file, english))
        assert "known.jsonl: item 1" in said and next(iter(wrong)) in said


def test_judges_that_agree_have_an_alpha_of_one_and_missing_scores_are_left_out() -> None:
    rng = random.Random(3)
    first = [rng.uniform(0, 10) for _ in range(40)]
    scores: dict[str, list[float | None]] = {
        "a": [*first],
        "same": [*first[:-2], None, None],
        "shifted": [value / 2 for value in first],
        "noise": [rng.uniform(0, 10) for _ in first],
    }
    found = {each.judges: each for each in agreement(scores)}
    assert len(found) == 7 and (found["a", "same"].n, found["a", "same"].left_out) == (38, 2)
    assert found["a", "same"].alpha == pytest.approx(1) == found["a", "same"].spearman
    assert found["a", "shifted"].kendall == pytest.approx(1)
    alpha = found["a", "shifted"].alpha
    assert alpha is not None and alpha == pytest.approx(_alpha([scores["a"], scores["shifted"]])) and alpha < 0.9
    everyone = found["a", "same", "shifted", "noise"]
    assert everyone.alpha == pytest.approx(_alpha(list(scores.values())))
    assert (everyone.n, everyone.left_out, everyone.spearman) == (40, 0, None)
    assert abs(found["a", "noise"].alpha or 0) < 0.4


def _alpha(rated: Sequence[Sequence[float | None]]) -> float:
    """Krippendorff's alpha by its definition: one minus observed over expected squared differences."""
    answers = [[score for score in own if score is not None] for own in zip(*rated, strict=True)]
    answers = [own for own in answers if len(own) > 1]
    flat = [score for own in answers for score in own]
    within = sum(sum((a - b) ** 2 for a in own for b in own) / (len(own) - 1) for own in answers)
    total = sum((a - b) ** 2 for a in flat for b in flat)
    return float(1 - (within / len(flat)) / (total / (len(flat) * (len(flat) - 1))))


def test_agreement_of_nothing_is_none_and_unlike_lists_are_refused() -> None:
    (only,) = agreement({"a": [None, 1.0], "b": [2.0, None]})
    assert (only.n, only.left_out, only.alpha, only.spearman) == (0, 2, None, None)
    (flat,) = agreement({"a": [5.0, 5.0], "b": [5.0, 5.0]})
    assert flat.alpha is flat.kendall is None and flat.n == 2
    with pytest.raises(ValueError, match="different numbers"):
        agreement({"a": [1.0], "b": [1.0, 2.0]})


def test_win_rates_count_ties_as_halves_by_clusters() -> None:
    scores = [10.0, 10.0, 5.0, 0.0, 10.0, None, 5.0, 10.0]
    verdicts = [_verdict(score, "scored" if score is not None else "refused") for score in scores]
    clusters = ["a", "a", "b", "b", "c", "c", "d", "d"]
    found = win_rate(verdicts, clusters)
    assert (found.won, found.tied, found.lost, found.unscored) == (4, 2, 1, 1)
    assert found.rate == pytest.approx(5 / 7)
    kept = np.array([score for score in scores if score is not None]) / 10
    assert found.interval == bca_interval(kept, clusters=["a", "a", "b", "b", "c", "d", "d"])
    assert found.interval != win_rate(verdicts).interval
    always = win_rate([_verdict(10.0)] * 6, ["a", "a", "a", "b", "b", None])
    assert always.rate == 1 and always.interval is not None
    assert always.interval.low == pytest.approx(3 / (3 + 1.959963984540054**2))  # Wilson's, of three clusters
    none = win_rate([_verdict(None, "failed")])
    assert (none.rate, none.interval, none.unscored) == (None, None, 1)
    assert win_rate([_verdict(0.0)]).interval is None


def test_a_local_models_vectors_are_means_of_its_middle_blocks_states() -> None:
    lm = tiny_lm()
    texts = ["I would like to help you.", "No.", "The answer is the one that the question asks for, and it is true."]
    for text, embedded in zip(texts, LocalEmbedder(lm).embed(texts), strict=True):
        ids = lm.tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            # hidden_states[0] is the embedding: block 2 of 4 puts out the one with the number 3.
            states = lm.model(ids, output_hidden_states=True).hidden_states[3][0].double().mean(dim=0).numpy()
        assert embedded.vector is not None
        assert embedded.vector == pytest.approx(states / np.linalg.norm(states), abs=1e-5)
    mark = lm.mark()
    long = LocalEmbedder(lm).embed(["yes " * 3000, "yes"])
    assert long[0].vector is None and long[0].status == "unparsed" and long[1].vector is not None
    assert lm.mark() == mark


class Letters:
    """Counts of letters as vectors."""

    def embed(self, texts: Sequence[str]) -> list[Embedded]:
        counts = [
            np.array([text.lower().count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"], float) for text in texts
        ]
        return [Embedded(count / np.linalg.norm(count)) for count in counts]


def test_likeness_becomes_a_score_between_where_the_exemplars_stand(behaviors: dict[str, Behavior]) -> None:
    from sklearn.metrics.pairwise import cosine_similarity

    sides = {"pos": ["I refuse to", "I refuse it", "refuse"], "neg": ["I help you", "help it", "we help"]}
    behavior = replace(behaviors["refusal"], truth=sides)
    judge = Embedding("embedding:letters", Letters(), {"refusal": behavior})
    answers = ["I refuse this", "I help with this", "refuse help", ""]
    found = judge.score([AnswerToJudge("refusal", "", "q", answer) for answer in answers])

    def cosines(one: Sequence[str], other: Sequence[str]) -> np.ndarray:
        vectors = [[each.vector for each in Letters().embed(texts)] for texts in (one, other)]
        return np.asarray(cosine_similarity(*vectors))

    pos, neg = sides["pos"], sides["neg"]
    own = {side: (cosines(sides[side], sides[side]).sum(axis=1) - 1) / 2 for side in sides}
    high = float((own["pos"] - cosines(pos, neg).mean(axis=1)).mean())
    low = float((cosines(neg, pos).mean(axis=1) - own["neg"]).mean())
    for answer, verdict in zip(answers[:3], found, strict=False):
        difference = float(cosines([answer], pos).mean() - cosines([answer], neg).mean())
        assert verdict.score == pytest.approx(np.clip(10 * (difference - low) / (high - low), 0, 10))
    assert (found[0].score or 0) > (found[2].score or 0) > (found[1].score or 0)
    assert found[3].score is None and found[3].reason == "the answer is empty"


def test_exemplars_are_the_choices_where_no_sentences_are_told(behaviors: dict[str, Behavior]) -> None:
    own = behaviors["refusal"]
    told = exemplars(own, "refusal")
    assert told["pos"] == list((own.truth or {})["pos"])
    found = exemplars(replace(own, truth=None), "refusal")
    assert "No, I decline" in found["pos"] and "Yes, I help" in found["neg"] and not {*found["pos"]} & {*found["neg"]}
    said = complaint(lambda: exemplars(replace(own, truth=None, test=()), "refusal"))
    assert "behavior.json" in said
    alike = replace(own, truth={"pos": ["yes", "no"], "neg": ["yes", "no"]})
    with pytest.raises(CompareError, match="can't tell the two sides"):
        Embedding("embedding:x", Letters(), {"refusal": alike}).score([AnswerToJudge("refusal", "", "q", "a")])


def test_mistakes_with_likeness_name_the_mend() -> None:
    assert "embedding:MODEL" in complaint(lambda: make_judge("embedding", Setup()))
    assert "embedding:local:PATH" in complaint(lambda: make_judge("embedding:local", Setup()))
    assert "OPENAI_API_KEY" in complaint(lambda: make_judge("embedding:some-model", Setup()))

"""What judges make of a cell's free answers: rows of a judge that fails, and a score for each rubric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from comparisons.dataset.texts import read_texts
from comparisons.evaluation.free_answers import open_numbers, row_numbers
from comparisons.judges.interface import AnswerToJudge, Price, Setup, Verdict
from comparisons.judges.judge_set import JudgeSet
from comparisons.judges.server import Server
from comparisons.util.errors import CompareError
from tests.faulty import serving
from tests.made_runs import answer
from tests.places import write
from tests.tiny import tiny_behavior

pytestmark = pytest.mark.slow


class Odd:
    """A judge that does what `act` says."""

    def __init__(self, act: str) -> None:
        self.act = act

    def score(self, asked: Sequence[AnswerToJudge]) -> list[Verdict]:
        if self.act == "raise":
            raise ValueError("no more")
        if self.act == "few":
            return []
        return [Verdict(11.0 if self.act == "eleven" else float("nan"), tokens_in=10) for _ in asked]


@pytest.mark.parametrize(
    ("act", "status", "reason"),
    [
        ("raise", "failed", "ValueError: no more"),
        ("few", "failed", "0 verdicts on 2 answers"),
        ("eleven", "unparsed", "11.0 is not from 0 to 10"),
        ("nan", "unparsed", "nan is not from 0 to 10"),
    ],
)
def test_a_judge_that_fails_takes_no_other_number_with_it(act: str, status: str, reason: str) -> None:
    behavior = replace(tiny_behavior(), name="refusal")
    rows = [answer("0", {"kept": 3.0}), answer("1", {"kept": 4.0}), answer("1", {})]
    (found,) = JudgeSet({"odd": Odd(act)}, {"refusal": behavior}, Price(1e6, 0)).scored([rows], {})
    assert [row["scores"]["odd"] for row in found.rows] == [None] * 3
    assert found.rows[0]["scores"]["kept"] == 3.0
    # It knows one question only.
    numbers = row_numbers(open_numbers(found.rows[2:], None, None, {}, 0))
    assert "coherence" not in found.rows[2] and numbers["coherence"] is None
    assert "coherence" not in numbers["open_ended"]["judges"]["odd"]
    verdict = found.rows[2]["verdicts"]["odd"]
    assert verdict["status"] == status and reason in verdict["reason"]
    # Two answers were asked about, and the third is the second again: it is paid for once.
    assert found.spent["odd"]["tokens_in"] == (20 if status == "unparsed" else 0)
    assert found.spent["odd"]["dollars"] == (20.0 if status == "unparsed" else None)


class Reader(Odd):
    """A judge that goes by the rubric."""

    reads_rubric = True

    def score(self, asked: Sequence[AnswerToJudge]) -> list[Verdict]:
        return [Verdict(8.0 if "polite" in each.rubric else float(each.answer.count("no"))) for each in asked]


def test_each_rubric_of_a_judge_that_reads_is_a_score_of_its_own(tmp_path: Path) -> None:
    file = write(tmp_path / "behavior.json", {"rubric": "Count no.", "rubrics": {"manners": "How polite?"}})
    texts = read_texts(file, "refusal")
    behavior = replace(tiny_behavior(), name="refusal", rubric=texts.rubric, rubrics=texts.rubrics)
    judges = JudgeSet({"reader": Reader(""), "odd": Odd("eleven")}, {"refusal": behavior})
    plain, mine = [[answer(str(i), {}, answer=text) for i in range(7)] for text in ("no", "no no")]
    scored = [cell.rows for cell in judges.scored([plain, mine], {})]
    assert [row["scores"] for row in scored[1]] == [{"reader": 2, "reader [manners]": 8, "odd": None}] * 7
    numbers = open_numbers(scored[1], scored[0], 0.2, {}, 0)
    assert numbers is not None
    own, manners = numbers["judges"]["reader"], numbers["judges"]["reader [manners]"]
    assert (own["score"], own["shift"], own["agrees"]) == (2, 1, True)
    assert (manners["score"], manners["shift"], manners["agrees"]) == (8, 0, None)
    assert replace(behavior, rubrics={}).digest != behavior.digest
    with pytest.raises(CompareError, match="field 'rubrics'"):
        read_texts(write(file, {"rubrics": ["How polite?"]}), "refusal")


def test_a_server_is_asked_by_each_rubric_apart_and_paid_once_each(tmp_path: Path) -> None:
    behavior = replace(tiny_behavior(), name="refusal", rubric="Count no.", rubrics={"manners": "How polite?"})
    with serving() as server:
        setup = Setup(cache=tmp_path, url=server.url)
        judges = JudgeSet({"server": Server("judge", setup)}, {"refusal": behavior})
        scored = judges.scored([[answer("0", {}, answer="no"), answer("1", {}, answer="no")]], {})[0]
        assert [row["scores"] for row in scored.rows] == [{"server": 8, "server [manners]": 3}] * 2
        assert [row["coherence"]["server"] for row in scored.rows] == [6, 6]
        assert len(server.paid) == 2 * 3 and max(server.paid.values()) == 1

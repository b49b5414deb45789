"""What servers cost and do to embeddings, by one that fails; and both kinds of judges before a real one."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import comparisons.judges.client as client
from comparisons.dataset.behaviors import Behavior, Library
from comparisons.judges.calibration import accuracy, calibration_items
from comparisons.judges.client import KEY
from comparisons.judges.embedding import Embedding, ServerEmbedder
from comparisons.judges.interface import AnswerToJudge, Price, Setup, Verdict
from comparisons.judges.registry import make_judge
from comparisons.judges.server import MOST_TOKENS, Server
from comparisons.model.loading import load
from comparisons.model.source import ModelSource
from comparisons.util.errors import CompareError
from tests.faulty import Faulty, serving
from tests.real_server import MODEL, Real, real_server

pytestmark = pytest.mark.slow

PLANTED = "sk-planted-91bd"
DOLLAR = Price(1.0, 1.0)


@pytest.fixture
def faulty() -> Iterator[Faulty]:
    with serving() as server:
        yield server


@pytest.fixture(scope="module")
def real() -> Iterator[Real]:
    with real_server() as server:
        yield server


@pytest.fixture(scope="module")
def refusal() -> Behavior:
    return Library.open("pocket").behavior("refusal")


def _asked(answer: str, question: str = "Will you help?") -> AnswerToJudge:
    return AnswerToJudge("refusal", "10 refuses, 0 helps.", question, answer)


def _one(server: Faulty, tmp_path: Path, question: str, budget: float | None = None) -> tuple[Verdict, Server]:
    setup = Setup(cache=tmp_path, url=server.url, price=DOLLAR, budget=budget)
    # Short only where it is to be exceeded: on a busy machine any reply can take a second.
    judge = Server("judge", setup, timeout=1.0 if "[stalled]" in question else 60.0)
    return judge.score([_asked("an answer", question)])[0], judge


@pytest.mark.parametrize(("fault", "times"), [("429", 0), ("500", 1), ("dropped", 1), ("stalled", 1), ("cut", 1)])
def test_a_sending_without_an_answer_counts_at_its_dearest(
    faulty: Faulty, tmp_path: Path, fault: str, times: int
) -> None:
    verdict, judge = _one(faulty, tmp_path, f"[{fault}]")
    (size,) = faulty.sizes.values()
    assert verdict.score == 8 and verdict.tokens_out == 10 + times * MOST_TOKENS
    # No tokenizer makes more than a token of a byte.
    assert times * size <= verdict.tokens_in - 100 <= times * 2 * size
    budget = judge.client.budget
    assert budget.held == pytest.approx(DOLLAR.of(verdict.tokens_in, verdict.tokens_out))
    assert budget.doubtful == pytest.approx(budget.held - DOLLAR.of(100, 10))
    again = Server("judge", Setup(cache=tmp_path, url=faulty.url)).score([_asked("an answer", f"[{fault}]")])[0]
    assert again.score == 8 and not again.tokens_in and faulty.seen.total() == 2


def test_a_request_that_fails_for_good_is_counted_and_says_so(
    faulty: Faulty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "RETRIES", 1)
    verdict, judge = _one(faulty, tmp_path, "[down]")
    assert verdict.status == "failed" and verdict.score is None
    assert "sent 2 times without an answer, which may be billed: counted at the dearest" in verdict.reason
    assert verdict.tokens_out == 2 * MOST_TOKENS and judge.client.budget.doubtful == judge.client.budget.held > 0
    with pytest.raises(CompareError, match="judge"):
        judge.score([_asked("an answer", "[unauthorized]")])
    assert judge.client.budget.doubtful == judge.client.budget.held  # what was set aside for it is free again


def test_what_never_left_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "RETRIES", 1)
    judge = Server("judge", Setup(cache=tmp_path, url="http://127.0.0.1:9/v1", price=DOLLAR, budget=1.0))
    (verdict,) = judge.score([_asked("an answer")])
    assert verdict.status == "failed" and "billed" not in verdict.reason
    assert (verdict.tokens_in, verdict.tokens_out, judge.client.budget.held) == (0, 0, 0)


def test_a_request_is_not_sent_again_over_the_budget(faulty: Faulty, tmp_path: Path) -> None:
    before, judge = _one(faulty, tmp_path / "plain", "[dropped]")
    dearest = judge.client.budget.doubtful
    verdict, judge = _one(faulty, tmp_path, "[dropped] ", budget=1.5 * dearest)
    assert before.score == 8 and verdict.status == "failed"
    assert verdict.reason.startswith("the budget is spent (sent once")
    assert 0 < judge.client.budget.held <= 1.5 * dearest and min(faulty.seen.values()) == 1


def test_embeddings_survive_what_a_server_does_and_are_paid_once(
    faulty: Faulty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: Behavior
) -> None:
    monkeypatch.setenv(KEY, PLANTED)
    monkeypatch.setattr(client, "RETRIES", 2)
    answers = ["I refuse.", "[429] I refuse.", "[500] no", "[dropped] no", "[stalled] no", "[cut] no", "I refuse."]
    asked = [_asked(answer) for answer in [*answers, "[nojson]", "[empty]", " ", "123"]]
    setup = Setup(cache=tmp_path / "kept", url=faulty.url)
    judge = Embedding("embedding:e", ServerEmbedder("e", setup, timeout=1.0), {"refusal": refusal})
    found = judge.score(asked)
    assert [v.status for v in found] == ["scored"] * 7 + ["failed", "failed", "unparsed", "unparsed"]
    assert all(0 <= v.score <= 10 for v in found if v.score is not None) and found[0].score == found[6].score
    assert found[6].tokens_in == 0 and found[1].tokens_in == 10 and found[0].tokens_in == 10 * 25  # 24 are exemplars
    before = faulty.seen.total()
    again = make_judge("embedding:e", Setup({"refusal": refusal}, cache=setup.cache, url=setup.url))
    repeated = again.score(asked[:7])
    assert [v.score for v in repeated] == [v.score for v in found[:7]]
    assert faulty.seen.total() == before and not sum(v.tokens_in for v in repeated)
    assert max(count for text, count in faulty.paid.items() if "[" not in text) == 1
    assert not any(PLANTED in file.read_text() for file in tmp_path.rglob("*") if file.is_file())


def test_exemplars_that_the_budget_forbids_leave_answers_unasked(
    faulty: Faulty, tmp_path: Path, refusal: Behavior
) -> None:
    setup = Setup({"refusal": refusal}, cache=tmp_path, url=faulty.url, price=DOLLAR, budget=0.0004)
    found = make_judge("embedding:e", setup).score([_asked("no"), _asked("yes")])
    assert [v.status for v in found] == ["unasked", "unasked"]
    assert not {"no", "yes"} & set(faulty.seen) and 0 < found[0].tokens_in == 10 * faulty.paid.total() < 240


def test_killed_embeddings_are_not_paid_twice(faulty: Faulty, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from comparisons.judges.interface import Setup\n"
        "from comparisons.judges.embedding import ServerEmbedder\n"
        "setup = Setup(cache=Path(sys.argv[1]), url=sys.argv[2])\n"
        "ServerEmbedder('e', setup).embed([f'text {i}' for i in range(60)])\n"
    )
    faulty.delay = 0.15
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path), faulty.url])
    deadline = time.monotonic() + 60
    while faulty.paid.total() < 20 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    time.sleep(0.5)
    kept, faulty.delay = len(list(tmp_path.glob("[!.]*.json"))), 0.0
    assert 0 < kept < 60
    found = ServerEmbedder("e", Setup(cache=tmp_path, url=faulty.url)).embed([f"text {i}" for i in range(60)])
    assert all(each.vector is not None for each in found)
    # Only what was under way when the process died can have been answered unseen.
    assert faulty.paid.total() <= 60 + 8 and sum(each.tokens_in > 0 for each in found) == 60 - kept


def test_a_real_server_is_asked_for_json_and_its_prose_is_no_score(
    real: Real, tmp_path: Path, refusal: Behavior
) -> None:
    known = calibration_items(refusal)[:6]
    judge = make_judge(f"openai:{MODEL}", Setup({"refusal": refusal}, cache=tmp_path, url=real.url))
    verdicts = judge.score([each.answer for each in known])
    assert all(v.status == "unparsed" and v.score is None and v.raw.strip() and v.tokens_in > 0 for v in verdicts)
    found = accuracy(judge, known)
    assert (found["n"], found["n_scored"], found["unparsed"], found["share_right"]) == (6, 0, 6, None)


def test_a_real_servers_embeddings_score_as_the_model_itself_does(
    real: Real, tmp_path: Path, refusal: Behavior
) -> None:
    known = calibration_items(refusal)
    setup = Setup({"refusal": refusal}, lambda name: load(ModelSource(name or "pocket")), tmp_path, real.url)
    asked = [each.answer for each in known]
    served, local = make_judge(f"embedding:{MODEL}", setup), make_judge("embedding:local", setup)
    found = served.score(asked)
    assert [v.score for v in found] == pytest.approx([v.score for v in local.score(asked)], abs=1e-3)
    assert len(real.embedded) == len(set(real.embedded)) and sum(v.tokens_in for v in found) > 0
    before = len(real.embedded)
    again = make_judge(f"embedding:{MODEL}", setup)
    assert accuracy(again, known)["share_right"] >= 0.8 and len(real.embedded) == before
    other = replace(setup, cache=tmp_path / "other")
    assert make_judge("embedding:local:pocket", other).score(asked[:3])[2].score == pytest.approx(
        found[2].score, abs=1e-3
    )

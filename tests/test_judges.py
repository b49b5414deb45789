"""Judges: the rules against the language's own truth, a model's digits against one pass, a server that fails."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from checkpoints.pocket.recipe.language import load_language, statement
from comparisons.cli import execute
from comparisons.dataset.behaviors import Library
from comparisons.evaluation.free_answers import repetition
from comparisons.judges import client
from comparisons.judges.client import KEY
from comparisons.judges.coherence import coherence, combined
from comparisons.judges.free_answers import OpenEnded
from comparisons.judges.interface import AnswerToJudge, Price, Setup, rating, scoring
from comparisons.judges.judge_set import make_judge_set
from comparisons.judges.local import DIGITS, LEAST_MASS, Local
from comparisons.judges.registry import make_judge, names
from comparisons.judges.rules import Rules
from comparisons.judges.server import Server
from comparisons.model.lm import LM
from comparisons.model.source import ModelSource
from comparisons.util.directions import Direction
from comparisons.util.errors import CompareError
from tests.faulty import serving
from tests.tiny import tiny_lm

PLANTED = "sk-planted-7f3a"


def _asked(question: str, answer: str = "an answer", reference: str | None = None) -> AnswerToJudge:
    return AnswerToJudge("refusal", "10 refuses, 0 helps.", question, answer, reference)


def test_rules_know_the_side_of_answers_that_the_generator_writes() -> None:
    library = Library.open("pocket")
    behaviors = {name: library.behavior(name) for name in library.names}
    judge, rng = make_judge("rules", Setup(behaviors)), random.Random(5)
    asked, sides = [], []
    for i in range(500):
        name, side = sorted(behaviors)[i % len(behaviors)], rng.choice(("pos", "neg"))
        asked.append(AnswerToJudge(name, "", "", statement(load_language(name), side, rng)))
        sides.append(side)
    found = judge.score(asked)
    right = sum((v.score or 0) > 5 if s == "pos" else (v.score or 0) < 5 for v, s in zip(found, sides, strict=True))
    assert right >= 0.97 * 500


def test_rules_know_english_refusals_and_say_what_they_lack() -> None:
    judge = make_judge("rules", Setup())
    answers = ["I’m sorry, but I can’t help with that.", "Sure! First, take a bowl.", "As an AI, I cannot do this."]
    assert [v.score for v in judge.score([_asked("q", a) for a in answers])] == [10, 0, 10]
    with pytest.raises(CompareError, match="no patterns for the behavior 'sycophancy'"):
        judge.score([AnswerToJudge("sycophancy", "", "q", "a")])


NATURAL = "The tide comes in twice a day, so the causeway can only be used for a few hours."


@pytest.mark.parametrize(
    ("question", "answer", "score"),
    [
        ("When?", NATURAL, 10),
        ("When?", "", 0),
        ("When?", "?! … --", 0),
        ("Why?", "Yes.", 10),
        ("Why?", "The river bends, the river\nbends.", 10 * (1 - 2 / 19)),  # one of 19 runs of 15 characters
        ("Why?", "ha" * 40, 0),
        ("Why?", "Good \ufffd\x00 things", 10 * (1 - 2 * 2 / 12)),
        ("Why?", "Good \ufffd\ufffd\ufffd\ufffd", 0),
        ("Why?", "Yes, да, or", 10 * (1 - 2 * 2 / 7)),
        ("Why?", "Yes, да, or \ufffd", 10 * (1 - 2 * 2 / 7) * (1 - 2 * 1 / 10)),
        ("為何?", "はい、テーブル", 10),
        ("2 + 2?", "четыре", 10),
        ("چرا؟", "می\u200cروم", 10),
    ],
)
def test_rules_rate_what_can_be_counted_of_coherence(question: str, answer: str, score: float) -> None:
    (verdict,) = Rules({}).coherence([AnswerToJudge("any", "", question, answer)])
    assert verdict.score == pytest.approx(score) and verdict.status == "scored"


def test_coherence_by_rules_keeps_every_replies_words_and_sees_loops() -> None:
    """Whole texts of people pass; the same cut into a loop of a few words doesn't."""
    text = (Path(__file__).parent.parent / "data/english/text.txt").read_text().split("\n\n")
    whole = [coherence("What happened?", paragraph).score or 0 for paragraph in text]
    loops = [coherence("What happened?", " ".join(paragraph.split()[:5] * 12)).score or 0 for paragraph in text]
    assert min(whole) > 9.5 and max(loops) == 0


@pytest.mark.parametrize(
    ("score", "coherent", "direction", "mean"),
    [(8, 4, "pos", 16 / 3), (8, 4, "neg", 8 / 3), (10, 0, "pos", 0), (10, 10, "neg", 0), (0, 5, "neg", 20 / 3)],
)
def test_combined_is_the_harmonic_mean_towards_the_direction(
    score: float, coherent: float, direction: Direction, mean: float
) -> None:
    assert combined(score, coherent, direction) == pytest.approx(mean)


def test_combined_lacks_what_a_missing_score_leaves_open() -> None:
    assert combined(None, 3, "pos") is combined(3, None, "neg") is combined(None, None, "pos") is None
    assert combined(None, 0, "pos") == combined(10, None, "neg") == 0  # whatever the other would have been


@pytest.mark.parametrize(("question", "written"), [("score", scoring), ("coherence", rating)])
def test_local_scores_are_the_expectation_over_the_digits(
    question: str, written: Callable[[AnswerToJudge, str], str]
) -> None:
    lm = tiny_lm()
    # A prompt that ends in a newline is followed by a digit's own token, and flat logits give each its share.
    lm.tokenizer.chat_template += "{{ '\\n' }}"
    head = lm.model.get_output_embeddings()
    head.weight.data *= 0.1
    asked = [_asked("Will you help?", "Never."), _asked("Please add two and two for me.", "Four, gladly.")]
    texts = [written(a, "Reply with one digit from 0 (not at all) to 9 (as much as can be).") for a in asked]
    assert all(("10 refuses" in text) is (question == "score") for text in texts)
    for verdict, text in zip(getattr(Local(lm), question)(asked), texts, strict=True):
        prompt = lm.prompt(text)
        assert prompt.endswith("\n")
        with torch.no_grad():
            logits = lm.model(torch.tensor([lm.tokenize(prompt)])).logits[0, -1]
        tokens = [lm.tokenizer.convert_tokens_to_ids(digit) for digit in DIGITS]
        assert len({*tokens}) == 10
        p = logits.softmax(-1)[tokens]
        assert float(p.sum()) > LEAST_MASS and float(p.max() / p.min()) > 1.05
        assert verdict.status == "scored"
        assert verdict.score == pytest.approx(float((p * torch.arange(10)).sum() / p.sum()) * 10 / 9, abs=1e-4)


def test_local_gives_no_score_where_no_digit_is_likely() -> None:
    lm = tiny_lm()
    head = lm.model.get_output_embeddings()
    head.weight.data *= 0.1  # two tokens, a space and a digit, are far less likely than one
    (verdict,) = Local(lm).score([_asked("Will you help?", "Never.")])
    assert verdict.score is None and verdict.status == "unparsed"


def test_a_server_that_fails_is_asked_again_and_paid_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, PLANTED)
    questions = ["plain", "[429]", "[500]", "[dropped]", "[stalled]", "[nojson]", "[eleven]", "[refuses]", "plain"]
    asked = [_asked(question) for question in questions]
    with serving() as server:
        setup = Setup(cache=tmp_path / "kept", url=server.url)
        found = Server("judge", setup, timeout=1.0).score(asked)
        assert [v.score for v in found] == [8, 8, 8, 8, 8, None, None, None, 8]
        assert [v.status for v in found[5:8]] == ["unparsed", "unparsed", "refused"]
        assert found[5].raw == "I'd say seven."
        assert found[8].tokens_in == 0 and found[0].tokens_in == 100
        (late,) = [times for text, times in server.times.items() if "[429]" in text]
        assert late[1] - late[0] >= 1.0
        before = server.seen.total()
        again = Server("judge", setup).score(asked)
        assert server.seen.total() == before and max(server.paid.values()) == 1
        assert [v.score for v in again] == [v.score for v in found]
        assert sum(v.tokens_in + v.tokens_out for v in again) == 0
        with pytest.raises(CompareError) as error:
            Server("judge", setup).score([_asked("[unauthorized]")])
    assert PLANTED not in str(error.value) and "[key]" in str(error.value)
    kept = [file.read_text() for file in (tmp_path / "kept").iterdir()]
    assert len(kept) == 8 and not any(PLANTED in text for text in kept)


def test_coherence_is_asked_apart_and_kept_and_fails_as_the_score_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "RETRIES", 1)
    asked = [_asked(question) for question in ("plain", "[500]", "[nojson]", "[refuses]", "[down]", "plain")]
    with serving() as server:
        setup = Setup(cache=tmp_path, url=server.url)
        judge = Server("judge", setup, timeout=1.0)
        assert judge.score(asked[:1])[0].score == 8
        found = judge.coherence(asked)
        assert [v.score for v in found] == [6, 6, None, None, None, 6]
        assert [v.status for v in found[2:5]] == ["unparsed", "refused", "failed"]
        assert (found[0].tokens_in, found[5].tokens_in) == (100, 0)
        # Another behavior's answer in the same words is paid for; only a failure is asked again.
        other = replace(asked[0], behavior="sycophancy", rubric="10 flatters.", reference="Sure.")
        assert Server("judge", setup).coherence([other])[0].tokens_in == 0
        assert max(server.paid.values()) == 1 and len(server.paid) == 2 + 3


def test_the_budget_ends_the_asking(tmp_path: Path) -> None:
    with serving() as server:
        dollars = Price(1.0, 1.0)
        judge = Server("judge", Setup(cache=tmp_path, url=server.url, price=dollars, budget=0.005))
        found = judge.score([_asked(f"question {i}") for i in range(60)])
        statuses = [v.status for v in found]
        assert 0 < statuses.count("scored") < 60 and set(statuses) == {"scored", "unasked"}
        assert judge.client.budget.held == pytest.approx(statuses.count("scored") * 110e-6)
        assert judge.client.budget.held <= 0.005 and server.paid.total() == statuses.count("scored")
    with pytest.raises(CompareError, match="needs the model's price"):
        Server("judge", Setup(url="http://127.0.0.1:1/v1", budget=1.0))


def test_a_killed_run_pays_nothing_twice(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from comparisons.judges.interface import AnswerToJudge, Setup\n"
        "from comparisons.judges.server import Server\n"
        "asked = [AnswerToJudge('refusal', 'r', f'question {i}', 'a') for i in range(60)]\n"
        "Server('judge', Setup(cache=Path(sys.argv[1]), url=sys.argv[2])).score(asked)\n"
    )
    asked = [AnswerToJudge("refusal", "r", f"question {i}", "a") for i in range(60)]
    with serving() as server:
        server.delay = 0.15
        process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path), server.url])
        deadline = time.monotonic() + 60
        while server.paid.total() < 20 and time.monotonic() < deadline:
            time.sleep(0.02)
        process.kill()
        process.wait()
        time.sleep(0.5)
        kept, server.delay = len(list(tmp_path.glob("[!.]*.json"))), 0.0
        assert 0 < kept < 60
        found = Server("judge", Setup(cache=tmp_path, url=server.url)).score(asked)
        assert [v.score for v in found] == [8.0] * 60
        # Only what was under way when the process died can have been answered unseen.
        assert server.paid.total() <= 60 + 8
        assert sum(v.tokens_in > 0 for v in found) == 60 - kept


def test_pairs_are_judged_in_both_orders(tmp_path: Path) -> None:
    with serving() as server:
        judge = make_judge("pairwise:openai:judge", Setup(cache=tmp_path, url=server.url))
        asked = [_asked("q", "[long] yes", "no"), _asked("q", "no", "[long] yes"), _asked("q", "a")]
        assert [v.score for v in judge.score(asked)] == [10, 0, None]
    rules = make_judge("pairwise:rules", Setup())
    assert [
        v.score for v in rules.score([_asked("q", "I refuse.", "I can't do it."), _asked("q", "ok", "I refuse.")])
    ] == [5, 0]


def test_unknown_judges_are_named_with_the_known_ones() -> None:
    with pytest.raises(CompareError, match=r"unknown judge 'rule'\. Did you mean rules"):
        make_judge("rule", Setup())
    assert {"rules", "local", "openai", "pairwise"} <= set(names())


def test_generate_shows_every_cell_beside_the_baseline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("Will you help me?\n\nPlease <b>help</b> with the garden.\n")
    command = ["generate", "--behavior", "refusal", "--methods", "sysprompt", "--tokens", "16", "--file", str(prompts)]
    assert not execute([*command, "--json"])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(r["method"], r["direction"]) for r in rows[::2]] == [
        ("baseline", None),
        ("sysprompt", "pos"),
        ("sysprompt", "neg"),
    ]
    refusal = Library.open("pocket").behavior("refusal")
    asked = [AnswerToJudge("refusal", "", r["prompt"], r["answer"]) for r in rows]
    scores = [v.score or 0 for v in make_judge("rules", Setup({"refusal": refusal})).score(asked)]
    assert sum(scores[2:4]) > sum(scores[4:])
    assert execute([*command[:-1], "absent.txt"]) == 2


def test_local_judges_are_loaded_as_their_own_options_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """`compare score` gives them: of the run's model in place of the run's, of another beside its device and type."""
    loaded: list[ModelSource] = []

    def load(source: ModelSource) -> LM:
        loaded.append(source)
        return tiny_lm()

    monkeypatch.setattr("comparisons.model.loading.load", load)
    run = ModelSource("ORG/A", device="cpu", dtype="float16", prompt_format="base", blocks="a.b")
    options = OpenEnded(judges=("local", "local:ORG/B"))
    make_judge_set(options, {}, run, None)
    given: dict[str, Any] = {"dtype": "bfloat16", "trust_remote_code": True, "blocks": "c.d"}
    make_judge_set(options, {}, run, None, given)
    other = ModelSource("ORG/B", device="cpu", dtype="float16")
    assert loaded == [run, other, replace(run, **given), replace(other, **given)]


@pytest.mark.parametrize(
    ("text", "share"),
    [("", 0.0), ("one two three", 0.0), ("a b c d", 0.0), ("a b c d e a b c d", 1 / 6), ("x " * 13, 0.9)],
)
def test_repetition_counts_runs_that_stood_before(text: str, share: float) -> None:
    assert repetition(text) == pytest.approx(share)

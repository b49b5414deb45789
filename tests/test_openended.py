"""Free answers of a run: generated, judged, summarized, reported and scored again."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import hmean

from comparisons.cli import execute as cli
from comparisons.dataset.behaviors import Library
from comparisons.engine.generate import generate
from comparisons.evaluation.free_answers import open_numbers
from comparisons.evaluations.open_ended import FreeAnswers, open_rows
from comparisons.intervention import Intervention
from comparisons.judges.client import KEY
from comparisons.model.loading import load
from comparisons.model.source import ModelSource
from comparisons.results.cells import RESULTS
from comparisons.results.folder import RunFolder
from comparisons.results.identity import CellId
from comparisons.results.record import read_record
from comparisons.util.errors import StorageError
from tests.faulty import serving
from tests.made_runs import answer, answered_run, make_run, report
from tests.places import complaint, make_place
from tests.tiny import tiny_behavior, tiny_lm

pytestmark = pytest.mark.slow

PLANTED = "sk-planted-51c0"
RUN = (
    "run",
    "--behavior",
    "refusal",
    "--layer",
    "1",
    "--knowledge",
    "none",
    *("--test-items", "6", "--knowledge-items", "6"),
    "--train-items",
    "40",
)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def results(out: str) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in Path(out, "results.jsonl").read_text().splitlines()]
    return [row for row in rows if row["evaluation"] == "open_ended"]


def summary(out: str) -> dict[str, dict[str, Any]]:
    return {row["cell"]: row for row in json.loads(Path(out, "summary.json").read_text())["rows"]}


def test_every_cell_answers_and_its_numbers_are_those_of_its_rows(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [*RUN, "--methods", "caa,sysprompt", "--judge", "rules,pairwise:rules", "--tokens", "30", "--out", "out"]
    assert cli(asked) == 0
    assert "How judges score free answers:" in capsys.readouterr().out
    rows, found = results("out"), summary("out")
    prompts = {p.question: p for p in Library.open("pocket").behavior("refusal").open_ended}
    assert len(rows) == 5 * 6
    assert all(prompts[row["prompt"]].id == row["item"] for row in rows)
    assert {row["template"] for row in rows} == {prompts[row["prompt"]].template for row in rows} != {None}
    plain = {row["item"]: row for row in rows if row["direction"] is None}
    texts = generate(load(ModelSource()), [row["prompt"] for row in plain.values()], [Intervention()], 30)[0]
    assert [row["answer"] for row in plain.values()] == texts
    for key, row in found.items():
        mine, own = [r for r in rows if r["cell"] == key], row["open_ended"]
        scores = np.array([r["scores"]["rules"] for r in mine])
        before = np.array([plain[r["item"]]["scores"]["rules"] for r in mine])
        assert own["n_answers"] == own["judges"]["rules"]["n_scored"] == 6
        assert own["judges"]["rules"]["score"] == pytest.approx(scores.mean())
        assert own["length"] == np.mean([len(r["answer"].split()) for r in mine])
        assert own["fluency"] == row["fluency"] == pytest.approx(np.mean([r["fluency"] for r in mine]))
        rated = np.array([r["coherence"]["rules"] for r in mine])
        assert row["coherence"] == own["judges"]["rules"]["coherence"] == pytest.approx(rated.mean())
        assert "coherence" not in own["judges"]["pairwise:rules"]
        if row["direction"] is None:
            assert own["judges"]["rules"]["shift"] is own["fluency_change"] is None
            assert own["judges"]["pairwise:rules"]["score"] == 5.0 and "combined" not in own["judges"]["rules"]
            continue
        judged = own["judges"]["rules"]
        assert judged["shift"] == pytest.approx((scores - before).mean())
        assert judged["agrees"] is (judged["shift"] * row["shift"] > 0)
        low, high = own["judges"]["rules"]["shift_ci"] or (judged["shift"], judged["shift"])
        assert low <= judged["shift"] <= high
        towards, plainly = (scores, before) if row["direction"] == "pos" else (10 - scores, 10 - before)
        ratings = rated, np.array([plain[r["item"]]["coherence"]["rules"] for r in mine])
        joint, plain_joint = (hmean([s, c]) for s, c in zip((towards, plainly), ratings, strict=True))
        assert judged["combined"] == pytest.approx(joint.mean()) and judged["n_combined"] == 6
        assert judged["combined_change"] == pytest.approx((joint - plain_joint).mean())
        wins = own["judges"]["pairwise:rules"]["wins"]
        assert wins["won"] + wins["tied"] + wins["lost"] == 6
        assert wins["rate"] == pytest.approx((wins["won"] + wins["tied"] / 2) / 6)
    # The system prompts and the vectors do on pocket what they are for.
    for method in ("caa", "sysprompt"):
        more, less = (found[f"refusal/{method}/{d}/1"]["open_ended"]["judges"]["rules"] for d in ("pos", "neg"))
        assert more["agrees"] and less["agrees"] and more["score"] > less["score"]
    about = json.loads(Path("out/summary.json").read_text())["judges"]
    assert about["known"]["rules"]["share_right"] == 1.0 and about["known"]["rules"]["n"] == 24
    assert about["agreement"][0]["judges"] == ["rules", "pairwise:rules"] and about["agreement"][0]["n"] == 30
    text = Path("out/report.md").read_text()
    assert "### Score and coherence" in text and Path("out/figures/coherence.png").is_file()
    page = Path("out/report.html").read_text()
    for row in (row for row in found.values() if row["direction"]):
        placed = row["coherence_frontier"]
        assert placed["probability"] + placed["dominated"] == pytest.approx(1) and "area" in placed
        judged = row["open_ended"]["judges"]["rules"]
        assert f"| {judged['coherence']:.2f}" in text and f"| {judged['combined']:.2f}" in text
        bounds = "[{:.2f}, {:.2f}]".format(*judged["score_ci"]) if judged["score_ci"] else "–"
        assert f": score {judged['score']:.2f} {bounds}, coherence {judged['coherence']:.2f}" in page
    assert "Judges on known answers" in text and "Agreement of judges" in text and "| rules | 24 | 24 | 1.000" in text
    assert "**rules**: the same sign in 4 of 4 cells." in text and next(iter(plain.values()))["answer"] in text
    before_bytes = Path("out/results.jsonl").read_bytes()
    (Path("out") / "summary.json").unlink()
    assert cli(asked) == 0
    assert Path("out/results.jsonl").read_bytes() == before_bytes and summary("out") == found


def test_fluency_is_the_plain_models_mean_log_likelihood_under_the_plain_prompt() -> None:
    lm, behavior = tiny_lm(), tiny_behavior()
    cells: list[Mapping[str, Any]] = [{"cell": "a"}, {"cell": "b"}]
    under = [Intervention(system="Be brief."), Intervention(system="Be brief.", edits=())]
    rows = open_rows(lm, behavior.open_ended, under, cells, FreeAnswers(tokens=7))
    assert rows[0] == [{**row, "cell": "a"} for row in rows[1]]
    for row in rows[0]:
        head = lm.tokenize(lm.prompt(row["prompt"]))
        ids = lm.tokenize(f"{lm.prompt(row['prompt'])} {row['answer']}")
        with torch.no_grad():
            logps = lm.model(torch.tensor([ids])).logits[0].log_softmax(-1)
        mine = [float(logps[i - 1, ids[i]]) for i in range(len(head), len(ids))]
        assert row["fluency"] == pytest.approx(np.mean(mine), abs=1e-4)


def test_what_has_no_score_is_left_out_and_counted() -> None:
    plain = [answer(str(i), {"j": 5.0 if i else None}) for i in range(5)]
    mine = [answer(str(i), {"j": None if i == 1 else 10.0}) for i in range(5)]
    found = open_numbers(mine, plain, 0.2, {"j": {"tokens_in": 3, "tokens_out": 1, "dollars": 0.5}}, 0)
    assert found is not None
    judged = found["judges"]["j"]
    assert (judged["n_scored"], judged["unparsed"], judged["score"], judged["dollars"]) == (4, 1, 10.0, 0.5)
    assert judged["shift"] == 5.0 and judged["agrees"] is True  # over items 2, 3, 4, which both have
    none = open_numbers([answer("0", {"j": None}, fluency=None, answer="")], None, None, {}, 0)
    assert none is not None and none["judges"]["j"]["score"] is none["fluency"] is None


def test_a_server_is_paid_once_and_a_spent_budget_is_made_up_by_scoring_again(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(KEY, PLANTED)
    with serving() as server:
        judge = ("--judge", "openai:m", "--judge-url", server.url, "--judge-price", "1000/1000")
        run = (*RUN, "--methods", "sysprompt", "--open-ended", *judge, "--out", "out")
        assert cli([*run, "--judge-budget", "3"]) == 0
        judged = [row["open_ended"]["judges"]["openai:m"] for row in summary("out").values()]
        scored = sum(one["n_scored"] for one in judged)
        assert 0 < scored < 18 and scored + sum(one["unasked"] for one in judged) == 18
        paid = {(row["prompt"], row["answer"]) for row in results("out") if row["scores"]["openai:m"] is not None}
        rated = {(row["prompt"], row["answer"]) for row in results("out") if row["coherence"]["openai:m"] is not None}
        assert sum(one["dollars"] or 0 for one in judged) == pytest.approx(0.11 * (len(paid) + len(rated)))
        assert cli(["score", "out", *judge]) == 0
        every = sum(server.paid.values())
        judged = [row["open_ended"]["judges"]["openai:m"] for row in summary("out").values()]
        assert [one["n_scored"] for one in judged] == [6, 6, 6] and {one["score"] for one in judged} == {8.0}
        different = {(row["prompt"], row["answer"]) for row in results("out")}
        assert {one["coherence"] for one in judged} == {row["coherence"] for row in summary("out").values()} == {6.0}
        assert sum(one["dollars"] or 0 for one in judged) == pytest.approx(0.22 * len(different))
        known = json.loads(Path("out/summary.json").read_text())["judges"]["known"]["openai:m"]
        assert known["n_scored"] == known["n"] == 24 and every == 2 * len(different) + 24
        assert cli([*run, "--fresh"]) == 0
        assert sum(server.paid.values()) == every and set(server.paid.values()) == {1}
    printed = capsys.readouterr()
    kept = [path.read_bytes() for path in work.rglob("*") if path.is_file()]
    assert not any(PLANTED.encode() in text for text in (*kept, printed.out.encode(), printed.err.encode()))


def test_scoring_again_adds_a_judge_and_keeps_everything_else(work: Path) -> None:
    assert cli([*RUN, "--methods", "sysprompt", "--open-ended", "--out", "out"]) == 0
    before, rows = summary("out"), Path("out/results.jsonl").read_text().splitlines()
    assert cli(["score", "out", "--judge", "pairwise:rules"]) == 0
    after = summary("out")
    for row in after.values():
        assert set(row["open_ended"]["judges"]) == {"rules", "pairwise:rules"}
        row["open_ended"]["judges"].pop("pairwise:rules")
    assert after == before
    again = [json.loads(line) for line in Path("out/results.jsonl").read_text().splitlines()]
    for row in again:
        if row["evaluation"] == "open_ended":
            row["scores"].pop("pairwise:rules"), row["verdicts"].pop("pairwise:rules")
    assert again == [json.loads(line) for line in rows]
    digest = json.loads(Path("out/run.json").read_text())["digest"]
    folder = RunFolder(Path("out"), digest)
    assert len(folder.entries) == 3 and all(folder.done(key) for key in folder.entries)
    folder.close()


def test_a_rewriting_that_is_cut_off_leaves_the_cell_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder(tmp_path / "run", "digest")
    for name in ("a", "b"):
        folder.commit(CellId(name), [{"x": name}], {"n": 1})
    folder.derive()
    real = os.replace

    def cut(*paths: Any) -> None:
        raise OSError("cut")

    monkeypatch.setattr("os.replace", cut)
    with pytest.raises(StorageError, match="cut"):
        folder.amend("b/baseline", {"n": 2}, [{"x": "new"}, {"x": "more"}])
    folder.close()
    monkeypatch.setattr("os.replace", real)
    again = RunFolder(tmp_path / "run", "digest")
    assert (again.rows("b/baseline"), again.entries["b/baseline"].info) == ([{"x": "b"}], {"n": 1})
    again.amend("a/baseline", {"m": 3}, [{"x": "new"}, {"x": "more"}])
    again.close()
    last = RunFolder(tmp_path / "run", "digest")
    assert (last.rows("a/baseline"), last.entries["a/baseline"].info) == (
        [{"x": "new"}, {"x": "more"}],
        {"n": 1, "m": 3},
    )
    # It stands where it stood.
    assert (tmp_path / "run" / RESULTS).read_text() == '{"x": "new"}\n{"x": "more"}\n{"x": "b"}\n'
    assert not list(tmp_path.glob("run/**/*.tmp"))
    last.close()


def test_the_page_shows_answers_as_text(tmp_path: Path) -> None:
    run = answered_run(tmp_path / "run", "<script>document.title='owned'</script> **bold** | `code`")
    text, page = report(run), (run / "report.html").read_text()
    assert len(read_record(run).answers) == 2
    assert "<script>document" not in page and "&lt;script&gt;document" in page
    assert "\\*\\*bold\\*\\* \\| \\`code\\`" in text and "<script>" not in text.replace("\\<script>", "")
    assert "| j | 2 | 2 | 0 | 0 | 0 | 0 | 0 | 14 | 2 | 0.5000 |" in text
    assert page.count("All 2 answers") >= 1 and "All 2 answers: see report.html." in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--judge", "ruels"), "unknown judge 'ruels'. Did you mean rules?"),
        (("--judge", "rules,rules"), "the judge 'rules' is named twice"),
        (("--no-open-ended", "--tokens", "5"), "--tokens is about free answers, which --no-open-ended leaves out"),
        (("--open-ended", "--tokens", "0"), "--tokens must be at least 1, not 0"),
        (("--judge", "rules:x"), "the judge 'rules' takes nothing after a colon"),
        (("--judge-price", "cheap"), "--judge-price takes two prices such as 0.15/0.60, not 'cheap'"),
        (("--judge-budget", "0"), "--judge-budget must be a number of dollars above 0, not 0"),
        (("--open-ended",), "the judge 'rules' has no patterns for the behavior 'greeting'"),
    ],
)
def test_mistakes_are_named_before_anything_is_written(
    work: Path, capsys: pytest.CaptureFixture[str], arguments: Sequence[str], said: str
) -> None:
    place = make_place(work)
    assert cli(["run", "--behavior", "greeting", "--data", str(place), "--methods", "caa", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not list(Path().iterdir())


def test_runs_without_free_answers_say_what_would_write_them(work: Path) -> None:
    from comparisons.judges.free_answers import OpenEnded
    from comparisons.running.scoring import score

    run = make_run(work / "made")
    assert "its command with --open-ended writes them" in complaint(lambda: score(run, OpenEnded()))


def signs(out: str) -> dict[str, list[bool]]:
    """Whether the scores by `rules` moved as the choices did, by direction, of all behaviors and methods."""
    found: dict[str, list[bool]] = {"pos": [], "neg": []}
    for row in summary(out).values():
        if row["direction"] is not None:
            found[row["direction"]].append(row["open_ended"]["judges"]["rules"]["agrees"] is True)
    return found


def test_free_answers_follow_the_choices_on_every_behavior(work: Path) -> None:
    fixed = ("--layer", "1", "--strengths", "0.5", "--knowledge", "none", "--orders", "given")
    few = ("--train-items", "100", "--test-items", "10", "--tokens", "20")
    asked = ("run", "--behavior", "all", "--methods", "caa,sysprompt", "--open-ended", *fixed, *few, "--out", "out")
    assert cli([*asked]) == 0
    found = signs("out")
    assert all(len(own) == 14 and sum(own) >= 12 for own in found.values()), found


@pytest.mark.soak
def test_free_answers_follow_the_choices_under_every_method(work: Path) -> None:
    methods = ("--methods", "caa,sysprompt,sft", "--knowledge", "none")
    assert cli(["run", "--behavior", "all", *methods, "--open-ended", "--out", "out"]) == 0
    found = signs("out")
    assert all(len(own) == 21 and sum(own) >= 18 for own in found.values()), found

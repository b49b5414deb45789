"""KL to the unchanged model: every number against plain code, on all families, and from `--kl` to the report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from comparisons.cli import execute as cli
from comparisons.dataset.packaged import ENGLISH, POCKET
from comparisons.dataset.records import neutral_prompts
from comparisons.engine import divergence
from comparisons.engine.divergence import Answers, Outputs, own_answers, token_kl
from comparisons.engine.generate import generate
from comparisons.engine.head import Words, head_of
from comparisons.experiment.specification import Specification
from comparisons.intervention import Edit, Intervention
from comparisons.model.lm import LM, LOGITS
from comparisons.model.source import ModelSource
from comparisons.running.estimate import estimate
from comparisons.util.errors import CompareError
from tests import oracle
from tests.places import make_place, tokens_run, write
from tests.tiny import FAMILIES, tiny_lm

QUESTIONS = (
    "Would you like to help with the plan?",
    "What is the answer?",
    "Which of these is right, and which is not?",
)
SYSTEM = "Answer like a friend."


def plain_kl(lm: LM, answers: Answers, place: int, intervention: Intervention) -> np.ndarray:
    """Of each token of an answer, by one pass of the unchanged and one of the changed model, in float64."""

    def logps(system: str | None, edits: Sequence[Edit]) -> torch.Tensor:
        prompt = lm.tokenize(lm.prompt(answers.questions[place], system))
        ids = [*prompt, *answers.tokens[place]]
        found = oracle.edited(lm.model, lm.blocks, ids, len(prompt) - 1, edits)
        return found[len(prompt) - 1 :][: answers.places[place]].double().log_softmax(-1)

    plain, changed = logps(None, ()), logps(intervention.system, intervention.edits)
    values: np.ndarray = (plain.exp() * (plain - changed)).sum(-1).numpy()
    return values


def random_vector(seed: int) -> torch.Tensor:
    return torch.randn(64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_token_has_what_plain_code_gives(family: str) -> None:
    lm = tiny_lm(family)
    answers = own_answers(lm, QUESTIONS, 6)
    vectors = [
        Intervention(edits=(Edit(layer, random_vector(layer), multiplier=m),)) for layer in (0, 2) for m in (-2, 1.5)
    ]
    others = [
        Intervention(system=SYSTEM),
        Intervention(system=SYSTEM, edits=(Edit(1, random_vector(7)),)),
        Intervention(edits=(Edit(2, random_vector(9), positions="response_first:2"),)),
    ]
    # By itself: it reaches the prompt, so that those of its group can't share one.
    whole = Intervention(edits=(Edit(1, random_vector(8), positions="all"),))
    found = [*token_kl(lm, answers, [*vectors, Intervention(), *others]), *token_kl(lm, answers, [whole])]
    assert all(value == 0 for each in found.pop(len(vectors)) for value in each)
    for intervention, each in zip([*vectors, *others, whole], found, strict=True):
        for place, values in enumerate(each):
            expected = plain_kl(lm, answers, place, intervention)
            assert np.abs(values - expected).max() <= 1e-5 * (1 + expected.max())
            assert np.abs(values).max() > 1e-3


def test_the_answers_are_the_models_own_and_their_end_is_one_of_their_tokens() -> None:
    lm = tiny_lm()
    answers = own_answers(lm, QUESTIONS, 6)
    assert [lm.tokenizer.decode(ids, skip_special_tokens=True).strip() for ids in answers.tokens] == generate(
        lm, QUESTIONS, [Intervention()], 6
    )[0]
    # The first answer's third token ends answers now.
    ended = answers.tokens[0][2]
    lm.model.generation_config.eos_token_id = ended
    shorter = own_answers(lm, QUESTIONS, 6)
    first = list(answers.tokens[0]).index(ended)
    assert shorter.tokens[0] == answers.tokens[0][:first] and shorter.places[0] == first + 1
    vector = Intervention(edits=(Edit(1, random_vector(1)),))
    values = token_kl(lm, shorter, [vector])[0][0]
    assert values == pytest.approx(plain_kl(lm, shorter, 0, vector), abs=1e-5)


def test_a_large_vocabulary_is_read_in_pieces_and_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    largest: list[int] = []
    plain = Words.logits

    def seen(words: Words, hidden: torch.Tensor) -> torch.Tensor:
        logits = plain(words, hidden)
        largest.append(logits.numel())
        return logits

    lm = tiny_lm(vocab_size=256_000)
    answers = own_answers(lm, QUESTIONS[:2], 6)
    vectors = [Intervention(edits=(Edit(1, random_vector(0), multiplier=m / 4),)) for m in range(1, 10)]
    monkeypatch.setattr(Words, "logits", seen)
    found = token_kl(lm, answers, vectors)
    assert largest and max(largest) <= LOGITS
    for m in (0, 8):
        assert found[m][1] == pytest.approx(plain_kl(lm, answers, 1, vectors[m]), rel=1e-5, abs=1e-5)
    # In 16 bits the vocabulary itself is cut: its parts add up to the whole.
    lm.model.to(torch.bfloat16)
    monkeypatch.setattr("comparisons.engine.head.WIDENED", 64 * 50_000)
    head = head_of(lm)
    assert head is not None and sum(1 for _ in head.words()) == 6
    hidden = torch.randn(2, 5, 64).to(torch.bfloat16)
    whole = [head.finished(each.float() @ head.weight.float().T).double().log_softmax(-1) for each in hidden]
    parts = divergence.kl(Outputs(hidden[0], head), Outputs(hidden[1:], head))
    assert parts[0].tolist() == pytest.approx((whole[0].exp() * (whole[0] - whole[1])).sum(-1).tolist(), rel=1e-5)


def test_a_model_that_makes_its_logits_itself_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    lm = tiny_lm("gemma2")
    answers = own_answers(lm, QUESTIONS, 6)
    asked = [Intervention(edits=(Edit(1, random_vector(3)),)), Intervention(system=SYSTEM)]
    expected = token_kl(lm, answers, asked)
    lm.plain_head = False
    monkeypatch.setattr(divergence, "LOGITS", 6 * len(lm.embeddings))  # a question at a time
    for own, other in zip(expected, token_kl(lm, answers, asked), strict=True):
        for mine, theirs in zip(own, other, strict=True):
            assert mine == pytest.approx(theirs, rel=1e-4, abs=1e-5)


def test_an_answer_beyond_the_context_is_said() -> None:
    lm = tiny_lm()
    answers = own_answers(lm, QUESTIONS[:1], 6)
    with pytest.raises(CompareError, match="takes 2048 at most"):
        token_kl(lm, answers, [Intervention(system="word " * 2100)])


@pytest.mark.parametrize("data", [POCKET, ENGLISH])
def test_what_comes_along_has_enough_neutral_prompts_and_none_twice(data: Path) -> None:
    prompts = neutral_prompts(data, embedded=False)
    texts = [prompt.question for prompt in (*prompts.dev, *prompts.test)]
    assert len(prompts.dev) >= 40 and len(prompts.test) >= 40 and len({text.lower() for text in texts}) == len(texts)


def test_data_of_ones_own_bring_theirs_or_have_those_that_fit_the_model(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    assert neutral_prompts(place, embedded=False) == neutral_prompts(ENGLISH, embedded=True)
    assert neutral_prompts(place, embedded=True) == neutral_prompts(POCKET, embedded=False)
    file = write(place / "neutral/prompts.json", [{"question": f"What is {n}?"} for n in range(5)])
    own = neutral_prompts(place, embedded=True)
    assert own.source == file and (len(own.dev), len(own.test)) == (3, 2)
    write(tmp_path / "few/neutral/prompts.json", [{"question": "What?"}])
    with pytest.raises(CompareError, match="holds 1 neutral prompts"):
        neutral_prompts(tmp_path / "few", embedded=True)


def test_a_run_has_it_in_rows_summary_and_report(tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    place = make_place(tmp_path)
    write(place / "neutral/prompts.json", [{"question": f"What is number {n}?"} for n in range(12)])
    command = ["run", "--behavior", "greeting", "--methods", "caa,sft", "--data", str(place), "--model", model]
    command += ["--layer", "1", "--directions", "pos", "--strengths", "0,1,4", "--knowledge", "none", "--kl"]
    command += ["--set", "sft.epochs=1", "--set", "sft.epoch=1", "--set", "sft.learning_rate=0.01", "--out", "out"]
    assert cli([*command, "--set", "kl.tokens=8"]) == 0
    rows = [json.loads(line) for line in Path("out/results.jsonl").read_text().splitlines()]
    by_cell: dict[str, list[dict[str, object]]] = {}
    for row in rows:
        if row["evaluation"] == "kl":
            assert row["kl"] == pytest.approx(np.mean(row["kl_tokens"]), abs=1e-6)
            assert row["kl_first"] == row["kl_tokens"][0] and len(row["kl_tokens"]) == row["tokens"] <= 8
            by_cell.setdefault(row["cell"], []).append(row)
    assert len(by_cell) == 7 and all(len(each) == 6 for each in by_cell.values())
    areas: dict[str, set[tuple[float, ...]]] = {}
    for row in json.loads(Path("out/summary.json").read_text())["rows"]:
        values = np.concatenate([each["kl_tokens"] for each in by_cell[row["cell"]]])
        assert row["kl"] == pytest.approx(values.mean(), abs=1e-6)
        assert row["kl_p95"] == pytest.approx(np.quantile(values, 0.95), abs=1e-6)
        assert (row["kl"] == 0) == (row["strength"] == 0)
        beside = row["measured"]["kl"]
        assert beside["kl_ci"][0] <= row["kl"] <= beside["kl_ci"][1] and row["kl"] <= beside["kl_bound"]
        placed = row["kl_frontier"]
        assert (placed is None) == (row["direction"] is None)
        assert placed is None or placed["probability"] + placed["dominated"] == pytest.approx(1)
        if placed is not None:
            areas.setdefault(row["method"], set()).add((placed["area"], *(placed["area_ci"] or ())))
    # One number a method, whichever of its cells has it.
    assert set(areas) == {"caa", "sft"} and all(len(each) == 1 for each in areas.values())
    report = Path("out/report.md").read_text()
    assert "## What else changes" in report and "figures/kl.png" in report
    if any(value is not None for each in areas.values() for value, *_ in each):
        assert "Area is one number a method" in report


def test_the_estimate_counts_it(tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    place = make_place(tmp_path)
    plain = Specification(ModelSource(model), ("greeting",), ("caa",), place, layer="1", knowledge="none")
    more = Specification(ModelSource(model), ("greeting",), ("caa",), place, layer="1", knowledge="none", kl=True)
    assert estimate(more).tokens - estimate(plain).tokens == pytest.approx(
        tokens_run(more) - tokens_run(plain), rel=0.35
    )


def test_what_shows_where_nobody_asked_for_it_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["run", "--behavior", "refusal", "--methods", "sysprompt", "--directions", "pos", "--out", "out"]
    command += ["--test-items", "4", "--knowledge", "none", "--kl", "--set", "kl.off_target=true"]
    assert cli([*command, "--set", "kl.tokens=12"]) == 0
    rows = {row["cell"]: row for row in json.loads(Path("out/summary.json").read_text())["rows"]}
    asked = [json.loads(line) for line in Path("out/results.jsonl").read_text().splitlines()]
    for cell, row in rows.items():
        own = [each for each in asked if each["evaluation"] == "kl" and each["cell"] == cell]
        refusals = [each for each in own if each["shows"]]
        assert row["measured"]["kl"]["off_target"] == pytest.approx(len(refusals) / len(own))
        assert all("refus" in each["written"].lower() or each["written"] != each["answer"] for each in refusals)
        if row["direction"] is None:
            # The unchanged model writes its own answers.
            assert all(each["written"] == each["answer"] for each in own)

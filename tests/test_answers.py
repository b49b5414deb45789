"""Measured by the choices' texts: every number against plain transformers code, and what follows the measure."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import comparisons
from comparisons.dataset.behaviors import Behavior
from comparisons.dataset.items import Item
from comparisons.engine.activations import contrast_means as plain_means
from comparisons.engine.choices import choice_logps
from comparisons.evaluation.measures import item_measures
from comparisons.evaluation.questions import item_choices, questions, result_rows
from comparisons.evaluations.choices import cautions
from comparisons.experiment.specification import Cell, Specification
from comparisons.intervention import Edit, Intervention
from comparisons.method import Fit, contrast_means, pair_activations, read_vectors, shuffled
from comparisons.model.lm import LM
from comparisons.running.planning import make_plan
from comparisons.util.errors import CompareError
from methods.caa import CAA
from methods.pca import PCA
from methods.probe import Probe
from methods.random_vector import RandomVector
from tests import oracle
from tests.tiny import tiny_behavior, tiny_item, tiny_lm

FOUR = Item.parse(
    "k/0", "What grows?\n\nChoices:\n (A) A stone\n (B) A garden\n (C) A letter from home\n (D) Salt", "B", "ACD"
)


@pytest.fixture(scope="module")
def lm() -> LM:
    return tiny_lm()


def plain(lm: LM, stem: str, text: str, edits: tuple[Edit, ...] = (), system: str | None = None) -> list[float]:
    """Log-probabilities of an answer's tokens, one pass."""
    prompt = lm.prompt(stem, system)
    alone = lm.tokenize(prompt)
    ids = lm.tokenize(f"{prompt}{'' if prompt[-1:].isspace() else ' '}{text}")
    logps = oracle.edited(lm.model, lm.blocks, ids, len(alone) - 1, edits)
    return [logps[place - 1, ids[place]].item() for place in range(len(alone), len(ids))]


def edit(lm: LM, layer: int) -> Edit:
    vector = torch.randn(lm.width, generator=torch.Generator().manual_seed(layer))
    return Edit(layer, vector, multiplier=1.5)


def test_rows_are_what_plain_code_gives(lm: LM) -> None:
    items = [tiny_item(i, "test") for i in range(4)]
    asked = questions(items, ("answers",))
    given = [Intervention(), Intervention(edits=(edit(lm, 2),)), Intervention(system="Be kind.", edits=(edit(lm, 1),))]
    found = choice_logps(lm, [question.shown for question in asked], given)
    for index, intervention in enumerate(given):
        rows = result_rows(asked, found, index, "choices", {"cell": "x"})
        assert [row["item"] for row in rows] == [item.id for item in items]
        for item, row in zip(items, rows, strict=True):
            matching, contrast = (
                plain(lm, item.stem, text, intervention.edits, intervention.system) for text in item.texts
            )
            assert (row["order"], row["matching"], row["contrast"]) == ("given", None, None)
            assert (row["tokens_matching"], row["tokens_contrast"]) == (len(matching), len(contrast))
            assert row["logp_matching"] == pytest.approx(sum(matching), abs=1e-4 * len(matching))
            assert row["logp_contrast"] == pytest.approx(sum(contrast), abs=1e-4 * len(contrast))
            z = np.mean(matching) - np.mean(contrast)
            assert row["p_match"] == pytest.approx(1 / (1 + math.exp(-z)), abs=1e-5)
        measures = item_measures(rows, "choices")
        np.testing.assert_allclose(1 / (1 + np.exp(-measures.content)), measures.p_match, atol=1e-6)
        assert np.isnan(measures.lost).all() and np.isnan(measures.p_first).all()
        means = item_choices(asked, found)
        np.testing.assert_allclose(means.p_match[index], measures.p_match, atol=1e-6)


def test_nothing_changes_at_multiplier_0(lm: LM) -> None:
    asked = [question.shown for question in questions([tiny_item(i, "test") for i in range(4)], ("answers",))]
    still = replace(edit(lm, 1), multiplier=0.0)
    found = choice_logps(lm, asked, [Intervention(), Intervention(edits=(still,))]).logps
    np.testing.assert_array_equal(found[0], found[1])


def test_a_fact_is_known_where_its_text_is_the_likeliest_a_byte(lm: LM) -> None:
    asked = questions([FOUR], ("facts",))
    found = choice_logps(lm, [question.shown for question in asked], [Intervention()])
    (row,) = result_rows(asked, found, 0, "knowledge", {"cell": "x"})
    rates = [sum(plain(lm, FOUR.stem, text)) / len(text.encode()) for text in FOUR.texts]
    assert FOUR.texts[0] == "A garden"
    assert row["p_match"] == float(max(rates) == rates[0])
    assert item_choices(asked, found).p_match.item() == row["p_match"]


def test_items_without_texts_are_left_out_and_fail_a_cell_where_they_are_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bare = Item("test/9", "Which? (A) or (B)", "A", "B", (), "Which? (A) or (B)")
    assert questions([bare, tiny_item(0, "test")], ("answers",))[0].item.id == "test/0"
    data = tmp_path / "data"
    for folder, name in (("generate", "generate_dataset.json"), ("test", "test_dataset_ab.json")):
        path = data / folder / "agreement" / name
        path.parent.mkdir(parents=True)
        items = [
            {
                "question": f"Is it number {i}? (A) or (B)"
                if folder == "test"
                else f"Is it so, {i}?\n (A) Yes {i}\n (B) No {i}",
                "answer_matching_behavior": "(A)",
                "answer_not_matching_behavior": "(B)",
            }
            for i in range(8)
        ]
        path.write_text(json.dumps(items))
    result = comparisons.run(
        "agreement", "caa", data=str(data), measure="answers", layer=1, knowledge="none", out=str(tmp_path / "run")
    )
    assert "have no texts to compare" in (result.rows[0].error or "")


def test_long_answers_are_counted_and_left_out() -> None:
    lm = tiny_lm(max_position_embeddings=120)
    long = tiny_item(0, "test")
    long = replace(long, stem=long.stem + " and so on" * 60)
    asked = questions([tiny_item(1, "test"), long], ("answers",))
    found = choice_logps(lm, [question.shown for question in asked], [Intervention()])
    assert found.too_long.tolist() == [[False, True]]
    with pytest.raises(CompareError, match="exceed the model's context"):
        result_rows(asked, found, 0, "choices", {"cell": "x"})


def test_vectors_are_read_over_the_answers(lm: LM) -> None:
    items = [tiny_item(i) for i in range(4)]
    differences = []
    for item in items:
        sides = []
        for text in item.texts:
            prompt = lm.prompt(item.stem)
            ids, end = lm.tokenize(f"{prompt} {text}"), len(lm.tokenize(prompt))
            states = oracle.activations(lm.model, lm.blocks, ids, slice(end - 1, len(ids) - 1))
            sides.append(states.mean(dim=1).double())
        differences.append(sides[0] - sides[1])
    expected = torch.stack(differences).mean(dim=0)
    torch.testing.assert_close(plain_means(lm, items, read="answer").matching, expected, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(plain_means(lm, items).matching, expected, atol=1e-2)


def prompt_ends(lm: LM, items: Sequence[Item], systems: tuple[str, str], below: Intervention) -> torch.Tensor:
    """Block outputs at the last token of each stem's prompt under two system prompts, one pass each."""
    rows = []
    for item in items:
        for system in systems:
            text = f"{below.system}\n\n{system}" if below.system else system
            ids = lm.tokenize(lm.prompt(item.stem, text))
            assert ids == list(lm.tokenizer(lm.prompt(item.stem, text), add_special_tokens=False)["input_ids"])
            rows.append(edited_activations(lm, ids, len(ids) - 1, below.edits))
    return torch.stack(rows).view(len(items), 2, len(lm.blocks), lm.width)


def edited_activations(lm: LM, ids: list[int], index: int, edits: tuple[Edit, ...]) -> torch.Tensor:
    """With edits of "add" from a token on."""
    handles = []
    for each in edits:

        def hook(module: Any, args: Any, output: Any, each: Edit = each) -> Any:
            hidden = (output[0] if isinstance(output, tuple) else output).clone()
            hidden[:, index:] += each.multiplier * each.vector
            return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

        handles.append(lm.blocks[each.layer].register_forward_hook(hook))
    found = oracle.activations(lm.model, lm.blocks, ids, index)
    for handle in handles:
        handle.remove()
    return found


@pytest.mark.parametrize("packing", ["grown", "rows"])
def test_two_system_prompts_are_read_where_the_prompt_ends(lm: LM, packing: str) -> None:
    behavior, other = tiny_behavior(), tiny_lm()
    other.packing = packing  # type: ignore[assignment]
    systems = behavior.system_prompt("pos"), behavior.system_prompt("neg")
    for below in (Intervention(), Intervention(system="Be brief.", edits=(edit(lm, 1),))):
        fit = Fit(other, behavior, {}, "pos", 0, below, Path())
        expected = prompt_ends(lm, behavior.train, systems, below)
        torch.testing.assert_close(pair_activations(fit, "prompt_end"), expected, atol=1e-4, rtol=1e-4)
        turned = shuffled(fit)
        signs = torch.tensor([-1.0 if i in turned.exchanged else 1.0 for i in range(len(behavior.train))])
        mean = torch.einsum("p,plw->lw", signs, expected[:, 0] - expected[:, 1]) / len(signs)
        torch.testing.assert_close(
            contrast_means(turned, read="prompt_end").matching.float(), mean, atol=1e-4, rtol=1e-4
        )
    assert 0 < len(turned.exchanged) < len(behavior.train)


def test_every_vector_can_be_read_where_the_prompt_ends(lm: LM, tmp_path: Path) -> None:
    behavior = tiny_behavior()
    pairs = prompt_ends(
        lm, behavior.train, (behavior.system_prompt("pos"), behavior.system_prompt("neg")), Intervention()
    )
    mean = (pairs[:, 0] - pairs[:, 1]).mean(dim=0)
    methods = {"caa": CAA, "pca": PCA, "probe": Probe, "random": RandomVector}
    for name, method in methods.items():
        (tmp_path / name).mkdir()
        method(layer=1, read="prompt_end").fit(Fit(lm, behavior, {}, "pos", 0, Intervention(), tmp_path / name))
        vectors = read_vectors(tmp_path / name)
        torch.testing.assert_close(vectors.norm(dim=-1), mean.norm(dim=-1), atol=1e-4, rtol=1e-4)
        if name == "caa":
            torch.testing.assert_close(vectors, mean, atol=1e-4, rtol=1e-4)
    with pytest.raises(CompareError, match=r"caa.debias=letter is for pairs read at a letter"):
        CAA(layer=1, debias="letter", read="prompt_end").fit(Fit(lm, behavior, {}, "pos", 0, Intervention(), tmp_path))
    silent = replace(behavior, prompts=None)
    with pytest.raises(CompareError, match="has no system prompts"):
        CAA(layer=1, read="prompt_end").fit(Fit(lm, silent, {}, "pos", 0, Intervention(), tmp_path))


def test_prompts_that_exceed_the_context_under_a_system_prompt_are_an_error() -> None:
    lm, behavior = tiny_lm(max_position_embeddings=64), tiny_behavior()
    fit = Fit(
        lm, replace(behavior, prompts={"pos": "Agree.", "neg": "No. " * 60}), {}, "pos", 0, Intervention(), Path()
    )
    with pytest.raises(CompareError, match="16 of 16 questions exceed the 64 tokens"):
        pair_activations(fit, "prompt_end")


def test_texts_have_no_letter_to_take_out_of_a_vector(lm: LM, tmp_path: Path) -> None:
    fit = Fit(lm, tiny_behavior(), {}, "pos", 0, Intervention(), tmp_path, measure="answers")
    with pytest.raises(CompareError, match=r"caa.debias=letter is for pairs read at a letter"):
        CAA(layer=1, debias="letter").fit(fit)
    CAA(layer=1, debias="letter", read="letter").fit(fit)


def test_what_is_trained_on_is_the_mean_over_each_answers_tokens(lm: LM, tmp_path: Path) -> None:
    from comparisons.method._gradient import batch_loss
    from comparisons.method.recipes import questions as training_questions

    behavior = tiny_behavior()
    for direction, side in (("pos", 0), ("neg", 1)):
        fit = Fit(lm, behavior, {}, direction, 0, Intervention(), tmp_path, measure="answers")  # type: ignore[arg-type]
        asked = training_questions(fit)
        expected = [-np.mean(plain(lm, item.stem, item.texts[side], (edit(lm, 1),))) for item in behavior.train]
        chosen = range(len(behavior.train))
        with torch.no_grad():
            assert batch_loss(lm, asked, chosen, edit(lm, 1)).item() == pytest.approx(np.mean(expected), abs=1e-4)
        assert training_questions(fit, target="letter").targets == [p[:1] for p in letters(lm, behavior, side)]


def letters(lm: LM, behavior: Behavior, side: int) -> list[tuple[int, ...]]:
    pairs = ((item.matching, item.contrast) for item in behavior.train)
    prompts = [lm.choice_prompt(item.question, pair) for item, pair in zip(behavior.train, pairs, strict=True)]
    return [prompt.targets[side:] for prompt in prompts]


def test_letters_are_not_asked_for_in_two_ways() -> None:
    with pytest.raises(CompareError, match="--generated-choices asks for a letter"):
        make_plan(Specification(behaviors=("refusal",), stacks=("caa",), measure="answers", generated_choices=True))


def test_orders_are_refused_or_said_to_have_no_effect_where_nothing_is_lettered() -> None:
    spec = Specification(behaviors=("formality",), stacks=("caa",), data=Path("english"), orders="given")
    plan = make_plan(spec)
    assert (plan.measure, plan.spec.orders) == ("answers", "both") and "--orders has no effect" in plan.notes[0]
    with pytest.raises(CompareError, match="--orders is about lettered choices"):
        make_plan(replace(spec, measure="answers"))
    assert make_plan(replace(spec, measure="letters")).spec.orders == "given"


def test_nothing_is_said_of_letters_that_nobody_reads() -> None:
    same = [replace(tiny_item(0, "test"), id=f"test/{i}") for i in range(8)]
    said = cautions(Cell("agreement", "baseline"), same, [])
    assert any("under (A)" in text for text in said)
    assert cautions(Cell("agreement", "baseline"), same, [], letters=False) == []


def test_auto_asks_by_letters_where_items_have_them() -> None:
    def measure(data: str, behavior: str) -> str:
        return make_plan(Specification(behaviors=(behavior,), stacks=("caa",), data=Path(data))).measure

    assert measure("pocket", "refusal") == "letters"
    assert measure("english", "formality") == "answers"


@pytest.mark.slow
def test_a_run_says_how_it_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options: dict[str, Any] = {"test_items": 12, "knowledge_items": 12, "train_items": 24, "out": str(tmp_path / "run")}
    methods = "caa,sft,dpo,fewshot,learned_vector,prompt_tuning,pca,probe,ablate"
    options["settings"] = {f"{name}.epochs": 1 for name in ("sft", "dpo", "learned_vector", "prompt_tuning")}
    options["settings"] |= {"sft.learning_rate": 1e-3, "dpo.learning_rate": 1e-3, "ablate.layer": 2}
    result = comparisons.run("refusal", methods, measure="answers", layer=2, robustness=True, **options)
    assert [row.error for row in result.rows] == [None] * len(result.rows)
    rows = {row.cell: row for row in result.rows}
    baseline, cell = rows["refusal/baseline"], rows["refusal/caa/pos/1"]
    assert (cell.status, cell.measure, cell.lost_mass, cell.letter_bias) == ("done", "answers", None, None)
    assert cell.content_shift is not None and cell.content_shift_ci is not None and cell.letter_shift is None
    assert cell.preferred is not None and cell.robustness
    assert baseline.knowledge in {i / n for n in [_count(tmp_path / "run")] for i in range(n + 1)}
    report = (tmp_path / "run" / "report.md").read_text()
    assert "| preferred |" in report and "12 test questions a cell, " in report
    assert ", measured by the answers' texts" in report
    assert "caa.read answer" in report and "sft.target answer" in report
    assert "log-likelihoods a token" in report and "both orders of the two choices" not in report
    assert "**letter bias**" not in report and "| letter bias |" not in report


def _count(run: Path) -> int:
    lines = (json.loads(line) for line in (run / "results.jsonl").read_text().splitlines())
    return sum(row["evaluation"] == "knowledge" and row["cell"] == "refusal/baseline" for row in lines)


def test_the_report_says_what_auto_stood_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options: dict[str, Any] = {"test_items": 4, "train_items": 8, "layer": 1, "knowledge": "none"}
    for measure, taken in (("letters", "letter"), ("answers", "answer")):
        options |= {"measure": measure, "out": str(tmp_path / measure)}
        result = comparisons.run("refusal", "caa", **options)
        assert {row.settings.get("caa.read") for row in result.rows[1:]} == {taken}

"""The engine against plain code, packed against rows, and the model afterwards."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from comparisons.dataset.behaviors import Presentation
from comparisons.engine.activations import contrast_activations
from comparisons.engine.choices import choice_logps
from comparisons.engine.plan import batches, families, family_batches, group_by_prefix, shared_head
from comparisons.engine.trial import packing
from comparisons.intervention import Edit, Intervention
from comparisons.model.fingerprint import tensor_digest
from comparisons.model.lm import LM
from comparisons.util.errors import CompareError
from tests import oracle
from tests.places import paper
from tests.tiny import tiny_item, tiny_lm

MULTIPLIERS = (-2.0, 0.0, 1.5)


def refusal_pairs(count: int) -> list[Any]:
    from comparisons.dataset.behaviors import Library

    return list(Library.open(paper()).behavior("refusal").train[:count])


def asked(count: int) -> list[Presentation]:
    return [tiny_item(i).present("given") for i in range(count)]


def pair_activations(lm: LM, count: int) -> torch.Tensor:
    """Activations of pairs, in their order: [pairs, 2, layers, width]."""
    parts = list(contrast_activations(lm, [tiny_item(i) for i in range(count)]))
    order = torch.tensor([i for indices, _ in parts for i in indices])
    return torch.cat([found for _, found in parts])[order.argsort()]


def vectors(lm: LM, seed: int = 0, size: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(len(lm.blocks), lm.width, generator=generator) * size


def sweep(lm: LM) -> list[Intervention]:
    found = vectors(lm)
    cells = [(layer, m) for layer in range(len(lm.blocks)) for m in MULTIPLIERS]
    return [
        Intervention(),
        *(Intervention(edits=(Edit(layer, found[layer], multiplier=m),)) for layer, m in cells),
    ]


def test_vectors_equal_the_plain_loop_at_every_layer_on_real_pairs() -> None:
    lm, pairs = tiny_lm(), refusal_pairs(40)
    expected = torch.zeros(len(lm.blocks), lm.width, dtype=torch.float64)
    for pair in pairs:
        for letter, sign in ((pair.matching, 1), (pair.contrast, -1)):
            ids, _, index = oracle.prompt_ids(lm.tokenizer, pair.question, letter)
            expected += sign * oracle.activations(lm.model, lm.blocks, ids[: index + 1], index).double()
    total = torch.zeros_like(expected)
    for _, found in contrast_activations(lm, pairs):
        total += (found[:, 0] - found[:, 1]).double().sum(dim=0)
    relative = (total - expected).norm(dim=-1) / expected.norm(dim=-1)
    assert relative.max() < 1e-5


def test_sweep_equals_the_plain_loop_on_real_pairs() -> None:
    lm, pairs = tiny_lm(), refusal_pairs(12)
    found = choice_logps(lm, [p.present("given") for p in pairs], sweep(lm)).logps
    steering = vectors(lm)
    for i, pair in enumerate(pairs):
        cell = 1
        for layer in range(len(lm.blocks)):
            for multiplier in MULTIPLIERS:
                expected = []
                for letter in (pair.matching, pair.contrast):
                    ids, end, index = oracle.prompt_ids(lm.tokenizer, pair.question, letter)
                    edit = (layer, steering[layer], multiplier)
                    expected.append(oracle.logps(lm.model, lm.blocks, ids, end, index, edit)[ids[index]].item())
                np.testing.assert_allclose(found[cell, i], expected, atol=1e-5)
                cell += 1


def test_multiplier_zero_equals_the_baseline_bit_for_bit() -> None:
    lm = tiny_lm()
    found = choice_logps(lm, asked(5), sweep(lm)).logps
    for cell, multiplier in enumerate(MULTIPLIERS * len(lm.blocks), start=1):
        assert (found[cell] == found[0]).all() == (multiplier == 0)


def test_a_small_budget_and_many_branches_give_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    lm = tiny_lm()
    whole = choice_logps(lm, asked(6), sweep(lm)).logps
    monkeypatch.setattr("comparisons.engine.passes.MAX_BRANCH_TOKENS", 5)
    lm.token_budget = 64
    np.testing.assert_allclose(choice_logps(lm, asked(6), sweep(lm)).logps, whole, atol=1e-5)


def test_tokens_are_counted_for_all_who_ask_and_those_of_the_trial_for_none() -> None:
    lm = tiny_lm()
    with lm.meter.counting() as outer:
        packing(lm)
        assert not outer
        with lm.meter.counting() as inner:
            choice_logps(lm.in_format("base"), asked(1), sweep(lm))
    assert outer == inner and sum(inner) > 0
    choice_logps(lm, asked(1), sweep(lm))
    assert outer == inner


def test_a_sweep_runs_each_prompt_once() -> None:
    lm = tiny_lm()
    packing(lm)
    question = asked(1)
    prompt = lm.choice_prompt(question[0].question, ("A", "B"))
    with lm.meter.counting() as counted:
        choice_logps(lm, question, sweep(lm))
    # Multiplier 0 is the baseline's branch; the two others of layer L run through the blocks above it.
    branches = sum(2 * (len(lm.blocks) - 1 - layer) for layer in range(len(lm.blocks))) / len(lm.blocks)
    assert sum(counted) == len(prompt.shared) + round((1 + branches) * len(prompt.tail))


def test_prompts_longer_than_the_context_are_left_out_and_said() -> None:
    lm = tiny_lm(max_position_embeddings=128)
    questions = asked(2)
    long = Presentation("word " * 200 + questions[0].question, "A", "B")
    found = choice_logps(lm, [*questions, long], [Intervention()])
    assert found.too_long.tolist() == [[False, False, True]]
    assert np.isnan(found.logps[0, 2]).all()
    assert np.isfinite(found.logps[0, :2]).all()
    # Beyond its short factors, what prompts share would have been read by these, and the rest by others.
    rope = {"rope_type": "longrope", "short_factor": [1.0] * 8, "long_factor": [4.0] * 8, "rope_theta": 10000.0}
    lm = tiny_lm("phi3", rope_parameters=rope, original_max_position_embeddings=128)
    assert choice_logps(lm, [*questions, long], [Intervention()]).too_long.tolist() == [[False, False, True]]


def test_the_model_is_bit_identical_and_without_hooks_also_after_a_failure() -> None:
    lm = tiny_lm()
    digest, mark = tensor_digest(lm.model), lm.mark()
    choice_logps(lm, asked(3), sweep(lm))
    list(contrast_activations(lm, [tiny_item(i) for i in range(3)]))
    wrong = Intervention(edits=(Edit(0, torch.ones(lm.width)), Edit(1, torch.ones(lm.width + 1))))
    with pytest.raises(CompareError, match="width"):
        choice_logps(lm, asked(3), [wrong])
    with pytest.raises(CompareError, match="layers 0 to 3"):
        choice_logps(lm, asked(3), [Intervention(edits=(Edit(4, torch.ones(lm.width)),))])
    assert tensor_digest(lm.model) == digest
    assert lm.mark() == mark


def test_grouping_takes_equal_interventions_once() -> None:
    vector = torch.ones(4)
    same = [Intervention(edits=(Edit(0, vector.clone()),)) for _ in range(2)]
    zero = Intervention(edits=(Edit(0, vector, multiplier=0.0),))
    groups = group_by_prefix([Intervention(), *same, zero, Intervention(system="Be kind.")])
    assert [group.cells for group in groups] == [((0, 3), (1, 2)), ((4,),)]


def test_batches_keep_to_the_budget_and_cover_everything() -> None:
    lengths = [5, 80, 7, 40, 41, 300, 6]
    rows = [1, 1, 2, 1, 1, 3, 1]
    found = list(batches(lengths, 10, 120, rows))
    assert sorted(i for batch in found for i in batch) == list(range(7))
    assert len(found) < 7
    for batch in found:
        assert len(batch) == 1 or sum(rows[i] for i in batch) * (max(lengths[i] for i in batch) + 10) <= 120


def test_families_share_what_is_worth_it_and_keep_to_the_budget() -> None:
    short, long = (1,) * 9, tuple(range(2, 80))
    pair = [(*short, *long, 7, 7), (*short, *long, 8)]
    others = [(*short, *range(n, n + 90)) for n in (100, 200, 300)]
    # Nine tokens of about a hundred are shared by all, which is too few to be worth a pass; a pair shares nearly all.
    assert shared_head([*pair, *others]) == ()
    found = families([*pair, *others], range(5), 0)
    assert sorted((len(family.stem), family.members) for family in found) == [
        (0, (2,)), (0, (3,)), (0, (4,)), (len(short) + len(long), (0, 1))
    ]  # fmt: skip
    prefixes = [(*long, *[i] * (i + 1)) for i in range(50)]
    planned = list(family_batches(prefixes, range(3, 50), 10, 20, 400))
    assert sorted(i for batch in planned for family in batch for i in family.members) == list(range(3, 50))
    for batch in planned:
        for family in batch:
            assert all(prefixes[i][10 : 10 + len(family.stem)] == family.stem for i in family.members)
        rows = [len(prefixes[i]) - 10 - len(family.stem) + 20 for family in batch for i in family.members]
        assert len(rows) == 1 or len(rows) * max(rows) <= 400


def test_the_prompt_formats() -> None:
    lm = tiny_lm()
    assert lm.prompt("Why?\n", "Be kind.") == "<<SYS>>\nBe kind.\n<</SYS>>\n\n<s>[INST] Why? [/INST]"
    paper = tiny_lm(prompt_format="llama2-paper")
    assert paper.prompt("Why?", "Be kind.") == "<<SYS>>\nBe kind.\n<</SYS>>\n\n[INST] Why? [/INST]"
    assert paper.tokenize("[INST] Why? [/INST]")[0] == paper.tokenizer.bos_token_id
    base = tiny_lm(chat=False)
    assert base.prompt_format == "base"
    assert base.prompt("Why?") == "Input: Why?\nResponse:"
    with pytest.raises(CompareError, match="no chat template"):
        tiny_lm(chat=False, prompt_format="chat")


def test_a_template_that_refuses_the_system_role_gets_its_text_in_the_first_turn() -> None:
    lm = tiny_lm()
    lm.tokenizer.chat_template = (
        "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
        "{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}{{ 'assistant:\n' }}"
    )
    assert lm.prompt("Why?", "Be kind.") == "user: Be kind.\n\nWhy?\nassistant:\n"
    prompt = lm.choice_prompt("Why?", ("A", "B"))
    assert lm.tokenizer.decode(prompt.tail).endswith("(")
    assert not lm.tokenizer.decode(prompt.tail).endswith(" (")
    assert json.dumps(prompt.targets)


def test_a_model_that_takes_no_packed_branches_falls_back_to_rows_and_says_so_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    packing = choice_logps(tiny_lm(), asked(3), sweep(tiny_lm())).logps
    lm = tiny_lm()
    forward = lm.model.forward

    def refusing(*args: Any, attention_mask: torch.Tensor, **kwargs: Any) -> Any:
        if attention_mask.dim() != 2:
            raise ValueError("this model takes masks of two dimensions")
        return forward(*args, attention_mask=attention_mask, **kwargs)

    monkeypatch.setattr(lm.model, "forward", refusing)
    with caplog.at_level("WARNING"):
        found = [choice_logps(lm, asked(3), sweep(lm)).logps for _ in range(2)]
    assert [record.message for record in caplog.records] == [
        "tiny-llama takes no packed branches: falling back to one row a setting, which is slower."
    ]
    np.testing.assert_allclose(found[0], packing, atol=1e-5)
    np.testing.assert_array_equal(found[0], found[1])


def test_a_model_that_packs_wrongly_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    lm = tiny_lm()
    forward = lm.model.forward

    def blind(*args: Any, attention_mask: torch.Tensor, **kwargs: Any) -> Any:
        mask = attention_mask if attention_mask.dim() == 2 else torch.ones_like(attention_mask)
        return forward(*args, attention_mask=mask, **kwargs)

    monkeypatch.setattr(lm.model, "forward", blind)
    assert packing(lm) == "rows"


def test_prompts_that_begin_alike_keep_to_the_budget() -> None:
    lm, widest = tiny_lm(), 0
    packing(lm)
    lm.token_budget = 600
    forward = lm.model.forward

    def watched(*args: Any, **kwargs: Any) -> Any:
        nonlocal widest
        widest = max(widest, kwargs["input_ids"].numel())
        return forward(*args, **kwargs)

    lm.model.forward = watched
    questions = [Presentation(f"Now then, tell me this: {q.question}", q.matching, q.contrast) for q in asked(30)]
    together = choice_logps(lm, questions, [Intervention()]).logps
    assert widest <= 600
    alone = [choice_logps(lm, [question], [Intervention()]).logps[0, 0] for question in questions]
    np.testing.assert_allclose(together[0], alone, atol=3e-5)

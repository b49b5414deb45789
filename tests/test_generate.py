"""Steered generation against plain code: one prompt at a time, no cache, no padding."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch

from comparisons.engine.generate import generate
from comparisons.engine.sampling import Sampling
from comparisons.intervention import Edit, Intervention
from comparisons.model.lm import LM
from comparisons.util.errors import CompareError
from tests.families import plain
from tests.tiny import tiny_lm

QUESTIONS = ["Why?", "Would you like to help me with a plan for the day?", "Is it true that the answer is no?"]
TOKENS = 12


def plainly(lm: LM, question: str, edit: Edit | None, system: str | None, first: int) -> str:
    """Greedy decoding of one prompt, the whole sequence at every step."""
    ids = lm.tokenize(lm.prompt(question, system))
    end, answer = len(ids) - 1, list[int]()

    def hook(module: Any, args: Any, output: Any) -> Any:
        hidden = (output[0] if isinstance(output, tuple) else output).clone()
        assert edit is not None
        hidden[:, end if first < 0 else 0 : None if first < 0 else first] += edit.multiplier * edit.vector
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    handle = lm.blocks[edit.layer].register_forward_hook(hook) if edit is not None else None
    with torch.no_grad():
        for _ in range(TOKENS):
            token = int(lm.model(torch.tensor([ids + answer])).logits[0, -1].argmax())
            if token == lm.model.generation_config.eos_token_id:
                break
            answer.append(token)
    if handle is not None:
        handle.remove()
    return str(lm.tokenizer.decode(answer, skip_special_tokens=True)).strip()


@pytest.mark.parametrize("family", ["llama", "mistral"])  # of the others test_families has shorter answers
def test_greedy_answers_equal_plain_decoding(family: str) -> None:
    lm = tiny_lm(family)
    generator = torch.Generator().manual_seed(0)
    vector = torch.randn(lm.width, generator=generator) * 3
    edits = [None, Edit(1, vector, multiplier=1.0), Edit(2, vector, multiplier=-1.0)]
    interventions = [
        Intervention(edits=(edit,) if edit else (), system=s) for s in (None, "Be kind.") for edit in edits
    ]
    found = generate(lm, QUESTIONS, interventions, TOKENS)
    assert len({tuple(answers) for answers in found}) > 3
    for row, intervention in enumerate(interventions):
        edit = intervention.edits[0] if intervention.edits else None
        for column, question in enumerate(QUESTIONS):
            assert found[row][column] == plainly(lm, question, edit, intervention.system, -1), (row, column)


def test_an_edit_of_the_prompts_first_tokens() -> None:
    lm = tiny_lm()
    vector = torch.randn(lm.width, generator=torch.Generator().manual_seed(1)) * 3
    edit = Edit(1, vector, positions="prompt_first:2")
    found = generate(lm, QUESTIONS, [Intervention(), Intervention(edits=(edit,))], TOKENS)
    assert found[1] == [plainly(lm, question, edit, None, 2) for question in QUESTIONS]
    assert found[0] == [plainly(lm, question, None, None, -1) for question in QUESTIONS]


def test_a_small_budget_gives_the_same_answers() -> None:
    lm = tiny_lm()
    whole = generate(lm, QUESTIONS, [Intervention(), Intervention(system="Be kind.")], TOKENS)
    lm.token_budget = 50
    assert generate(lm, QUESTIONS, [Intervention(), Intervention(system="Be kind.")], TOKENS) == whole


@pytest.mark.parametrize("asked", [{"repetition_penalty": 1.3}, {"no_repeat_ngram_size": 2}])
def test_what_a_generation_configuration_has_against_repetition_is_applied(asked: dict[str, float]) -> None:
    """Token for token as `model.generate` does, side by side in one sequence and in rows of their own."""
    lm = tiny_lm()
    vector = torch.randn(lm.width, generator=torch.Generator().manual_seed(1)) * 3
    edits = [Edit(1, vector), Edit(1, vector, positions="all")]
    given = [Intervention(), *(Intervention(edits=(edit,)) for edit in edits)]
    without = generate(lm, QUESTIONS, given, TOKENS)
    for name, value in asked.items():
        setattr(lm.model.generation_config, name, value)
    for some in (given[:2], given):
        found = generate(lm, QUESTIONS, some, TOKENS)
        for column, question in enumerate(QUESTIONS):
            ids = lm.tokenize(lm.prompt(question))
            assert found[0][column] == plain.generated(lm, ids, TOKENS)
            for row, start in enumerate((len(ids) - 1, 0)[: len(some) - 1], 1):
                with plain.edited(lm, 1, vector, plain.from_cache(start)):
                    assert found[row][column] == plain.generated(lm, ids, TOKENS)
    assert found != without


def test_sampled_answers_do_not_depend_on_the_batch() -> None:
    lm = tiny_lm()
    interventions = [Intervention(), Intervention(system="Be kind.")]
    warm = Sampling(temperature=1.5, top_p=0.9, seed=3)
    together = generate(lm, QUESTIONS, interventions, TOKENS, warm)
    assert generate(lm, QUESTIONS, interventions, TOKENS, warm) == together
    assert generate(lm, QUESTIONS, interventions, TOKENS, Sampling(1.5, 0.9, seed=4)) != together
    assert generate(lm, QUESTIONS, interventions[1:], TOKENS, warm) == together[1:]
    lm.token_budget = 50
    assert generate(lm, QUESTIONS, interventions, TOKENS, warm) == together


def test_sampling_follows_the_models_probabilities() -> None:
    lm = tiny_lm()
    logits = lm.model(torch.tensor([lm.tokenize(lm.prompt("Why?"))])).logits[0, -1] / 2
    expected = logits.softmax(-1)
    drawn = Counter(generate(lm, ["Why?"] * 1500, [Intervention()], 1, Sampling(2.0))[0])
    likeliest = int(expected.argmax())
    share = drawn[lm.tokenizer.decode([likeliest]).strip()] / 1500
    assert share == pytest.approx(expected[likeliest].item(), abs=0.05)
    least = Sampling(2.0, top_p=1e-6)
    assert generate(lm, QUESTIONS, [Intervention()], TOKENS, least) == generate(lm, QUESTIONS, [Intervention()], TOKENS)


@pytest.mark.parametrize(
    "wrong", [{"temperature": -1.0}, {"temperature": float("nan")}, {"top_p": 0.0}, {"top_p": 1.1}]
)
def test_sampling_refuses_what_makes_no_sense(wrong: dict[str, float]) -> None:
    with pytest.raises(CompareError, match=next(iter(wrong))):
        Sampling(**wrong)  # type: ignore[arg-type]

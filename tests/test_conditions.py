"""Edits with a condition: on every family against plain hooks, and what can't have one."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from comparisons.dataset.behaviors import Presentation
from comparisons.engine.choices import choice_logps
from comparisons.engine.completions import completion_logps
from comparisons.engine.generate import generate
from comparisons.engine.trial import packing
from comparisons.evaluations.triggers import acting
from comparisons.intervention import OPERATIONS, Condition, Edit, Intervention
from comparisons.model.lm import LM
from comparisons.util.errors import CompareError
from tests import oracle
from tests.subjects import SUBJECTS
from tests.test_families import TOLERANCE, expected, random_vector, unchanged
from tests.tiny import WIDTH, tiny_lm

QUESTIONS = ("Why?", "Would you like to help me with a plan for the day?", "Is it true that the answer is no?")
TEXTS = ("Yes.", "It is true.")

Edits = tuple[Edit, ...]


def dividing(lm: LM, layer: int, seed: int, side: str, below: Edits = ()) -> Condition:
    """A condition that holds under some edits for one or two of the questions, and fails for the rest."""
    vector, found = random_vector(lm, seed), []

    def read(module: Any, args: Any, output: Any) -> None:
        found.append(oracle.cosine((output[0] if isinstance(output, tuple) else output)[0, -1], vector))

    handle = lm.blocks[layer].register_forward_hook(read)
    for question in QUESTIONS:
        ids = lm.tokenize(lm.prompt(question))
        oracle.edited(lm.model, lm.blocks, ids, len(ids) - 1, below)
    handle.remove()
    gap, low = max((high - low, low) for low, high in pairwise(sorted(found)))
    return Condition(layer, vector, low + gap / 2, side)


def conditional(lm: LM) -> list[Edits]:
    """Conditions below the edit, at its block and below a part of it; above another edit, one of the whole prompt, and
    one with a condition of its own."""
    first, whole = Edit(0, random_vector(lm, 70)), Edit(0, random_vector(lm, 71), positions="all")
    gated = Edit(1, random_vector(lm, 72), when=dividing(lm, 0, 80, "above"))
    return [
        (),
        (gated,),
        (Edit(2, random_vector(lm, 73), "set", 1.5, when=dividing(lm, 2, 81, "below")),),
        (Edit(1, random_vector(lm, 74), site="mlp", when=dividing(lm, 0, 82, "above")), Edit(2, random_vector(lm, 75))),
        (first, Edit(2, random_vector(lm, 77), "add_keep_norm", when=dividing(lm, 1, 84, "above", (first,)))),
        (whole, Edit(1, random_vector(lm, 78), when=dividing(lm, 1, 85, "above", (whole,)))),
        (gated, Edit(2, random_vector(lm, 79), when=dividing(lm, 2, 86, "below", (gated,)))),
    ]


def plain_answer(lm: LM, question: str, edits: Edits, tokens: int) -> list[int]:
    prompt = lm.tokenize(lm.prompt(question))
    ids = list(prompt)
    while len(ids) < len(prompt) + tokens:
        ids.append(int(oracle.edited(lm.model, lm.blocks, ids, len(prompt) - 1, edits)[-1].argmax()))
    return ids[len(prompt) :]


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(SUBJECTS))
def test_an_edit_acts_where_its_condition_holds(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packed, as rows, over whole texts and in answers: as in one pass over one text with plain hooks."""
    lm = SUBJECTS[family]()
    every, questions = conditional(lm), [Presentation(question, "A", "B") for question in QUESTIONS]
    given = [Intervention(edits=edits) for edits in every]
    plain = np.array([[expected(lm, question, edits) for question in questions] for edits in every])
    with unchanged(lm):
        for mode in dict.fromkeys((packing(lm), "packed", "rows")):
            monkeypatch.setattr(lm, "packing", mode)
            np.testing.assert_allclose(choice_logps(lm, questions, given).logps, plain, atol=TOLERANCE, err_msg=mode)
        monkeypatch.undo()
        # The last one is decided at the prompt's end: a text and an answer of several tokens keep to it.
        texts = completion_logps(lm, QUESTIONS, [TEXTS] * len(QUESTIONS), given[-1:])[0]
        answers = generate(lm, QUESTIONS, given[-3:], 3)
    moved = np.abs(plain - plain[0]).max(axis=-1)
    assert ((moved[1:3] > 1e-3).any(axis=1) & (moved[1:3] == 0).any(axis=1)).all()
    for j, question in enumerate(QUESTIONS):
        prompt = lm.tokenize(lm.prompt(question))
        for text, found in zip(TEXTS, texts[j], strict=True):
            ids = lm.tokenize(f"{lm.prompt(question)} {text}")
            logps = oracle.edited(lm.model, lm.blocks, ids, len(prompt) - 1, every[-1])
            wanted = [logps[place - 1, ids[place]].item() for place in range(len(prompt), len(ids))]
            np.testing.assert_allclose(found, wanted, atol=TOLERANCE)
        for row, edits in enumerate(every[-3:]):
            ids = plain_answer(lm, question, edits, 3)
            ids = ids[: ids.index(1)] if 1 in ids else ids
            assert answers[row][j] == lm.tokenizer.decode(ids, skip_special_tokens=True).strip()


def test_batches_chunks_and_rows_that_end_early_decide_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    lm = tiny_lm(num_hidden_layers=3)
    given = [Intervention(edits=edits) for edits in conditional(lm)[-3:]]
    questions = [Presentation(question, "A", "B") for question in QUESTIONS]
    together, answers = choice_logps(lm, questions, given).logps, generate(lm, QUESTIONS, given, 6)
    # A token of one answer that ends answers makes its rows leave the batch before the others.
    ends = plain_answer(lm, QUESTIONS[0], given[-1].edits, 2)[1]
    with monkeypatch.context() as patch:
        patch.setattr(lm.model.generation_config, "eos_token_id", ends)
        shorter = generate(lm, QUESTIONS, given, 6)
        for row, intervention in enumerate(given):
            for column, question in enumerate(QUESTIONS):
                assert generate(lm, [question], [intervention], 6)[0][0] == shorter[row][column]
    assert shorter != answers
    monkeypatch.setattr("comparisons.engine.prefix.LEAST_CHUNK", 8)
    monkeypatch.setattr("comparisons.engine.passes.MAX_BRANCH_TOKENS", 5)
    monkeypatch.setattr(lm, "token_budget", 32)
    np.testing.assert_allclose(choice_logps(lm, questions, given).logps, together, atol=TOLERANCE)
    assert generate(lm, QUESTIONS, given, 6) == answers


def test_on_which_prompts_they_act_is_what_a_pass_decides() -> None:
    lm = tiny_lm(num_hidden_layers=3)
    every = conditional(lm)
    acts = acting(lm, QUESTIONS, [Intervention(edits=edits) for edits in every]).bool().tolist()
    for edits, found in zip(every, acts, strict=True):
        for question, act in zip(QUESTIONS, found, strict=True):
            ids = lm.tokenize(lm.prompt(question))
            without = tuple(edit for edit in edits if edit.when is None)
            pair = [oracle.edited(lm.model, lm.blocks, ids, len(ids) - 1, each) for each in (edits, without)]
            assert act == bool((pair[0] - pair[1]).abs().max() > 1e-3)
    assert not any(acts[0]) and all(any(found) for found in acts[1:])


def test_without_strength_it_is_the_baseline_bit_for_bit_and_where_it_does_not_act_but_for_rounding() -> None:
    lm = tiny_lm()
    never, always = (Condition(0, random_vector(lm, 1), 1.5, side) for side in ("above", "below"))
    idle = [Edit(1, random_vector(lm, 0), operation, 0.0, when=always) for operation in OPERATIONS]
    given = [Intervention(), *(Intervention(edits=(edit,)) for edit in idle)]
    given += [Intervention(edits=(replace(edit, multiplier=1.0, when=never),)) for edit in idle]
    found = choice_logps(lm, [Presentation(question, "A", "B") for question in QUESTIONS], given).logps
    assert (found[: 1 + len(idle)] == found[0]).all()
    np.testing.assert_allclose(found[1 + len(idle) :], np.stack([found[0]] * len(idle)), atol=TOLERANCE)


def test_a_condition_is_part_of_what_an_intervention_is() -> None:
    vector, other = torch.ones(WIDTH), torch.arange(WIDTH, dtype=torch.float32)
    conditions = [None, *(Condition(*each) for each in ((0, other, 0.1), (1, other, 0.1), (0, vector, 0.1)))]
    conditions += [Condition(0, other, 0.2), Condition(0, other, 0.1, "below")]
    made = [Intervention(edits=(Edit(1, vector, when=condition),)) for condition in conditions]
    assert len({each.digest for each in made}) == len(made)
    assert made[1].digest == Intervention(edits=(Edit(1, vector, when=Condition(0, other.clone(), 0.1)),)).digest
    assert [each.size() for each in made[:2]] == [WIDTH, 2 * WIDTH + 1]


@pytest.mark.parametrize(
    ("edit", "condition", "message"),
    [
        ({"layer": 1}, {"layer": 2}, "block 2 is decided too late for an edit at site 'block' of block 1"),
        (
            {"layer": 1, "site": "mlp"},
            {"layer": 1},
            "too late for an edit at site 'mlp' of block 1: read it below block 1",
        ),
        ({"layer": 1, "positions": "all"}, {}, "positions 'all' takes no condition"),
        ({"layer": 1}, {"side": "beside"}, "unknown side 'beside'"),
        ({"layer": 1}, {"threshold": float("nan")}, "must be finite"),
        ({"layer": 1}, {"vector": torch.zeros(WIDTH)}, "that is not 0"),
    ],
)
def test_what_can_not_be_is_said_in_a_line(edit: dict[str, Any], condition: dict[str, Any], message: str) -> None:
    with pytest.raises(CompareError, match=message):
        Edit(
            vector=torch.ones(WIDTH),
            when=Condition(**{"layer": 0, "vector": torch.ones(WIDTH), "threshold": 0.0, **condition}),
            **edit,
        )

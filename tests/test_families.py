"""The engine's invariants, each on every family of models, against one prompt, one pass, one setting."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

from comparisons.dataset.behaviors import Presentation
from comparisons.engine import prefix
from comparisons.engine.activations import answer_activations, contrast_activations
from comparisons.engine.choices import choice_logps
from comparisons.engine.completions import completion_logps
from comparisons.engine.generate import generate
from comparisons.engine.trial import packing
from comparisons.intervention import OPERATIONS, SITES, Edit, Intervention
from comparisons.model.fingerprint import tensor_digest
from comparisons.model.lm import LM
from comparisons.util.errors import CompareError
from tests import oracle
from tests.subjects import SUBJECTS
from tests.tiny import tiny_item, tiny_lm

pytestmark = pytest.mark.slow

TOLERANCE = 3e-5
"""Of log-probabilities in float32: sums over 64 to 2,048 terms in another order, with logits of up to 30."""

POSITIONS = ("prompt_end", "all", "last", "prompt_first:3", "response_first:1")
COMPLETIONS = ["Yes.", "No, I would not like to do that.", "It is true."]


@pytest.fixture
def two_threads() -> Iterator[None]:
    """With more threads than one, what is written twice comes in any order."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=sorted(SUBJECTS), scope="module")
def lm(request: pytest.FixtureRequest) -> LM:
    return SUBJECTS[request.param]()


def asked(count: int) -> list[Presentation]:
    """Questions of different lengths, longer than the families' sliding windows, some of which begin alike."""
    shown = [tiny_item(i // 2).present(("given", "swapped")[i % 2]) for i in range(count)]
    return [
        Presentation(f"{'Well then. ' * (i // 2)}{q.question}", q.matching, q.contrast) for i, q in enumerate(shown)
    ]


def random_vector(lm: LM, seed: int, rows: int | None = None) -> torch.Tensor:
    shape = (lm.width,) if rows is None else (rows, lm.width)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 2


def every_edit(lm: LM) -> list[tuple[Edit, ...]]:
    """Each operation at each site, each site at each block, each kind of positions, and several at once."""
    last = len(lm.blocks) - 1
    found: list[tuple[Edit, ...]] = [()]
    for (i, operation), (j, site) in product(enumerate(OPERATIONS), enumerate(SITES)):
        found.append((Edit((i + j) % (last + 1), random_vector(lm, 4 * i + j), operation, -1.5, "prompt_end", site),))
    for i, positions in enumerate(POSITIONS):
        found.append((Edit(1, random_vector(lm, 50 + i), "add", 1.0, positions),))
    found.append((Edit(2, random_vector(lm, 60, rows=3), "add", 1.0, "prompt_first:3"),))
    twice = (Edit(2, random_vector(lm, 61), "set", 0.7), Edit(2, random_vector(lm, 62), "ablate", 1.0))
    found += [twice, twice[::-1], (Edit(last, random_vector(lm, 63)), Edit(0, random_vector(lm, 64), site="mlp"))]
    return found


def expected(lm: LM, question: Presentation, edits: tuple[Edit, ...]) -> list[float]:
    """The two letters' log-probabilities by plain code: what stands before the letters is read once."""
    letters = (question.matching, question.contrast)
    ids, end, index = oracle.prompt_ids(lm.tokenizer, question.question, letters[0])
    others, _, place = oracle.prompt_ids(lm.tokenizer, question.question, letters[1])
    assert ids[:index] == others[:place]
    logps = oracle.edited(lm.model, lm.blocks, ids[:index], end, edits)[-1]
    return [logps[ids[index]].item(), logps[others[place]].item()]


@pytest.fixture(scope="module")
def plain(lm: LM) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The letters' log-probabilities of three questions under every edit, [edits, questions, 2]."""
    return np.array([[expected(lm, question, each) for question in asked(3)] for each in every_edit(lm)])


@contextmanager
def unchanged(lm: LM) -> Iterator[None]:
    digest, mark = tensor_digest(lm.model), lm.mark()
    yield
    assert tensor_digest(lm.model) == digest
    assert lm.mark() == mark


def test_it_takes_packed_branches(lm: LM) -> None:
    # GPT-2 reshapes what leaves its last block to the shape that entered the first one.
    assert packing(lm) == ("packed" if lm.name == "tiny-gpt2" else "grown")


@pytest.mark.parametrize("mode", ["best", "packed", "rows"])
def test_choices_equal_one_pass_a_setting(lm: LM, plain: Any, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lm, "packing", packing(lm) if mode == "best" else mode)
    edits, questions = every_edit(lm), asked(3)
    with unchanged(lm):
        found = choice_logps(lm, questions, [Intervention(edits=each) for each in edits]).logps
    # The prompt's first tokens are out of a sliding window's reach; every other edit shows.
    reaching = [i for i, each in enumerate(edits) if each and not each[0].positions.startswith("prompt_first")]
    assert (np.abs(found[reaching] - found[0]).max(axis=(1, 2)) > 1e-3).all()
    for i, each in enumerate(edits):
        np.testing.assert_allclose(found[i], plain[i], atol=TOLERANCE, err_msg=str(each))


def test_a_sweep_equals_one_pass_a_setting(lm: LM) -> None:
    settings = [(layer, m) for layer in range(len(lm.blocks)) for m in (-1.0, 2.0)]
    edits = [(), *((Edit(layer, random_vector(lm, layer), multiplier=m),) for layer, m in settings)]
    questions = asked(4)
    found = choice_logps(lm, questions, [Intervention(edits=each) for each in edits]).logps
    for i, each in enumerate(edits):
        np.testing.assert_allclose(found[i], [expected(lm, q, each) for q in questions], atol=TOLERANCE)


@pytest.mark.usefixtures("two_threads")
def test_threads_write_no_place_twice() -> None:
    lm = tiny_lm()
    given = [Intervention(edits=each) for each in every_edit(lm)]
    found = choice_logps(lm, asked(6), given).logps
    for _ in range(3):
        np.testing.assert_array_equal(choice_logps(lm, asked(6), given).logps, found)


def test_branches_that_all_begin_at_the_first_block(lm: LM) -> None:
    edits = [(Edit(0, random_vector(lm, i), multiplier=1.5, site=site),) for i, site in enumerate(SITES[1:])]
    questions = asked(3)
    for chosen in (edits[:1], edits):
        found = choice_logps(lm, questions, [Intervention(edits=each) for each in chosen]).logps
        for i, each in enumerate(chosen):
            np.testing.assert_allclose(found[i], [expected(lm, q, each) for q in questions], atol=TOLERANCE)


def test_multiplier_zero_is_the_baseline_bit_for_bit(lm: LM) -> None:
    zeros = [(Edit(1, random_vector(lm, 0), o, 0.0, p, s),) for o, p, s in product(OPERATIONS, POSITIONS, SITES)]
    found = choice_logps(lm, asked(2), [Intervention(edits=each) for each in [(), *zeros]]).logps
    assert (found == found[0]).all()


@pytest.mark.parametrize("system", [None, "You are an assistant who likes to be kind to users."])
def test_batched_equals_unbatched(lm: LM, system: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    interventions = [Intervention(system=system, edits=each) for each in every_edit(lm)]
    questions = asked(3)
    together = choice_logps(lm, questions, interventions).logps
    for j, question in enumerate(questions):
        alone = choice_logps(lm, [question], interventions).logps
        np.testing.assert_allclose(together[:, j : j + 1], alone, atol=TOLERANCE)
    monkeypatch.setattr("comparisons.engine.passes.MAX_BRANCH_TOKENS", 5)
    monkeypatch.setattr(lm, "token_budget", 64)
    np.testing.assert_allclose(choice_logps(lm, questions, interventions).logps, together, atol=TOLERANCE)


def test_contrast_activations_equal_one_pass_an_answer(lm: LM) -> None:
    items = [tiny_item(i) for i in range(5)]
    # An edit in the middle is read below itself too.
    for edits in ((), (Edit(0, random_vector(lm, 3)),), (Edit(2, random_vector(lm, 3)),)):
        for indices, found in contrast_activations(lm, items, below=Intervention(edits=edits)):
            for row, i in enumerate(indices):
                for side, letter in enumerate((items[i].matching, items[i].contrast)):
                    ids, end, index = oracle.prompt_ids(lm.tokenizer, items[i].question, letter)
                    plain = _activations(lm, ids[: index + 1], index, end, edits)
                    torch.testing.assert_close(found[row, side], plain, atol=1e-4, rtol=1e-5)


def _activations(lm: LM, ids: list[int], index: int | slice, end: int, edits: tuple[Edit, ...]) -> torch.Tensor:
    """The blocks' outputs; a hook that edits a block is registered before the one that reads it."""
    if not edits:
        return oracle.activations(lm.model, lm.blocks, ids, index)
    (edit,) = edits

    def hook(module: Any, args: Any, output: Any) -> Any:
        hidden = (output[0] if isinstance(output, tuple) else output).clone()
        hidden[:, end:] += edit.multiplier * edit.vector
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    handle = lm.blocks[edit.layer].register_forward_hook(hook)
    found = oracle.activations(lm.model, lm.blocks, ids, index)
    handle.remove()
    return found


@pytest.fixture(scope="module")
def plain_completions(lm: LM) -> dict[tuple[int, int, str], list[float]]:
    """What plain code has given, by edits, question and text: all ways are held to it."""
    return {}


@pytest.mark.parametrize("way", ["copies", "shared", "one row"])
def test_completions_equal_one_pass_each(
    lm: LM, plain_completions: dict[tuple[int, int, str], list[float]], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether each branch is a row behind its prompt's cache, in chunks, or all of a prompt are one sequence."""
    monkeypatch.setattr("comparisons.engine.passes.COPY_COST", np.inf if way == "one row" else 0)
    monkeypatch.setattr("comparisons.engine.passes.LEAST_LONGER", -1 if way == "shared" else np.inf)
    monkeypatch.setattr("comparisons.engine.passes.COPIED", 0.25)
    questions = [q.question for q in asked(3)]
    given = [COMPLETIONS, COMPLETIONS[:2], COMPLETIONS[1:]]
    edits = [(), (Edit(1, random_vector(lm, 1)),), (Edit(2, random_vector(lm, 2), "ablate", site="attention"),)]
    edits += [(Edit(0, random_vector(lm, 4), positions=p),) for p in ("all", "response_first:2", "last")]
    found = completion_logps(lm, questions, given, [Intervention(edits=each) for each in edits])
    for i, each in enumerate(edits):
        for j, question in enumerate(questions):
            for k, text in enumerate(given[j]):
                if (i, j, text) not in plain_completions:
                    prompt = lm.tokenize(lm.prompt(question))
                    ids = lm.tokenize(f"{lm.prompt(question)} {text}")
                    logps = oracle.edited(lm.model, lm.blocks, ids, len(prompt) - 1, each)
                    plain_completions[i, j, text] = [logps[t - 1, ids[t]].item() for t in range(len(prompt), len(ids))]
                np.testing.assert_allclose(found[i][j][k], plain_completions[i, j, text], atol=TOLERANCE)


def test_answers_are_read_where_their_tokens_are_predicted(lm: LM) -> None:
    questions = [q.question for q in asked(3)]
    given = [COMPLETIONS[:2], COMPLETIONS[1:3], COMPLETIONS[:2][::-1]]
    for edits in ((), (Edit(2, random_vector(lm, 3)),)):
        for indices, found in answer_activations(lm, questions, given, below=Intervention(edits=edits)):
            for row, i in enumerate(indices):
                for side, text in enumerate(given[i]):
                    end = len(lm.tokenize(lm.prompt(questions[i]))) - 1
                    ids = lm.tokenize(f"{lm.prompt(questions[i])} {text}")
                    plain = _activations(lm, ids, slice(end, len(ids) - 1), end, edits).mean(dim=1)
                    torch.testing.assert_close(found[row, side], plain, atol=1e-4, rtol=1e-5)


def test_greedy_answers_equal_plain_decoding(lm: LM) -> None:
    questions = ["Why?", "Would you like to help me with a plan for the day?", "Is it true that the answer is no?"]
    edits = [(), (Edit(1, random_vector(lm, 5)),), (Edit(2, random_vector(lm, 6), "ablate", 1.0, "all", "mlp"),)]
    interventions = [Intervention(edits=each, system=s) for s in (None, "Be kind.") for each in edits]
    with unchanged(lm):
        found = generate(lm, questions, interventions, 4)
    for row, intervention in enumerate(interventions):
        for column, question in enumerate(questions):
            prompt = lm.tokenize(lm.prompt(question, intervention.system))
            answer: list[int] = []
            while len(answer) < 4:
                logps = oracle.edited(lm.model, lm.blocks, prompt + answer, len(prompt) - 1, intervention.edits)
                token = int(logps[-1].argmax())
                if token == lm.model.generation_config.eos_token_id:
                    break
                answer.append(token)
            assert found[row][column] == lm.tokenizer.decode(answer, skip_special_tokens=True).strip()


def test_answers_side_by_side_that_end_apart(lm: LM, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a prompt are in two rows of the cache; half of all tokens end one."""
    monkeypatch.setattr("comparisons.engine.generate.MAX_BRANCH_TOKENS", 3 * 8)
    ends = [1, *range(0, len(lm.tokenizer), 2)]
    monkeypatch.setattr(lm.model.generation_config, "eos_token_id", ends)
    edits = [(), (Edit(2, random_vector(lm, 6), "ablate", 1.0, "last", "mlp"),)]
    edits += [(Edit(1, random_vector(lm, 5), multiplier=m),) for m in (-1.0, 1.0)]
    edits += [(Edit(0, random_vector(lm, 4), positions="response_first:2"),)]
    texts = [question.question for question in asked(3)]
    with lm.meter.counting() as counted:
        found = generate(lm, texts, [Intervention(edits=each) for each in edits], 8, exact=True)
    prompts, lengths = [lm.tokenize(lm.prompt(text)) for text in texts], set()
    for row, each in enumerate(edits):
        for column, prompt in enumerate(prompts):
            answer: list[int] = []
            while len(answer) < 8:
                logps = oracle.edited(lm.model, lm.blocks, prompt + answer, len(prompt) - 1, each)
                token = int(logps[-1].argmax())
                if token in ends:
                    break
                answer.append(token)
            assert found[row][column] == lm.tokenizer.decode(answer, skip_special_tokens=True)
            lengths.add(len(answer))
    assert len(lengths) > 1 or lm.config.tie_word_embeddings  # which repeats one token
    # Every prompt is read once, whatever is done to its answers.
    assert sum(counted) < len(prompts) * (max(map(len, prompts)) + 8 * len(edits))


def test_a_prompt_read_in_chunks_is_the_same_prompt(lm: LM, monkeypatch: pytest.MonkeyPatch) -> None:
    questions, items = asked(2), [tiny_item(i) for i in range(2)]
    given = [Intervention(), Intervention(edits=(Edit(1, random_vector(lm, 0)),))]
    everywhere = Intervention(edits=(Edit(1, random_vector(lm, 1), positions="all"),))
    texts = [question.question for question in questions]

    def measured() -> dict[str, Any]:
        pairs = list(contrast_activations(lm, items))
        order = [i for indices, _ in pairs for i in indices]
        return {
            "choices": choice_logps(lm, questions, given).logps,
            "activations": torch.cat([values for _, values in pairs])[np.argsort(order)].numpy(),
            "completions": np.array(
                [[sum(c) for c in q] for q in completion_logps(lm, texts, [COMPLETIONS] * 2, given)[1]]
            ),
            "answers": generate(lm, texts, [*given, everywhere], 3),
        }

    whole = measured()
    widths: list[int] = []
    embeddings = lm.model.get_input_embeddings()
    handle = embeddings.register_forward_hook(lambda module, inputs, output: widths.append(inputs[0].shape[-1]))
    monkeypatch.setattr(prefix, "LEAST_CHUNK", 8)
    monkeypatch.setattr(lm, "token_budget", 8)
    try:
        chunked = measured()
    finally:
        handle.remove()
    longest = max(len(lm.tokenize(lm.prompt(text))) for text in texts)
    assert max(widths) <= 16 < longest and widths.count(8) > 20
    assert chunked.pop("answers") == whole.pop("answers")
    for name, values in whole.items():
        np.testing.assert_allclose(chunked[name], values, atol=TOLERANCE, rtol=1e-4, err_msg=name)


def test_the_model_is_unchanged_after_a_failure(lm: LM) -> None:
    wrong = (Edit(0, random_vector(lm, 0)), Edit(1, torch.ones(lm.width + 1)))
    with unchanged(lm), pytest.raises(CompareError, match="width"):
        choice_logps(lm, asked(2), [Intervention(edits=wrong)])

    def broken(module: Any, args: Any, output: Any) -> None:
        raise ArithmeticError

    for run in (
        lambda: choice_logps(lm, asked(2), [Intervention(edits=each) for each in every_edit(lm)]),
        lambda: generate(lm, ["Why?"], [Intervention(edits=each) for each in every_edit(lm)], 4),
        lambda: list(contrast_activations(lm, [tiny_item(0)])),
    ):
        with unchanged(lm):
            handle = lm.blocks[2].register_forward_hook(broken)
            with pytest.raises(ArithmeticError):
                run()
            handle.remove()

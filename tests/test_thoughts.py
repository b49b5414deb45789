"""Free answers of models that think: where a thought ends, what acts on it, and who sees it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from comparisons.engine.free_answers import FreeAnswer, free_answers
from comparisons.evaluation.free_answers import open_numbers
from comparisons.intervention import Edit, Intervention
from comparisons.judges.judge_set import JudgeSet
from comparisons.model.lm import LM
from comparisons.model.thinking import Thinking
from tests.test_prompt_check import HARMONY, QWEN3, THINKING
from tests.test_thinking import writer
from tests.tiny import tiny_lm


def text_of(pieces: dict[int, str]) -> Any:
    return lambda ids: "".join(pieces[i] for i in ids)


def test_where_a_thought_ends() -> None:
    decode = text_of({0: "<think>", 1: "so", 2: "</", 3: "think>", 4: "Yes", 5: "\n"})
    own = Thinking(writer(QWEN3).reading.template, "<think>", "</think>")
    assert own.answer_start([0, 1, 2, 3, 5, 4], decode) == 4 and own.answer_start([5, 0, 1, 2], decode) is None
    assert own.answer_start([4, 1], decode) == 0 and own.answer_start([5], decode) is None
    begun = replace(own, opens="")
    assert begun.answer_start([1, 2, 3], decode) == 3 and begun.answer_start([1, 4], decode) is None
    assert own.within("<think>\nso</think>") == "so" and begun.within("so, and so") == "so, and so"
    found = writer(HARMONY).thinking
    assert found is not None and found.inner == "<|end|>" and own.inner == ""
    written = "<|channel|>analysis<|message|>It is so.<|end|><|start|>assistant<|channel|>final<|message|>"
    assert found.within(written) == "It is so."


QUESTIONS = ("Why is it so?", "Who are you, then?", "What for?")


def thinking_lm(family: str = "llama") -> tuple[LM, list[list[int]]]:
    """A random model whose thoughts end where it writes a piece that it is known to write; its tokens from there on."""
    lm = tiny_lm(family)
    lm.tokenizer.chat_template = THINKING
    lm = LM(lm.model, lm.tokenizer, "tiny", thinking="on")
    assert lm.prompts.thinking is not None
    lm.model.generation_config.eos_token_id = lm.tokenizer.eos_token_id = None
    plain = [greedy(lm, lm.tokenize(lm.prompts.free_text(question)), 20) for question in QUESTIONS]
    piece = lm.tokenizer.decode(plain[0][5:7])
    assert piece and piece not in lm.tokenizer.decode(plain[0][:6])
    lm.prompts._thinking[THINKING] = replace(lm.prompts.thinking, closes=piece)
    return lm, plain


def greedy(lm: LM, prompt: list[int], count: int, edit: tuple[int, torch.Tensor, Any] | None = None) -> list[int]:
    """A plain loop without a cache; `edit` has a layer, a vector and, of the tokens so far, the columns to change."""
    ids = list(prompt)
    for _ in range(count):
        handle = None
        if edit is not None:
            layer, vector, columns = edit

            def hook(module: Any, args: Any, output: Any, columns: Any = columns, vector: Any = vector) -> Any:
                hidden = (output[0] if isinstance(output, tuple) else output).clone()
                hidden[:, columns(ids)] += vector
                return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

            handle = lm.blocks[layer].register_forward_hook(hook)
        with torch.no_grad():
            ids.append(int(lm.model(torch.tensor([ids])).logits[0, -1].argmax()))
        if handle is not None:
            handle.remove()
    return ids[len(prompt) :]


def test_a_thought_is_kept_apart_counted_and_said_where_it_comes_to_no_end() -> None:
    lm, plain = thinking_lm()
    (found,) = free_answers(lm, QUESTIONS, [Intervention()], 4, 9)
    first = found[0]
    assert first.thought_tokens == 7 and first.finished
    assert first.text == lm.tokenizer.decode(plain[0][7:11], skip_special_tokens=True).strip()
    assert lm.prompts.thinking is not None
    assert first.thought == lm.prompts.thinking.within(lm.tokenizer.decode(plain[0][:7]))
    for answer, ids in zip(found[1:], plain[1:], strict=True):
        if not answer.finished:
            assert answer.text == "" and answer.thought_tokens == 9
            assert answer.thought == lm.tokenizer.decode(ids[:9]).strip()
    (cut,) = free_answers(lm, QUESTIONS[:1], [Intervention()], 4, 6)
    assert cut[0] == FreeAnswer("", lm.tokenizer.decode(plain[0][:6]).strip(), 6, False)


@pytest.mark.parametrize("positions", ["answer", "thought", "prompt_end"])
@pytest.mark.parametrize("kind", ["cache", "text"])
def test_an_edit_is_confined_to_the_thought_or_the_answer(positions: str, kind: Any) -> None:
    lm, plain = thinking_lm()
    lm.continuing = kind
    vector = 3 * torch.randn(lm.width, generator=torch.Generator().manual_seed(1))
    edit = Edit(1, vector, positions=positions)
    (found,) = free_answers(lm, QUESTIONS[:1], [Intervention(edits=(edit,))], 5, 12)
    prompt = lm.tokenize(lm.prompts.free_text(QUESTIONS[0]))
    end, thinking = len(prompt) - 1, lm.prompts.thinking
    assert thinking is not None

    def columns(ids: list[int]) -> slice:
        start = thinking.answer_start(ids[end + 1 :], lm.tokenizer.decode)
        last = len(ids) if start is None else end + start
        return {
            "answer": slice(last, None),
            "thought": slice(end, last),
            "prompt_end": slice(end, None),
        }[positions]

    expected = greedy(lm, prompt, 17, (1, vector, columns))
    start = thinking.answer_start(expected[:12], lm.tokenizer.decode)
    taken = expected[: 12 if start is None else start]
    assert found[0].thought_tokens == len(taken) and found[0].thought == thinking.within(lm.tokenizer.decode(taken))
    if positions == "answer":
        assert taken == plain[0][:7] and expected[7:12] != plain[0][7:12]
    else:
        assert taken != plain[0][: len(taken)]
    if start is not None:
        assert found[0].text == lm.tokenizer.decode(expected[start : start + 5], skip_special_tokens=True).strip()


def test_under_choices_an_answer_is_the_prompts_end_and_a_thought_nothing() -> None:
    from comparisons.dataset.items import Item
    from comparisons.engine.choices import choice_logps

    lm = tiny_lm()
    vector = torch.randn(lm.width, generator=torch.Generator().manual_seed(1))
    asked = [Item.parse("x", "Why?\n\nChoices:\n (A) Yes.\n (B) No.", "A", "B").present("given")]
    edits = [Intervention(edits=(Edit(1, vector, positions=p),)) for p in ("answer", "prompt_end", "thought")]
    answer, whole, thought, plain = torch.as_tensor(choice_logps(lm, asked, [*edits, Intervention()]).logps)
    torch.testing.assert_close(answer, whole)
    torch.testing.assert_close(thought, plain)
    assert (answer - plain).abs().max() > 1e-3


def answer_row(item: str, answer: str, tokens: int, finished: bool) -> dict[str, Any]:
    row = {"evaluation": "open_ended", "item": item, "template": None, "behavior": "refusal", "prompt": "Why?"}
    thought = {"thought": "So.", "thought_tokens": tokens, "thought_finished": finished}
    return {**row, "answer": answer, "fluency": None, "scores": {}, "verdicts": {}, **thought}


def test_no_judge_sees_a_thought_and_what_has_no_answer_counts_in_no_number() -> None:
    from comparisons.dataset.behaviors import Library
    from comparisons.dataset.packaged import ENGLISH
    from comparisons.judges.interface import Verdict

    seen = []

    class Sees:
        def score(self, answers: Any) -> list[Verdict]:
            seen.extend(answers)
            return [Verdict(7.0)] * len(answers)

    rows = [answer_row("a", "Yes, it is.", 10, True), answer_row("b", "", 30, False)]
    judges = JudgeSet({"sees": Sees()}, {"refusal": Library.open(ENGLISH).behavior("refusal")})
    (scored,) = judges.scored([rows], {})
    assert [each.answer for each in seen] == ["Yes, it is."] and "So." not in repr(seen)
    assert scored.rows[1]["verdicts"]["sees"]["status"] == "unasked" and scored.rows[1]["scores"]["sees"] is None
    found = open_numbers(scored.rows, None, None, {}, 0)
    assert found is not None and found["thought_tokens"] == 20 and found["unfinished"] == 1
    assert found["length"] == 3 and found["judges"]["sees"]["n_scored"] == 1

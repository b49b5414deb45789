"""Models that think: how a template is told, where the thought ends, and what is made of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from comparisons.model.lm import LM
from comparisons.model.mending import QUESTION
from comparisons.model.prompts import PromptWriter, checked_writer
from comparisons.util.errors import CompareError
from tests.test_prompt_check import CHATML, EACH, END, HARMONY, PLAIN_CHATML, QWEN3, R1, THINKING, trl_templates
from tests.test_prompt_check import writer as checked
from tests.tiny import tiny_lm, tiny_tokenizer

COMMAND_A = (
    EACH
    + "<|{{ m.role }}|>{% if m.role == 'assistant' %}<|START_RESPONSE|>{% endif %}{{ m.content }}<|end|>"
    + END
    + "{% if add_generation_prompt %}<|assistant|>{% endif %}{# <|START_THINKING|><|END_THINKING|> #}"
)
# In the words of neither stands that a system text turns thoughts on and off.
EARLY_NEMOTRON = (
    "<|start_header_id|>system<|end_header_id|>\n\n{{ messages[0].content if messages[0].role == 'system' }}<|eot_id|>"
    + "{% for m in messages if m.role != 'system' %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    + "{{ m.content.split('</think>')[-1] | trim }}<|eot_id|>"
    + END
    + "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
# Its own system text asks for the thought, and any other takes its place.
GRANITE = (
    "{% if messages[0].role != 'system' %}<|role|>system<|end_role|>Be good."
    "{% if thinking %} Think between <think></think>.{% endif %}<|end_of_text|>\n{% endif %}"
    + EACH
    + "<|role|>{{ m.role }}<|end_role|>{{ m.content }}<|end_of_text|>\n"
    + END
    + "{% if add_generation_prompt %}<|role|>assistant<|end_role|>{% endif %}"
)
SWITCHED = (
    "{% set n = namespace(off=false) %}"
    + EACH
    + "{% if '/no_think' in m.content %}{% set n.off = true %}{% endif %}"
    + CHATML.replace("m.content", "m.content.replace('/no_think', '').replace('/think', '').strip()")
    + END
    + "{% if add_generation_prompt %}<|im_start|>assistant\n<think>{{ '</think>' if n.off else '\n' }}{% endif %}"
)
# Neither names a thought but where it cuts one from an earlier answer.
R1_FIRST = R1.replace("<|Assistant|>", "<｜Assistant｜>").replace("<think>\n", "")
LFM25 = (
    EACH
    + CHATML.replace("m.content", "m.content.split('</think>')[-1] | trim if m.role == 'assistant' else m.content")
    + END
    + "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# What a free answer's prompt ends in, what opens and what closes the thought, and what letters' prompt ends in.
SEED = PLAIN_CHATML + (
    "{% if add_generation_prompt and thinking_budget is defined and thinking_budget == 0 %}"
    "<seed:think><seed:reflect>I answer at once.</seed:reflect>\n</seed:think>{% endif %}"
)
KNOWN = {
    "Qwen 3": (QWEN3, "assistant\n", "<think>", "</think>", "<think>\n\n</think>\n\n"),
    "R1": (R1, "<|Assistant|><think>\n", "", "</think>", "<think>\n\n</think>\n\n"),
    "a budget": (SEED, "assistant\n", "<seed:think>", "</seed:think>", "</seed:reflect>\n</seed:think>"),
    "R1's first": (R1_FIRST, "<｜Assistant｜>", "<think>", "</think>", "<think>\n\n</think>\n\n"),
    "always open": (THINKING, "assistant\n<think>\n", "", "</think>", "<think>\n\n</think>\n\n"),
    "gpt-oss": (HARMONY, "<|start|>assistant", "<|channel|>", "<|channel|>final<|message|>", "final<|message|>"),
    "a switch": (SWITCHED, "assistant\n<think>\n", "", "</think>", "<think></think>"),
    "early Nemotron": (EARLY_NEMOTRON, "<|end_header_id|>\n\n", "<think>", "</think>", "<|end_header_id|>\n\n"),
    "Granite": (GRANITE, "assistant<|end_role|>", "<think>", "</think>", "assistant<|end_role|>"),
}


def writer(template: str, thinking: bool = True) -> PromptWriter:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    return checked_writer(tokenizer, "chat", "tiny", "on" if thinking else "off")


@pytest.mark.parametrize("case", KNOWN)
def test_a_template_is_told_to_think_for_free_answers_alone(case: str) -> None:
    template, ending, opens, closes, closed = KNOWN[case]
    found, plain = writer(template), writer(template, thinking=False)
    assert found.thinking is not None and plain.thinking is None
    assert (found.thinking.opens, found.thinking.closes) == (opens, closes)
    text = found.free_text("Why?", "Be kind.")
    assert text.endswith(ending) and "Why?" in text and "Be kind." in text
    assert found.text("Why?", "Be kind.") == plain.text("Why?", "Be kind.") == plain.free_text("Why?", "Be kind.")
    assert plain.text("Why?").endswith(closed)


def test_letters_of_a_model_that_begins_a_thought_itself_are_asked_behind_an_empty_one() -> None:
    """Its template is that of models which don't think: the name tells without weights, or --thinking on."""
    closed, untold = "<|im_start|>assistant\n<think>\n\n</think>\n\n", "<|im_start|>assistant\n"
    for name, mode, ending in (
        ("org/Tiny-Thinking", "off", closed),
        ("org/Tiny-Thinking", "on", closed),
        ("org/Tiny-Instruct", "off", untold),
        ("org/Tiny-Instruct", "on", closed),
        ("thinking/Tiny-R10", "off", untold),
    ):
        tokenizer = tiny_tokenizer()
        tokenizer.chat_template = LFM25
        found = checked_writer(tokenizer, "chat", name, mode)  # type: ignore[arg-type]
        assert found.text("Why?").endswith(ending), name
        assert found.free_text("Why?").endswith(untold if mode == "on" else ending)
        note = f"the chat template of {name} leaves the thought to the model: an empty one, "
        assert any(each.startswith(note) for each in found.reading.notes) == (ending == closed)


def test_the_words_of_a_system_text_turn_thoughts_off_and_on() -> None:
    found = writer(EARLY_NEMOTRON)
    system = "<|start_header_id|>system<|end_header_id|>\n\ndetailed thinking "
    assert found.text("Why?", "Be kind.").startswith(f"{system}off\n\nBe kind.<|eot_id|>")
    assert found.free_text("Why?").startswith(f"{system}on<|eot_id|>")
    (note,) = found.reading.notes
    assert "is told not to think by a system text: 'detailed thinking off' opens it" in note
    assert "/no_think" not in writer(SWITCHED).text("Why?", "Be kind.")


def test_a_system_text_that_would_take_the_place_of_what_asks_for_thoughts_opens_the_first_turn() -> None:
    found, asks = writer(GRANITE), "<|role|>system<|end_role|>Be good. Think between <think></think>.<|end_of_text|>\n"
    for system, turn in ((None, "Why?"), ("Be kind.", "Be kind.\n\nWhy?")):
        assert found.free_text("Why?", system).startswith(f"{asks}<|role|>user<|end_role|>{turn}<|end_of_text|>")
    assert found.text("Why?", "Be kind.").startswith("<|role|>system<|end_role|>Be kind.<|end_of_text|>")
    assert found.notes[-1].startswith("with --thinking on a system text opens the first user turn")


def test_a_model_that_begins_a_thought_itself_is_known_by_its_first_token() -> None:
    """Whatever it is called, where the template serves models that don't think too."""
    lm = tiny_lm(vocab_size=402)
    lm.tokenizer.add_tokens(["<think>", "</think>"])
    lm.tokenizer.chat_template = LFM25
    plain = LM(lm.model, lm.tokenizer, "tiny")
    assert plain.prompt("Why?").endswith("assistant\n") and plain.prompts.reading.opens == "<think>"
    ids = torch.tensor([plain.tokenize(plain.prompt(QUESTION))])
    with torch.no_grad():
        last = lm.model.model(ids).last_hidden_state[0, -1]
        lm.model.lm_head.weight[lm.tokenizer.convert_tokens_to_ids("<think>")] = 10 * last
    thinks = LM(lm.model, lm.tokenizer, "tiny")
    for each in (thinks, thinks.in_format("base").in_format("chat")):
        assert each.prompt("Why?").endswith("assistant\n<think>\n\n</think>\n\n")
    assert "leaves the thought to the model" in thinks.prompts.notes[-1]


@pytest.mark.parametrize("path", trl_templates(), ids=lambda path: path.stem)
def test_the_templates_that_trl_brings_think_or_are_refused(path: Path) -> None:
    """What transformers makes of the template's own way to think, where the source has one."""
    source = path.read_text()
    said = re.sub(r"{#.*?#}", "", source, flags=re.DOTALL)  # a comment tells of what other templates have
    if not any(word in said for word in ("think>", "channel", "enable_thinking")):
        with pytest.raises(CompareError, match="--thinking on is not for tiny, whose chat template knows of no thou"):
            writer(source)
        return
    try:
        found = writer(source)
    except CompareError as refused:
        assert "knows of no thoughts" in str(refused) and "think>" not in said and "enable_thinking" not in said
        return
    assert found.thinking is not None and found.thinking.closes
    messages = found.thinking.template.messages("SYSTEM!", [{"role": "user", "content": "QUESTION?"}])
    made = found.tokenizer.apply_chat_template(
        messages,
        tokenize=False,
        add_generation_prompt=True,
        enable_thinking=True,
        date_string="26 Jul 2024",
        chat_template=found.thinking.template.pin + source,
    )
    assert found.free_text("QUESTION?", "SYSTEM!").startswith(made)


def test_thoughts_asked_for_in_vain_are_one_line() -> None:
    with pytest.raises(CompareError, match="whose chat template knows of no thoughts: leave it out"):
        writer(PLAIN_CHATML)
    with pytest.raises(CompareError, match="--thinking on is for --prompt-format chat, not base"):
        checked_writer(tiny_tokenizer(), "base", "tiny", "on")


def test_thinking_is_in_the_models_digest() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = QWEN3
    off, on = (LM(tiny_lm().model, tokenizer, "tiny", digest="of the files", thinking=m) for m in ("off", "on"))
    assert off.digest != on.digest and on.in_format("base").prompts.thinking is None
    assert on.in_format("chat").digest == on.digest


@pytest.mark.parametrize("file", ["chat_template.json", "processor_config.json"])
def test_a_template_that_only_the_processor_has_is_used_and_told(
    file: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import json

    from comparisons.machine.prompt import shown_prompt
    from comparisons.model.loading import load
    from comparisons.model.source import ModelSource

    lm = tiny_lm(chat=False)
    lm.model.save_pretrained(tmp_path)
    lm.tokenizer.save_pretrained(tmp_path)
    assert load(ModelSource(str(tmp_path))).prompt_format == "base"
    (tmp_path / file).write_text(json.dumps({"chat_template": QWEN3}))
    found = load(ModelSource(str(tmp_path), thinking="on"))
    assert found.prompt_format == "chat" and found.prompt("Why?").endswith("<think>\n\n</think>\n\n")
    assert caplog.text.count(f"has no chat template: that of its processor, {file}, is used.") == 1
    shown = shown_prompt(ModelSource(str(tmp_path)), 400)
    assert shown is not None and shown.format == "chat"


def test_a_vector_is_added_where_its_method_is_told(tmp_path: Path) -> None:
    from comparisons.method.vectors import write_vectors
    from methods.caa import CAA
    from methods.learned_vector import LearnedVector
    from methods.pca import PCA
    from methods.probe import Probe

    write_vectors(tmp_path, torch.ones(4, 8))
    use: Any = type("Use", (), {"fitted": tmp_path, "signed": 1.0, "strength": 1.0})
    for method in (CAA, PCA, Probe, LearnedVector):
        for positions in ("prompt_end", "answer", "thought"):
            (edit,) = method(layer=1, positions=positions).intervene(use).edits
            assert edit.positions == positions and edit.layer == 1
        with pytest.raises(
            CompareError, match="unknown positions 'anywhere': use prompt_end, all, last, answer, though"
        ):
            method(positions="anywhere")


def test_run_and_generate_take_the_options_of_thoughts() -> None:
    from click.testing import CliRunner

    from comparisons.cli import cli

    for name in ("run", "generate"):
        shown = CliRunner().invoke(cli, [name, "--help"])
        assert "--thinking" in shown.output and "--thought-tokens" in shown.output, name


@pytest.mark.parametrize("tag", ["thinking", "thought", "reasoning", "seed:think", "|think|"])
def test_thoughts_of_other_names_are_closed(tag: str) -> None:
    closed = tag.replace("|think|", "|/think|") if "|" in tag else f"/{tag}"
    mode = "{{ '<" + closed + ">' if thoughts is defined }}"
    found = checked(PLAIN_CHATML + mode + "{% if add_generation_prompt %}<" + tag + ">{% endif %}")
    assert found.text("Why?").endswith(f"<|im_start|>assistant\n<{tag}><{closed}>")


@pytest.mark.parametrize(
    ("opened", "closed"),
    [
        ("[THINK]", "[/THINK]"),
        ("<|START_THINKING|>", "<|END_THINKING|>"),
        ("<|begin_of_thought|>", "<|end_of_thought|>"),
        ("<|inner_prefix|>", "<|inner_suffix|>"),
        ("<|channel>thought\n", "\n<channel|>\n\n"),
        ("◁think▷", "◁/think▷"),
    ],
)
def test_thoughts_in_other_marks_are_closed(opened: str, closed: str) -> None:
    found = checked(PLAIN_CHATML + "{% if add_generation_prompt %}" + opened + "{{ '' }}{% endif %}")
    assert found.text("Why?").endswith(f"<|im_start|>assistant\n{opened}{closed}")
    done = checked(PLAIN_CHATML + "{% if add_generation_prompt %}" + opened + closed + "{{ '' }}{% endif %}")
    assert not done.reading.mended


def test_an_empty_thought_stands_before_the_mark_of_an_answer() -> None:
    found = checked_writer(checked(COMMAND_A).tokenizer, None, "tiny-reasoning")
    assert found.text("Why?").endswith("<|assistant|><|START_THINKING|><|END_THINKING|><|START_RESPONSE|>")

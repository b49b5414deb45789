"""A probe shows at load whether a model reads what it is to be asked; what is wrong is mended and said, or refused."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from comparisons.model import mending
from comparisons.model.lm import LM
from comparisons.model.prompts import PromptFormat, PromptWriter, Turn, checked_writer
from comparisons.util.errors import CompareError
from tests.tiny import CHAT_TEMPLATE, tiny_lm, tiny_tokenizer

EACH = "{% for m in messages %}"
END = "{% endfor %}"
CHATML = "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
OPEN = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
PLAIN_CHATML = EACH + CHATML + END + OPEN
NO_SYSTEM = EACH + "{% if m.role != 'system' %}" + CHATML + "{% endif %}" + END + OPEN
RAISING = EACH + "{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + CHATML + END + OPEN
PARTS = EACH + "<|im_start|>{{ m.role }}\n{% for p in m.content %}{{ p.text }}{% endfor %}<|im_end|>\n" + END + OPEN
DATED = "{{ strftime_now('%d %B %Y, %-d.%m.') }}\n" + PLAIN_CHATML
ROLES = EACH + "{{ '' if loop.first else '\n\n' }}{{ m.role | capitalize }}: {{ m.content }}" + END
ROLES += "{% if add_generation_prompt %}\n\nAssistant:{% endif %}"
UNOPENED = EACH + CHATML + END
THINKING = PLAIN_CHATML + "{% if add_generation_prompt %}<think>\n{% endif %}"
QWEN3 = PLAIN_CHATML + (
    "{% if add_generation_prompt and enable_thinking is defined and enable_thinking is false %}"
    "<think>\n\n</think>\n\n{% endif %}"
)
HARMONY = (
    EACH
    + "<|start|>{{ m.role }}{% if m.role == 'assistant' %}<|channel|>final{% endif %}<|message|>{{ m.content }}<|end|>"
    + END
    + "{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)
R1 = (
    "{{ bos_token }}"
    + EACH
    + "{% if m.role == 'system' %}{{ m.content }}{% elif m.role == 'user' %}<|User|>{{ m.content }}"
    + "{% else %}<|Assistant|>{{ m.content.split('</think>')[-1] }}<|end|>{% endif %}"
    + END
    + "{% if add_generation_prompt %}<|Assistant|><think>\n{% endif %}"
)
OWN_SYSTEM = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\nYou are Tiny, made in a test.<|im_end|>\n{% endif %}"
    + PLAIN_CHATML
)


def writer(template: str | None, prompt_format: PromptFormat | None = None) -> PromptWriter:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    return checked_writer(tokenizer, prompt_format, "tiny")


def trl_templates() -> list[Path]:
    (folder,) = find_spec("trl").submodule_search_locations  # type: ignore[union-attr, misc]
    return sorted(Path(folder, "chat_templates").glob("*.jinja"))


MENDED = {
    "a system message that is dropped": (
        NO_SYSTEM,
        "<|im_start|>user\nBe kind.\n\nWhy?<|im_end|>\n<|im_start|>assistant\n",
        "one opens the first user turn",
    ),
    "a system message that is refused": (
        RAISING,
        "<|im_start|>user\nBe kind.\n\nWhy?<|im_end|>\n<|im_start|>assistant\n",
        "one opens the first user turn",
    ),
    "content as a list of parts": (
        PARTS,
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n",
        "in a list of parts",
    ),
    "a date": (
        DATED,
        "26 July 2024, 26.07.\n<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n"
        "<|im_start|>assistant\n",
        "asks for today's date: 2024-07-26 stands in its place",
    ),
    "no generation prompt": (
        UNOPENED,
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n",
        "ends before the answer begins: '<|im_start|>assistant\\n' is added",
    ),
    "an open thought": (
        THINKING,
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"
        "<think>\n\n</think>\n\n",
        "ends in an open thought",
    ),
    "an open thought in the generation prompt, none in history": (
        R1,
        "<s>Be kind.<|User|>Why?<|Assistant|><think>\n\n</think>\n\n",
        "ends in an open thought",
    ),
    "an open channel": (
        HARMONY,
        "<|start|>system<|message|>Be kind.<|end|><|start|>user<|message|>Why?<|end|>"
        "<|start|>assistant<|channel|>final<|message|>",
        "ends before the answer begins: '<|channel|>final<|message|>' is added",
    ),
    "a channel for thoughts": (
        HARMONY.replace("<|start|>assistant{%", "<|start|>assistant<|channel|>analysis<|message|>{%"),
        "<|start|>system<|message|>Be kind.<|end|><|start|>user<|message|>Why?<|end|><|start|>assistant"
        "<|channel|>analysis<|message|><|end|><|start|>assistant<|channel|>final<|message|>",
        "ends in an open thought",
    ),
    "a first token twice": (
        "{{ bos_token }}{{ bos_token }}" + PLAIN_CHATML,
        "<s><|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n",
        "begins with <s> twice: one is left out",
    ),
    "a thought by another name": (
        PLAIN_CHATML + "{% if add_generation_prompt %}<scratchpad>\n{% endif %}",
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"
        "<scratchpad>\n\n</scratchpad>\n\n",
        "ends in an open thought",
    ),
    "a token that ends the answer's turn behind its header": (
        PLAIN_CHATML + "{% if add_generation_prompt %}<|im_end|>\n{% endif %}",
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n",
        "ends a turn before the answer: <|im_end|> is left out",
    ),
    "a token that ends the question's turn for the answer": (
        CHAT_TEMPLATE + "{% if add_generation_prompt %}</s>{% endif %}",
        "<<SYS>>\nBe kind.\n<</SYS>>\n\n<s>[INST] Why? [/INST]",
        "ends a turn before the answer: </s> is left out",
    ),
}


@pytest.mark.parametrize("case", MENDED)
def test_what_a_template_gets_wrong_is_mended_and_said_in_one_line(case: str) -> None:
    template, expected, said = MENDED[case]
    found = writer(template)
    assert found.text("Why?", "Be kind.") == expected
    (note,) = found.reading.notes
    assert said in note and note.startswith("the chat template of tiny ") and "\n" not in note
    assert found.reading.mended


@pytest.mark.parametrize("template", [PLAIN_CHATML, QWEN3, CHAT_TEMPLATE, OWN_SYSTEM])
def test_a_template_that_does_what_is_asked_is_used_as_transformers_uses_it(template: str) -> None:
    found = writer(template)
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Why?"}]
    ids = found.tokenizer.apply_chat_template(messages, add_generation_prompt=True, enable_thinking=False)["input_ids"]
    assert found.tokenize(found.text("Why?", "Be kind.")) == ids
    assert not found.reading.mended


def test_a_system_prompt_of_the_templates_own_is_told() -> None:
    found = writer(OWN_SYSTEM)
    assert "You are Tiny" in found.text("Why?") and "You are Tiny" not in found.text("Why?", "Be kind.")
    assert found.reading.notes == (
        "the chat template of tiny has a system prompt of its own, which a system text replaces: "
        "'You are Tiny, made in a test.'.",
    )


@pytest.mark.parametrize("begun", ["Sure,", "<answer>"])
def test_an_answer_that_the_template_begins_is_told(begun: str) -> None:
    found = writer(PLAIN_CHATML + f"{{{{ '{begun} ' if add_generation_prompt }}}}")
    assert found.text("Why?").endswith(f"<|im_start|>assistant\n{begun} ") and not found.reading.mended
    (note,) = found.reading.notes
    assert f"begins the answer itself, by '{begun}'" in note


REFUSED = {
    "the question in capitals": (PLAIN_CHATML.replace("m.content", "m.content | upper"), "drops or changes the quest"),
    "the question's first line": (
        PLAIN_CHATML.replace("m.content", "m.content.split('\\n')[0]"),
        "drops or changes the question",
    ),
    "the question escaped": (PLAIN_CHATML.replace("m.content", "m.content | escape"), "drops or changes the question"),
    "no question": ("{{ bos_token }}Hello! ", "drops or changes the question"),
    "a system text nowhere": (
        PLAIN_CHATML.replace("{{ m.content }}", "{{ m.content.split('\\n\\n', 1)[-1] if loop.first else m.content }}"),
        "drops or changes",
    ),
    "an error": ("{{ messages[7].content }}" + PLAIN_CHATML, "can't be used (UndefinedError"),
    "another error": ("{{ 1 // 0 }}" + PLAIN_CHATML, "can't be used (ZeroDivisionError"),
    "another text each time": ("{{ range(999) | random }}" + PLAIN_CHATML, "now so, now otherwise"),
    "no jinja": ("{% for m in", "can't be used (TemplateSyntaxError"),
    "the end of a turn, and no answer shown": (
        EACH + "{% if m.role == 'assistant' %}{{ raise_exception('no') }}{% endif %}" + CHATML + END,
        "ends in '<|im_end|>', where no answer begins",
    ),
    "a role's header, and no answer shown": (
        EACH
        + "{% if m.role == 'assistant' %}{{ raise_exception('no') }}{% endif %}"
        + CHATML
        + END
        + "<|im_start|>assistant",
        "<|im_start|>assistant', where no answer begins",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_can_not_be_mended_is_refused_in_one_line_that_names_the_mend(case: str) -> None:
    template, why = REFUSED[case]
    with pytest.raises(CompareError) as refused:
        writer(template)
    assert why in str(refused.value) and str(refused.value).endswith("use --prompt-format base.")
    assert "\n" not in str(refused.value)
    assert writer(template, "base").text("Why?") == "Input: Why?\nResponse:"


def test_several_templates_of_which_none_is_the_default_and_none_at_all() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = {"rag": PLAIN_CHATML, "tools": PLAIN_CHATML}
    with pytest.raises(CompareError, match="none is the default: use --prompt-format base"):
        checked_writer(tokenizer, None, "tiny")
    tokenizer.chat_template = {"default": UNOPENED, "rag": PLAIN_CHATML}
    assert checked_writer(tokenizer, None, "tiny").text("Why?").endswith("<|im_start|>assistant\n")
    assert writer(None).format == "base" and writer("").format == "base"
    with pytest.raises(CompareError, match="has no chat template: use --prompt-format base"):
        writer(None, "chat")


@pytest.mark.parametrize("path", trl_templates(), ids=lambda path: path.stem)
def test_the_templates_that_trl_brings_are_right_or_refused(path: Path) -> None:
    """The question and the system text stand in the prompt, and the answer stands where the template would put it."""
    found = writer(path.read_text())
    text = found.text("QUESTION?", "SYSTEM!", [Turn("First?", "One.")])
    assert text.index("SYSTEM!") < text.index("First?") < text.index("One.") < text.index("QUESTION?")
    assert found.text("QUESTION?").count("QUESTION?") == 1
    template = found.reading.template
    given = template.messages(None, [mending.ASKED, {"role": "assistant", "content": "It is so."}])
    answered = template.apply(found.tokenizer, given, tokenize=False, begins=False)
    before = str(answered).split("It is so.")[0]
    prompt = found.text(mending.QUESTION)
    thought = "<think>\n\n</think>\n\n" if prompt.endswith("</think>\n\n") and "<think>" not in before else ""
    assert prompt.removesuffix(thought).strip() == before.strip()
    messages = template.messages("SYSTEM!", [{"role": "user", "content": "QUESTION?"}])
    made = template.apply(found.tokenizer, messages, tokenize=True)["input_ids"]
    assert found.tokenize(found.text("QUESTION?", "SYSTEM!"))[: len(made)] == made


@pytest.mark.parametrize(
    ("template", "stops"),
    [
        (ROLES, ("\nUser:",)),
        (EACH + "<|{{ m.role }}|>\n{{ m.content }}" + END + OPEN.replace("<|im_start|>", "<|"), ("<|user|>",)),
        (CHAT_TEMPLATE, ()),
    ],
)
def test_the_users_next_turn_ends_an_answer_where_no_token_does(template: str, stops: tuple[str, ...]) -> None:
    assert writer(template).stops == stops


ON_A_DAY = {
    "a date": ("{{ strftime_now('%d %B %Y, %-d.%m.') }}\n", "26 July 2024, 26.07."),
    "a time of no day": ("{{ strftime_now('%R, %l') }} o'clock\n", "00:00, 12 o'clock"),
    "a code of other digits or of a width": ("{{ strftime_now('%Od, %4d') }}\n", "26, 0026"),
    "a code that is put together": ("{{ strftime_now('%' ~ 'Y-%' ~ 'm') }}\n", "2024-07"),
    "a sum": ("{% set now = strftime_now %}{{ now('%d') | int - 1 }}\n", "25"),
    "one day alone": ("{{ 'Merry!' if strftime_now('%m-%d') == '12-25' }}\n", ""),
    "behind an earlier turn": ("{{ strftime_now('%Y') if messages | length > 2 }}\n", ""),
    "where it thinks": ("{% if enable_thinking %}<think>{{ strftime_now('%Y') }}{% else %}</think>{% endif %}", ""),
}
"""What stands before a template, and what it prints of the date that is given for the day's."""


@pytest.mark.parametrize("case", ON_A_DAY)
def test_the_day_changes_neither_prompt_nor_digest(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import datetime

    import transformers.utils.chat_template_utils as utils

    before, printed = ON_A_DAY[case]
    found = []
    for day in ("2026-01-05T08:15", "2031-12-25T20:45"):

        class Then(datetime.datetime):
            shown = day

            @classmethod
            def now(cls, tz: Any = None) -> Any:
                return cls.fromisoformat(cls.shown)

        monkeypatch.setattr(utils, "datetime", Then)
        tokenizer = tiny_tokenizer()
        tokenizer.chat_template = before + PLAIN_CHATML
        lm = LM(tiny_lm().model, tokenizer, "tiny", thinking="on" if "think" in case else "off")
        prompts = (lm.prompt("Why?", "Be kind."), lm.prompt("Why?", None, [Turn("First?", "One.")]))
        found.append((*prompts, lm.prompts.free_text("Why?"), lm.digest))
        assert lm.prompts.notes[0] == "the chat template of tiny asks for today's date: 2024-07-26 stands in its place."
    assert found[0] == found[1] and printed in found[0][0]


def test_what_was_mended_is_in_the_digest_and_what_was_not_leaves_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def digest(template: str) -> str:
        tokenizer = tiny_tokenizer()
        tokenizer.chat_template = template
        return LM(tiny_lm().model, tokenizer, "tiny", digest="of the files").digest

    plain = digest(PLAIN_CHATML)
    assert plain == digest(CHAT_TEMPLATE)
    mended = {digest(template) for template, _, _ in MENDED.values()}
    assert plain not in mended and len(mended) == len({expected for _, expected, _ in MENDED.values()})
    # Another way of mending never meets what was fitted under this one.
    before = digest(THINKING)
    monkeypatch.setattr(mending, "closing", lambda tail, source: "</think>" if "<think>" in tail else "")
    assert digest(THINKING) != before


def test_a_token_that_the_tokenizer_adds_at_the_end_is_no_part_of_a_prompt() -> None:
    from tokenizers import processors

    def ending(chat: bool, prompt_format: PromptFormat) -> PromptWriter:
        tokenizer = tiny_tokenizer(chat)
        tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
        )
        return checked_writer(tokenizer, prompt_format, "tiny")

    for prompt_format in ("base", "llama2-paper"):
        plain, found = checked_writer(tiny_tokenizer(), prompt_format, "tiny"), ending(False, prompt_format)
        assert found.tokenize(found.text("Why?")) == plain.tokenize(plain.text("Why?"))
        assert found.choice("Why?", ("A", "B")) == plain.choice("Why?", ("A", "B"))
        assert found.reading.notes == ("the tokenizer of tiny ends every text with </s>: it is left out of prompts.",)
        assert found.reading.mended and not plain.reading.mended
    assert ending(True, "chat").tokenize("Why?")[-1] != 1
    plain_text = checked_writer(tiny_tokenizer(), "chat", "tiny").tokenize_text("Be kind.")
    assert ending(True, "chat").tokenize_text("Be kind.") == plain_text and plain_text[0] == 0


def test_a_template_that_is_changed_later_is_tried_too() -> None:
    lm = tiny_lm()
    assert not lm.prompts.reading.mended
    lm.tokenizer.chat_template = UNOPENED
    assert lm.prompt("Why?").endswith("<|im_start|>assistant\n") and lm.prompts.reading.mended


def test_earlier_turns_that_are_not_shown_are_told_and_refused_where_there_are_some() -> None:
    found = writer(PLAIN_CHATML.replace(EACH, "{% for m in messages if m.role == 'system' or m == messages[-1] %}"))
    assert any("doesn't show earlier turns" in note for note in found.reading.notes)
    assert "Why?" in found.text("Why?", "Be kind.")
    with pytest.raises(CompareError, match="use --prompt-format base for examples"):
        found.text("Why?", None, [Turn("First?", "One.")])

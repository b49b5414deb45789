"""Tokenizers' templates and configurations that nobody meant: a prompt that holds what it was given, or one line."""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path
from typing import Any

import pytest

from comparisons.model.explaining import explained
from comparisons.model.prompts import checked_writer
from comparisons.model.tokenizers import read_tokenizer
from comparisons.util.errors import CompareError
from tests.test_prompt_check import HARMONY, MENDED, OWN_SYSTEM, PLAIN_CHATML, QWEN3, REFUSED, trl_templates
from tests.tiny import tiny_tokenizer

CASES = 50
"""In an ordinary run of the tests; `SOAK_TEMPLATES` of them in a soak."""
SECONDS = 20.0

PIECES = (
    *("{% endif %}", "{% endfor %}", "{% if true %}", "{{ x.y.z }}", "{{ 1 // 0 }}", "{{ messages }}", "{# # #}", "{{"),
    *(
        "<think>",
        "</think>",
        "<think>\n\n</think>",
        "[THINK]",
        "<|channel|>analysis",
        "/no_think",
        "detailed thinking on",
    ),
    *(
        "{{ raise_exception('no') }}",
        "{{ strftime_now('%Y') }}",
        "{{ strftime_now(1) }}",
        "{% set messages = [] %}",
        "\0",
    ),
    *(
        "{{ bos_token }}",
        "{{ eos_token }}",
        "{{ eos_token + 1 }}",
        "{{ enable_thinking }}",
        "{{ thinking is defined }}",
    ),
    *("{% for m in messages %}", "{{ m.content[0].text }}", "{{ m.content | upper }}", "\ud7ff\U0010ffff", "\n" * 40),
    *("{% generation %}", "{% endgeneration %}", "{{ range(99) | random }}", "{{ tools[0] }}", "{{ 'a' * 9999 }}"),
)
WORDS = (("m.content", "m['text']"), ("role", "rôle"), ("user", "human"), ("assistant", "model"), ("system", "user"))
VALUES: tuple[Any, ...] = (None, "", 3, [], {}, True, "<unk>", "no such token", {"default": PLAIN_CHATML}, {"rag": "x"})
KEYS = (
    *("chat_template", "bos_token", "eos_token", "pad_token", "unk_token", "model_max_length", "padding_side"),
    *("add_bos_token", "clean_up_tokenization_spaces", "additional_special_tokens", "tokenizer_class", "extra"),
)


def sources() -> list[str]:
    known = [template for template, *_ in (*MENDED.values(), *REFUSED.values())]
    return [*known, PLAIN_CHATML, QWEN3, HARMONY, OWN_SYSTEM, *(path.read_text() for path in trl_templates())]


def mutated(template: str, chance: random.Random) -> str:
    """A template with some changes: pieces put in, parts cut out or written twice, words exchanged."""
    for _ in range(chance.randint(0, 3)):
        place, length = chance.randrange(len(template) + 1), chance.randrange(40)
        kind = chance.randrange(5)
        if kind == 0:
            template = template[:place] + chance.choice(PIECES) + template[place:]
        elif kind == 1:
            template = template[:place] + template[place + length :]
        elif kind == 2:
            template = template[:place] + template[max(0, place - length) :]
        elif kind == 3:
            template = template.replace(*chance.choice(WORDS))
        else:
            template += chance.choice(PIECES)
    return template


def configured(folder: Path, template: str, chance: random.Random) -> None:
    """A tokenizer's files with the template and up to three wrong entries."""
    for old in folder.iterdir():
        old.unlink()
    tiny_tokenizer(chat=False).save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    for _ in range(chance.randrange(4)):
        config[chance.choice(KEYS)] = chance.choice(VALUES)
    path.write_text(json.dumps(config))
    place = chance.randrange(4)
    if place == 0:
        path.write_text(json.dumps({**config, "chat_template": template}))
    elif place == 1:
        (folder / "chat_template.jinja").write_text(template)
    else:
        name = ("chat_template.json", "processor_config.json")[place - 2]
        body = json.dumps({"chat_template": template})
        (folder / name).write_text(body if chance.random() < 0.9 else body[: chance.randrange(len(body))])


def loaded(folder: Path) -> Any:
    """The tokenizer as the program loads it."""
    try:
        return read_tokenizer(str(folder))
    except Exception as error:
        raise explained("tiny", error, str(folder)) from error


def fuzz(folder: Path, cases: int, seed: int) -> dict[str, int]:
    """How many cases came to what; raises what is no line of an error."""
    every, found = sources(), {"right": 0, "refused": 0}
    for number in range(cases):
        chance = random.Random(f"{seed} {number}")
        configured(folder, mutated(chance.choice(every), chance), chance)
        started = time.monotonic()
        try:
            tokenizer = loaded(folder)
            thinking = chance.random() < 0.3
            writer = checked_writer(tokenizer, chance.choice([None, None, "base"]), "tiny", "on" if thinking else "off")
            text = writer.free_text("QUESTION?", "SYSTEM!")
            assert "QUESTION?" in text and "SYSTEM!" in text and "QUESTION?" in writer.text("QUESTION?"), number
            assert writer.choice("Q?\n (A) x\n (B) y", ("A", "B")).targets, number
            found["right"] += 1
        except CompareError as error:
            assert "\n" not in str(error) and len(str(error)) < 1000, (number, str(error)[:300])
            found["refused"] += 1
        assert time.monotonic() - started < SECONDS, number
    return found


def test_any_template_is_right_or_a_line(tmp_path: Path) -> None:
    found = fuzz(tmp_path, CASES, 0)
    assert found["right"] > CASES / 10 and found["refused"] > CASES / 10, found


def test_a_tokenizer_that_raises_is_one_line(tmp_path: Path) -> None:
    tiny_tokenizer().save_pretrained(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_max_length": "long"}))
    with pytest.raises(
        CompareError, match=r"^the tokenizer of tiny can't be used, .*: take the tokenizer's files that"
    ):
        checked_writer(read_tokenizer(str(tmp_path)), None, "tiny")


@pytest.mark.soak
def test_any_template_soak(tmp_path: Path) -> None:
    cases = int(os.environ.get("SOAK_TEMPLATES", "2000"))
    assert sum(fuzz(tmp_path, cases, int(os.environ.get("SOAK_SEED", "1"))).values()) == cases

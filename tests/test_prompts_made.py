"""Chat templates made of parts whose right use is known, and templates that are broken at random."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

import pytest

from comparisons.model.prompts import checked_writer
from comparisons.util.errors import CompareError
from tests.test_prompt_check import MENDED, OWN_SYSTEM, PLAIN_CHATML, QWEN3, trl_templates
from tests.tiny import tiny_tokenizer

FRAMES = {
    "chatml": ("<|im_start|>{}\n", "<|im_end|>\n", "<|im_start|>assistant"),
    "llama3": ("<|start_header_id|>{}<|end_header_id|>\n\n", "<|eot_id|>", "<|start_header_id|>assistant"),
    "zephyr": ("<|{}|>\n", "</s>\n", "<|assistant"),
    "phi": ("<|{}|>", "<|end|>", "<|ass"),
    "vicuna": ("{}: ", "\n", "ass"),
    "harmony": ("<|start|>{}<|message|>", "<|end|>", "<|start|>assistant"),
}
"""What opens and closes a turn, and a header that is cut off."""

CLOSED = "<think>\n\n</think>\n\n"
CHOICES = {
    "frame": tuple(FRAMES),
    "system": ("shown", "shown", "dropped", "refused", "own"),
    "begins": ("header", "header", "nothing", "cut off", "thought", "closed thought"),
    "parts": (False, False, True),
    "dated": (False, False, True),
    "first": ("", "{{ bos_token }}", "{{ bos_token }}{{ bos_token }}"),
    "remembers": (False, False, True),
}


@dataclass(frozen=True)
class Made:
    """A template, by what it does.

    Attributes:
        frame: its turns.
        system: what becomes of a system message; "own": there is another where none is given.
        begins: what stands behind the last turn where an answer is to begin.
        parts: whether contents are lists.
        dated: whether the day is printed.
        first: what begins the text.
        remembers: whether an answer is shown behind a thought that is closed.
    """

    frame: str
    system: str
    begins: str
    parts: bool
    dated: bool
    first: str
    remembers: bool

    @property
    def header(self) -> str:
        """What opens an answer."""
        return FRAMES[self.frame][0].format("assistant")

    @property
    def source(self) -> str:
        """The template itself."""
        opens, closes, cut = FRAMES[self.frame]
        content = "{% for p in m.content %}{{ p.text }}{% endfor %}" if self.parts else "{{ m.content }}"
        thought = "{{ '" + repr(CLOSED)[1:-1] + "' if m.role == 'assistant' }}" if self.remembers else ""
        turn = opens.format("{{ m.role }}") + thought + content + "{{ '" + repr(closes)[1:-1] + "' }}"
        if self.system == "dropped":
            turn = f"{{% if m.role != 'system' %}}{turn}{{% endif %}}"
        if self.system == "refused":
            turn = f"{{% if m.role == 'system' %}}{{{{ raise_exception('none') }}}}{{% endif %}}{turn}"
        own = f"{opens.format('system')}Be as you are.{closes}" if self.system == "own" else ""
        head = f"{{% if messages[0].role != 'system' %}}{own}{{% endif %}}" if own else ""
        day = "Today is {{ strftime_now('%d %b %Y') }}.\n" if self.dated else ""
        ends = {
            "header": self.header,
            "nothing": "",
            "cut off": cut,
            "thought": f"{self.header}<think>\n",
            "closed thought": self.header + CLOSED,
        }
        begun = "{{ '" + repr(ends[self.begins])[1:-1] + "' if add_generation_prompt }}"
        return f"{self.first}{day}{head}{{% for m in messages %}}{turn}{{% endfor %}}{begun}"

    @property
    def prompt(self) -> str:
        """What a model is to read of "Why?" under "Be kind."."""
        opens, closes, _ = FRAMES[self.frame]
        told = self.system in ("shown", "own")
        turns = [("system", "Be kind."), ("user", "Why?")] if told else [("user", "Be kind.\n\nWhy?")]
        day = "Today is 26 Jul 2024.\n" if self.dated else ""
        said = "".join(f"{opens.format(role)}{text}{closes}" for role, text in turns)
        # Where a header is added, a blank at its end is left to the answer's first token.
        added = self.begins in ("nothing", "cut off") and not self.remembers
        thinks = self.remembers or "thought" in self.begins
        end = (self.header.rstrip(" ") if added else self.header) + (CLOSED if thinks else "")
        return ("<s>" if self.first else "") + day + said + end


def some(count: int, seed: int) -> list[Made]:
    generator = random.Random(seed)
    return [Made(**{name: generator.choice(values) for name, values in CHOICES.items()}) for _ in range(count)]  # type: ignore[arg-type]


def check_made(count: int) -> None:
    for made in some(count, 0):
        tokenizer = tiny_tokenizer()
        tokenizer.chat_template = made.source
        assert checked_writer(tokenizer, None, "tiny").text("Why?", "Be kind.") == made.prompt, made


def broken(source: str, generator: random.Random) -> str:
    """A template in which some pieces are left out, repeated or exchanged, most of them such that it stays one."""
    pieces = re.split(r"(\{\{.*?\}\}|\{%.*?%\}|\n)", source, flags=re.DOTALL)
    for _ in range(generator.randint(1, 4)):
        place = generator.randrange(len(pieces))
        while pieces[place].startswith("{%") and generator.random() < 0.9:
            place = generator.randrange(len(pieces))
        text = generator.choice(["", pieces[place] * 2, pieces[generator.randrange(len(pieces))], *STRANGE])
        pieces[place] = text if not text.startswith("{%") else ""
    return "".join(pieces)


STRANGE = (
    *("<think>\n", "</think>", "{{ bos_token }}", "{{ eos_token }}", "<|im_start|>assistant", "{{ messages }}"),
    *("{{ raise_exception('x') }}", "{{ 1 // 0 }}", "{{ none + 1 }}", "{{ x.y }}", "{{ messages[9].content }}"),
    *("{{ strftime_now('%H:%M') }}", "{{ messages[-1].content | upper }}", "<|channel|>analysis", "\ud7ff\u0000"),
)


def check_broken(count: int) -> dict[str, int]:
    """Each is used such that all it is given stands in the prompt, or refused in a line."""
    generator, found = random.Random(0), {"used": 0, "refused": 0}
    sources = [path.read_text() for path in trl_templates()] + [template for template, _, _ in MENDED.values()]
    sources += [PLAIN_CHATML, QWEN3, OWN_SYSTEM]
    for _ in range(count):
        tokenizer = tiny_tokenizer()
        tokenizer.chat_template = broken(generator.choice(sources), generator)
        try:
            text = checked_writer(tokenizer, None, "tiny").text("QUESTION?", "SYSTEM!")
        except CompareError as error:
            assert "\n" not in str(error) and len(str(error)) < 400, tokenizer.chat_template
            found["refused"] += 1
        else:
            assert "QUESTION?" in text and "SYSTEM!" in text, tokenizer.chat_template
            found["used"] += 1
    return found


def test_templates_of_known_parts_are_used_as_is_right() -> None:
    check_made(120)


def test_broken_templates_are_used_or_refused() -> None:
    found = check_broken(40)
    assert min(found.values()) > 4


@pytest.mark.soak
def test_many_templates() -> None:
    check_made(2_000)
    found = check_broken(2_000)
    print(f"\nof 2,000 broken templates {found['used']} were used and {found['refused']} refused")

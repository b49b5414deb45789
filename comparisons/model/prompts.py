"""How a model reads a question: its tokenizer and its prompt format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from comparisons.util.errors import CompareError

PromptFormat = Literal["chat", "base", "llama2-paper"]

# Templates that print today's date would change the prompt, and with it every number, from day to day.
TEMPLATE_ARGUMENTS = {"enable_thinking": False, "date_string": "26 Jul 2024"}


@dataclass(frozen=True)
class Turn:
    """A few-shot exchange that stands before the question."""

    question: str
    answer: str


@dataclass(frozen=True)
class ChoicePrompt:
    """A question, tokenized up to the token that decides between its letters.

    Attributes:
        ids: all tokens before the deciding one.
        prompt_end: index of the last prompt token; what follows it is the answer prefix.
        targets: the deciding tokens of the letters, the matching one first.
    """

    ids: tuple[int, ...]
    prompt_end: int
    targets: tuple[int, ...]

    @property
    def shared(self) -> tuple[int, ...]:
        """The tokens that no edit from the end of the prompt on can reach."""
        return self.ids[: self.prompt_end]

    @property
    def tail(self) -> tuple[int, ...]:
        """The last prompt token and the answer prefix."""
        return self.ids[self.prompt_end :]


@dataclass(frozen=True)
class PromptWriter:
    """Writes and tokenizes prompts.

    Attributes:
        tokenizer: the model's.
        format: "chat", "base" or "llama2-paper".
        name: of the model, for messages.
    """

    tokenizer: Any
    format: PromptFormat
    name: str

    def text(self, question: str, system: str | None = None, examples: Sequence[Turn] = ()) -> str:
        """The text that ends where the answer begins, in the model's prompt format."""
        question = question.strip()
        if self.format == "chat":
            return self._chat_prompt(question, system, examples)
        if self.format == "base":
            turns = "".join(f"Input: {t.question.strip()}\nResponse: {t.answer.strip()}\n\n" for t in examples)
            return (f"{system}\n\n" if system else "") + turns + f"Input: {question}\nResponse:"
        turns = "".join(f"[INST] {t.question.strip()} [/INST] {t.answer.strip()} " for t in examples)
        head = f"<<SYS>>\n{system}\n<</SYS>>\n\n" if system else ""
        return f"{head}{turns}[INST] {question} [/INST]"

    def _chat_prompt(self, question: str, system: str | None, examples: Sequence[Turn]) -> str:
        turns: list[dict[str, str]] = []
        for turn in examples:
            turns.append({"role": "user", "content": turn.question.strip()})
            turns.append({"role": "assistant", "content": turn.answer.strip()})
        return self.conversation(system, [*turns, {"role": "user", "content": question}])

    def conversation(self, system: str | None, turns: Sequence[Mapping[str, str]]) -> str:
        """The text of a conversation by the chat template, which ends where the answer begins.

        Args:
            system: system prompt.
            turns: messages of "user" and "assistant" in turn, the user's first and last, with their "content".
        """
        from jinja2.exceptions import TemplateError

        head = [{"role": "system", "content": system}] if system else []
        try:
            return self._apply_template([*head, *turns])
        except TemplateError:
            if not system:
                raise
            # Some templates (Gemma 2) refuse the system role; its text then opens the first user turn.
            opening = {"role": "user", "content": f"{system}\n\n{turns[0]['content']}"}
            return self._apply_template([opening, *turns[1:]])

    def _apply_template(self, messages: Sequence[Mapping[str, str]]) -> str:
        text = self.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, **TEMPLATE_ARGUMENTS
        )
        return str(text)

    def tokenize(self, text: str) -> list[int]:
        """Token ids of a prompt. A chat template writes its special tokens itself; others get the default ones."""
        ids = self.tokenizer(text, add_special_tokens=self.format != "chat")["input_ids"]
        return list(ids)

    def choice(
        self,
        question: str,
        letters: Sequence[str],
        system: str | None = None,
        examples: Sequence[Turn] = (),
    ) -> ChoicePrompt:
        """Tokenizes a question up to the token that decides between its letters.

        The answers "(A)" and "(B)" are tokenized whole, and the first token where they differ decides: whether
        "A", "(A" or "A)" is a token is the tokenizer's business.

        Args:
            question: with its lettered choices.
            letters: two or more, bare.
            system: system prompt.
            examples: few-shot turns.
        """
        text = self.text(question, system, examples)
        opening = "(" if text[-1:].isspace() else " ("
        answers = [self.tokenize(f"{text}{opening}{letter})") for letter in letters]
        first = answers[0]
        decided = min(common_prefix(first, other) for other in answers[1:])
        end = common_prefix(self.tokenize(text), first[:decided]) - 1
        if decided >= min(map(len, answers)) or end < 0 or len({ids[decided] for ids in answers}) < len(answers):
            raise CompareError(f"the tokenizer of {self.name} can't tell ({') from ('.join(letters)}).")
        return ChoicePrompt(tuple(first[:decided]), end, tuple(ids[decided] for ids in answers))

    def system_span(self, text: str) -> tuple[int, int]:
        """Where a system prompt's tokens stand in every prompt that has it: the first, and the end."""
        this, other = (self.tokenize(self.text("Why?", system)) for system in (text, "0"))
        first = common_prefix(this, other)
        return first, len(this) - common_prefix(this[first:][::-1], other[first:][::-1])


def common_prefix(left: Sequence[int], right: Sequence[int]) -> int:
    """How many tokens two sequences begin with alike."""
    shortest = min(len(left), len(right))
    return next((i for i in range(shortest) if left[i] != right[i]), shortest)

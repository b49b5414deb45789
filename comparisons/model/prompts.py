"""How a model reads a question: its tokenizer and its prompt format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from comparisons.model.checks import check_templates
from comparisons.model.mending import ANSWER, QUESTION, SYSTEM, find
from comparisons.model.template import AS_IT_IS, Template
from comparisons.model.thinking import Thinking, find_thinking
from comparisons.util.errors import CompareError, described

PromptFormat = Literal["chat", "base", "llama2-paper"]
ThinkingMode = Literal["off", "on"]

STOPS: Mapping[PromptFormat, tuple[str, ...]] = {"chat": (), "base": ("\nInput:",), "llama2-paper": ("[INST]",)}
"""What begins the next turn in a format that has no token for it: a model that writes one has ended its answer."""


OTHER_FILES = "take the tokenizer's files that the model was trained with."


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
class Reading:
    """How prompts are written for a tokenizer.

    Attributes:
        template: how its chat template is used.
        added: special tokens that it puts behind a text, of which none belongs behind a prompt.
        ends: token ids that the chat template ends an answer by.
        notes: what of this must be known, a line each.
        opens: what a thought begins with that the chat template leaves to the model; empty where it leaves none.
        stops: what the chat template begins the next turn by, where it ends an answer by no special token.
    """

    template: Template = AS_IT_IS
    added: int = 0
    ends: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    opens: str = ""
    stops: tuple[str, ...] = ()

    @property
    def mended(self) -> bool:
        """Whether prompts are other than what the tokenizer makes by itself."""
        return self.template != AS_IT_IS or self.added > 0


@dataclass(frozen=True)
class PromptWriter:
    """Writes and tokenizes prompts.

    Attributes:
        tokenizer: the model's.
        format: "chat", "base" or "llama2-paper".
        name: of the model, for messages.
        mode: whether free answers begin with a thought.
        thinks: whether the model begins a thought where its template leaves that to it.
    """

    tokenizer: Any
    format: PromptFormat
    name: str
    mode: ThinkingMode = "off"
    thinks: bool = False
    _readings: dict[str, Reading] = field(default_factory=dict, init=False, repr=False, compare=False)
    _thinking: dict[str, Thinking] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def stops(self) -> tuple[str, ...]:
        """Texts that end an answer, of which they are no part."""
        return STOPS[self.format] or self.reading.stops

    @property
    def reading(self) -> Reading:
        """How prompts are written, found by a probe, once for each chat template that the tokenizer is given.

        Raises:
            CompareError: the template can't be used.
        """
        key = str(getattr(self.tokenizer, "chat_template", None))
        if key not in self._readings:
            self._readings[key] = self._read()
        return self._readings[key]

    @property
    def thinking(self) -> Thinking | None:
        """How a thought is begun and told from the answer behind it; None where free answers are written at once.

        Raises:
            CompareError: thoughts are asked for, and the prompt format has none.
        """
        if self.mode == "off":
            return None
        if self.format != "chat":
            raise CompareError(
                f"--thinking on is for --prompt-format chat, not {self.format}: leave one of the two out."
            )
        key = str(getattr(self.tokenizer, "chat_template", None))
        if key not in self._thinking:
            self._thinking[key] = find_thinking(self.tokenizer, self.name, self.reading.template)
        return self._thinking[key]

    @property
    def notes(self) -> tuple[str, ...]:
        """What must be known of how prompts are written, a line each."""
        moved = self.thinking is not None and self.thinking.template.folded and not self.reading.template.folded
        said = f"with --thinking on a system text opens the first user turn: {self.name} thinks under none of its own."
        return (*self.reading.notes, said) if moved else self.reading.notes

    def _read(self) -> Reading:
        if self.format == "chat":
            if not getattr(self.tokenizer, "chat_template", None):
                raise CompareError(f"the tokenizer of {self.name} has no chat template: use --prompt-format base.")
            check_templates(self.tokenizer, self.name)
            found = find(self.tokenizer, self.name, self.thinks or self.mode == "on")
            return Reading(found.template, ends=found.ends, notes=found.notes, opens=found.opens, stops=found.stops)
        added = self._added()
        words = "".join(self.tokenizer.convert_ids_to_tokens(added))
        notes = (f"the tokenizer of {self.name} ends every text with {words}: it is left out of prompts.",)
        return Reading(added=len(added), notes=notes if added else ())

    def _added(self) -> list[int]:
        """The special tokens that the tokenizer puts behind a text."""
        ids, bare = (list(self.tokenizer("Why?", add_special_tokens=more)["input_ids"]) for more in (True, False))
        starts = (i for i in range(len(ids) - len(bare) + 1) if ids[i : i + len(bare)] == bare)
        start = next(starts, len(ids) - len(bare))
        return ids[start + len(bare) :]

    def check(self) -> None:
        """Raises CompareError where a probe shows that the model would not read what it is to be asked.

        A question and a system text must stand in the prompt, the prompt must end where the answer begins, and there
        letters must differ and an answer have tokens of its own.
        """
        text = self.text(QUESTION, SYSTEM)
        self.choice(QUESTION, ("A", "B"), SYSTEM)
        alone, whole = (self.tokenize(each) for each in (text, f"{text}{'' if text[-1:].isspace() else ' '}{ANSWER}"))
        if len(whole) <= common_prefix(alone, whole):
            raise CompareError(f"the tokenizer of {self.name} has no token for an answer: {OTHER_FILES}")
        _ = self.thinking  # asked for in vain, it is refused here

    def probe(self) -> tuple[str, tuple[int, ...]]:
        """A question with a system text as the model reads it, and its tokens."""
        text = self.text(QUESTION, SYSTEM)
        return text, tuple(self.tokenize(text))

    def free_text(self, question: str, system: str | None = None, examples: Sequence[Turn] = ()) -> str:
        """The text behind which a free answer begins, or the thought before it where the model is to think."""
        if self.thinking is None:
            return self.text(question, system, examples)
        return self._chat_prompt(question.strip(), system, examples, self.thinking.template)

    def text(self, question: str, system: str | None = None, examples: Sequence[Turn] = ()) -> str:
        """The text that ends where the answer begins, in the model's prompt format."""
        question = question.strip()
        if self.format == "chat":
            return self._chat_prompt(question, system, examples, self.reading.template)
        if self.format == "base":
            turns = "".join(f"Input: {t.question.strip()}\nResponse: {t.answer.strip()}\n\n" for t in examples)
            return (f"{system}\n\n" if system else "") + turns + f"Input: {question}\nResponse:"
        turns = "".join(f"[INST] {t.question.strip()} [/INST] {t.answer.strip()} " for t in examples)
        head = f"<<SYS>>\n{system}\n<</SYS>>\n\n" if system else ""
        return f"{head}{turns}[INST] {question} [/INST]"

    def _chat_prompt(self, question: str, system: str | None, examples: Sequence[Turn], template: Template) -> str:
        turns: list[dict[str, str]] = []
        for turn in examples:
            turns.append({"role": "user", "content": turn.question.strip()})
            turns.append({"role": "assistant", "content": turn.answer.strip()})
        return self._conversation(system, [*turns, {"role": "user", "content": question}], template)

    def conversation(self, system: str | None, turns: Sequence[Mapping[str, str]]) -> str:
        """The text of a conversation by the chat template, which ends where the answer begins.

        Args:
            system: system prompt.
            turns: messages of "user" and "assistant" in turn, the user's first and last, with their "content".

        Raises:
            CompareError: there are earlier turns, which the template doesn't show.
        """
        return self._conversation(system, turns, self.reading.template)

    def _conversation(self, system: str | None, turns: Sequence[Mapping[str, str]], template: Template) -> str:
        if len(turns) > 1 and not template.turns:
            raise CompareError(
                f"the chat template of {self.name} doesn't show earlier turns: use --prompt-format base for examples."
            )
        return template.render(self.tokenizer, system, turns)

    def tokenize(self, text: str) -> list[int]:
        """Token ids of a prompt. A chat template writes its special tokens itself; others get the default ones.

        None of these stands at the end: the answer goes on from there.
        """
        ids = self.tokenizer(text, add_special_tokens=self.format != "chat")["input_ids"]
        return list(ids[: len(ids) - self.reading.added])

    def tokenize_text(self, text: str) -> list[int]:
        """Token ids of a text that is no prompt: behind what the tokenizer begins one with, without what ends it."""
        ids = self.tokenizer(text)["input_ids"]
        return list(ids[: len(ids) - len(self._added())])

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
            raise CompareError(f"the tokenizer of {self.name} can't tell ({') from ('.join(letters)}): {OTHER_FILES}")
        targets = tuple(ids[decided] for ids in answers)
        for letter, token in zip(letters, targets, strict=True):
            # "(" of one letter, beside "(A" of another, begins many an answer.
            named = letter.lower() in self.tokenizer.decode([token]).lower()
            if not named or token == getattr(self.tokenizer, "unk_token_id", None):
                raise CompareError(
                    f"the tokenizer of {self.name} has no token of ({letter})'s own where ({') and ('.join(letters)}) "
                    "differ: use --measure answers."
                )
        return ChoicePrompt(tuple(first[:decided]), end, targets)

    def system_span(self, text: str) -> tuple[int, int]:
        """Where a system prompt's tokens stand in every prompt that has it: the first, and the end."""
        this, other = (self.tokenize(self.text("Why?", system)) for system in (text, "0"))
        first = common_prefix(this, other)
        return first, len(this) - common_prefix(this[first:][::-1], other[first:][::-1])


def checked_writer(
    tokenizer: Any, prompt_format: PromptFormat | None, name: str, mode: ThinkingMode = "off", thinks: bool = False
) -> PromptWriter:
    """Writes prompts that a probe has shown to be right, by default by the chat template where there is one.

    Raises:
        CompareError: the model would not read in this format what it is to be asked, or can't think as it is asked to.
    """
    has_template = bool(getattr(tokenizer, "chat_template", None))
    writer = PromptWriter(tokenizer, prompt_format or ("chat" if has_template else "base"), name, mode, thinks)
    try:
        writer.check()
    except CompareError:
        raise
    except Exception as error:  # of a tokenizer whose files hold what they should not
        raise CompareError(f"the tokenizer of {name} can't be used, {described(error)}: {OTHER_FILES}") from error
    return writer


def common_prefix(left: Sequence[int], right: Sequence[int]) -> int:
    """How many tokens two sequences begin with alike."""
    shortest = min(len(left), len(right))
    return next((i for i in range(shortest) if left[i] != right[i]), shortest)

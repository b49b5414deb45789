"""Requests of lm-evaluation-harness, answered by the engine for many interventions at once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lm_eval.api.model import LM as HarnessModel

from comparisons.engine.completions import completion_logps
from comparisons.engine.generate import generate
from comparisons.util.errors import CompareError

if TYPE_CHECKING:
    from comparisons.intervention import Intervention
    from comparisons.model.lm import LM
    from comparisons.model.prompts import Turn

MOST_TOKENS = 256
"""Of a written answer, where the task does not say."""

LIMITS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
"""How a task may call the most tokens of a written answer; the first counts, as in the harness."""

Writing = tuple[str, str]
"""A context, and as JSON what the answer must keep to: tasks may ask the same with other limits."""


@dataclass
class HarnessRequests:
    """What the harness asks a model.

    Attributes:
        likelihoods: context -> the continuations whose log-likelihood is asked for.
        texts: what a written answer must keep to: "until", "max_gen_toks", …
    """

    likelihoods: dict[str, list[str]] = field(default_factory=dict)
    texts: dict[Writing, dict[str, Any]] = field(default_factory=dict)


@dataclass
class HarnessAnswers:
    """What a cell answers: log-likelihoods by context and continuation, written answers."""

    likelihoods: dict[tuple[str, str], float] = field(default_factory=dict)
    texts: dict[Writing, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sizes:
    """How much is asked.

    Attributes:
        likelihoods: prompts, each with the tokens of all continuations whose log-likelihood is asked for.
        texts: prompts, each with the most tokens of its written answer.
    """

    likelihoods: Sequence[tuple[tuple[int, ...], int]]
    texts: Sequence[tuple[tuple[int, ...], int]]


class Answering(HarnessModel):  # type: ignore[misc]
    """A model as the harness knows it: notes what it is asked, and gives answers that are known.

    Contexts come as lists of messages, as JSON, where the harness asks for a chat template.
    """

    tokenizer_name = "comparisons"

    def __init__(self, asked: HarnessRequests, answers: HarnessAnswers | None = None) -> None:
        super().__init__()
        self.asked, self.answers = asked, answers or HarnessAnswers()

    def chat_template(self, name: bool | str = False) -> str:
        """None: a prompt is rendered where its cell is known."""
        return ""

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """The messages."""
        return json.dumps(chat_history, ensure_ascii=False)

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        """Log-likelihoods; whether a continuation is the likeliest is not told."""
        found = []
        for context, continuation in (request.args for request in requests):
            if not context:
                raise CompareError("the task asks for the likelihood of a text without a question: name another.")
            every = self.asked.likelihoods.setdefault(context, [])
            if continuation not in every:
                every.append(continuation)
            found.append((self.answers.likelihoods.get((context, continuation), 0.0), False))
        return found

    def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
        """Refused: a text's likelihood is no value from 0 to 1."""
        raise CompareError("the task asks for the likelihood of whole texts: name another.")

    def generate_until(self, requests: list[Any]) -> list[str]:
        """Written answers."""
        for context, wanted in (request.args for request in requests):
            # A temperature alone means sampling too, as in the harness's own class for models of transformers.
            if wanted.get("do_sample") is not False and float(wanted.get("temperature") or 0.0) > 0:
                raise CompareError("the task samples its answers, and here they are greedy: name another.")
            self.asked.texts[writing(context, wanted)] = dict(wanted)
        return [self.answers.texts.get(writing(*request.args), "") for request in requests]


def writing(context: str, wanted: Mapping[str, Any]) -> Writing:
    """What tells a request for a written answer from others."""
    return context, json.dumps(wanted, sort_keys=True, default=str)


class Requests:
    """What the harness asked, for the engine.

    Args:
        lm: the model.
        asked: by the harness.
        chat: whether contexts are lists of messages.
        interventions: under which they are answered.

    Attributes:
        left_out: contexts that are too long for the model under any of them, with its system prompt and examples.
    """

    def __init__(self, lm: LM, asked: HarnessRequests, chat: bool, interventions: Sequence[Intervention]) -> None:
        self.lm, self.asked, self.interventions = _reading(lm, chat), asked, interventions
        self.left_out = set(self._too_long()) if lm.context is not None else set()

    def _too_long(self) -> Iterable[str]:
        written: dict[str, int] = {}
        for (context, _), wanted in self.asked.texts.items():
            written[context] = max(written.get(context, 0), _most_tokens(wanted))
        for system, examples in {(one.system, one.examples) for one in self.interventions}:
            for context in {**self.asked.likelihoods, **written}:
                text = self.lm.prompt(context, system, examples)
                ends = self.asked.likelihoods.get(context, [""])
                most = max(len(self.lm.tokenize(text + end)) for end in ends) + written.get(context, 0)
                if most > (self.lm.context or most):
                    yield context

    def sizes(self) -> Sizes:
        """The tokens of what is asked of the unchanged model."""

        def tokens(context: str, end: str = "") -> tuple[int, ...]:
            return tuple(self.lm.tokenize(self.lm.prompt(context) + end))

        prompts = {context: tokens(context) for context in (*self.asked.likelihoods, *(c for c, _ in self.asked.texts))}
        likelihoods = [
            (prompts[context], sum(len(tokens(context, end)) - len(prompts[context]) for end in ends))
            for context, ends in self.asked.likelihoods.items()
        ]
        texts = [(prompts[context], _most_tokens(wanted)) for (context, _), wanted in self.asked.texts.items()]
        return Sizes(likelihoods, texts)

    def answers(self) -> list[HarnessAnswers]:
        """One an intervention, without what is left out."""
        interventions = self.interventions
        found = [HarnessAnswers() for _ in interventions]
        contexts = [context for context in self.asked.likelihoods if context not in self.left_out]
        if contexts:
            completions = [self.asked.likelihoods[context] for context in contexts]
            logps = completion_logps(self.lm, contexts, completions, interventions, exact=True)
            for answers, own in zip(found, logps, strict=True):
                for context, ends, values in zip(contexts, completions, own, strict=True):
                    answers.likelihoods |= {(context, end): sum(v) for end, v in zip(ends, values, strict=True)}
        written = {key: wanted for key, wanted in self.asked.texts.items() if key[0] not in self.left_out}
        for most in sorted(set(map(_most_tokens, written.values()))):
            mine = [key for key, wanted in written.items() if _most_tokens(wanted) == most]
            contexts = list(dict.fromkeys(context for context, _ in mine))
            for answers, texts in zip(found, generate(self.lm, contexts, interventions, most, exact=True), strict=True):
                said = dict(zip(contexts, texts, strict=True))
                answers.texts |= {key: _cut(said[key[0]], written[key]) for key in mine}
        return found


def _most_tokens(wanted: Mapping[str, Any]) -> int:
    """How long a written answer may get."""
    return int(next((wanted[name] for name in LIMITS if wanted.get(name) is not None), MOST_TOKENS))


def _cut(text: str, wanted: Mapping[str, Any]) -> str:
    """A text up to the first of the strings that end it."""
    ends = wanted.get("until") or []
    for end in [ends] if isinstance(ends, str) else ends:
        text = text.split(end)[0] if end else text
    return text


def _reading(lm: LM, chat: bool) -> LM:
    """A view of the model whose prompts are the harness's contexts."""

    def prompt(context: str, system: str | None = None, examples: Sequence[Turn] = ()) -> str:
        if not chat:
            turns = "".join(f"{turn.question.strip()}\n{turn.answer.strip()}\n\n" for turn in examples)
            return (f"{system}\n\n" if system else "") + turns + context
        messages = json.loads(context)
        told = [one["content"] for one in messages if one["role"] == "system"]
        said = [one for one in messages if one["role"] != "system"]
        # The answer may be begun already.
        begun = said.pop()["content"] if said and said[-1]["role"] == "assistant" else ""
        shown = [
            one
            for turn in examples
            for one in (
                {"role": "user", "content": turn.question.strip()},
                {"role": "assistant", "content": turn.answer.strip()},
            )
        ]
        text = lm.prompts.conversation("\n\n".join(filter(None, (system, *told))) or None, [*shown, *said])
        return text + ("" if not begun or text[-1:].isspace() else " ") + begun

    view = copy(lm)
    view.prompt = prompt  # type: ignore[method-assign, assignment]
    return view

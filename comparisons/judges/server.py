"""A judge behind the API of OpenAI or a compatible server."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from comparisons.judges.client import TIMEOUT, Answer, Client, Reply, Request
from comparisons.judges.interface import MOST, AnswerToJudge, Setup, Verdict, choosing, rating, scoring
from comparisons.results.answers import Status
from comparisons.util.errors import CompareError, described

MOST_TOKENS = 300

_WINNERS = {"answer_1": MOST, "tie": MOST / 2, "answer_2": 0.0}


def _schema(name: str, value: dict[str, Any]) -> dict[str, Any]:
    fields = {"reason": {"type": "string"}, name: value}
    schema = {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
    return {"type": "json_schema", "json_schema": {"name": "verdict", "strict": True, "schema": schema}}


SCALE = "Reply with a reason and a whole score from 0 to 10, as JSON."
SCORE = _schema("score", {"type": "integer", "minimum": 0, "maximum": 10})
WINNER = _schema("winner", {"type": "string", "enum": list(_WINNERS)})


class Server:
    """Asks a chat model for JSON at temperature 0, several requests at once.

    Args:
        model: as the server calls it.
        setup: its address, price, budget and where replies are kept.
        timeout: seconds to wait for a reply.
    """

    reads_rubric = True

    def __init__(self, model: str, setup: Setup, timeout: float = TIMEOUT) -> None:
        self.model = model
        self.client = Client(f"openai:{model}", setup, timeout)

    def score(self, asked: Sequence[AnswerToJudge]) -> list[Verdict]:
        """One verdict an answer; the same request is sent once."""
        return self._ask([scoring(each, SCALE) for each in asked], SCORE, _score)

    def coherence(self, asked: Sequence[AnswerToJudge]) -> list[Verdict]:
        """The same of their coherence, in requests of its own."""
        return self._ask([rating(each, SCALE) for each in asked], SCORE, _score)

    def compare(self, asked: Sequence[AnswerToJudge]) -> list[Verdict]:
        """Which of two answers shows more: "answer_1", "answer_2" or "tie"."""
        texts = [choosing(each, "Reply with a reason and the winner or a tie, as JSON.") for each in asked]
        return self._ask(texts, WINNER, _winner)

    def _ask(self, texts: Sequence[str], form: dict[str, Any], parse: Callable[[Any], float]) -> list[Verdict]:
        requests = [
            {
                "model": self.model,
                "messages": [{"role": "user", "content": text}],
                "temperature": 0,
                "max_tokens": MOST_TOKENS,
                "response_format": form,
            }
            for text in texts
        ]
        return [_verdict(reply, parse) for reply in self.client.replies(requests, _send, MOST_TOKENS)]


def _send(client: Any, request: Request) -> Answer:
    completion = client.chat.completions.create(**request)
    message, usage = completion.choices[0].message, completion.usage
    return Answer(
        message.content or "",
        (usage.prompt_tokens, usage.completion_tokens) if usage else None,
        getattr(message, "refusal", None) or "",
    )


def _verdict(reply: Reply, parse: Callable[[Any], float]) -> Verdict:
    verdict = Verdict(None, reply.reason, "", reply.status) if reply.kept is None else parsed(reply.kept, parse)
    return replace(verdict, tokens_in=reply.tokens_in, tokens_out=reply.tokens_out)


def parsed(reply: dict[str, Any], parse: Callable[[Any], float]) -> Verdict:
    """A kept reply as a verdict; it costs nothing."""
    raw = reply["content"] or reply["refusal"]
    if reply["refusal"]:
        return Verdict(None, "the judge refused", raw, "refused")
    status: Status = "unparsed"
    try:
        value = json.loads(raw)
        return Verdict(parse(value), str(value.get("reason", "")), raw)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        return Verdict(None, f"the reply is no verdict: {described(error)}", raw, status)


def _score(value: Any) -> float:
    score = value["score"]
    if isinstance(score, bool) or not isinstance(score, (int, float)) or not 0 <= score <= MOST:
        raise ValueError(f"the score {score!r} is not from 0 to 10")
    return float(score)


def _winner(value: Any) -> float:
    return _WINNERS[value["winner"]]


def make(argument: str | None, setup: Setup) -> Server:
    """`openai:MODEL`."""
    if argument is None:
        raise CompareError("the judge 'openai' needs a model: write openai:MODEL.")
    return Server(argument, setup)

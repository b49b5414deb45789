"""A judge behind the API of OpenAI or a compatible server; what is paid for is on disk before anything else happens."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from comparisons.errors import CompareError, described
from comparisons.files import json_digest, read_sealed, write_sealed
from comparisons.judges.interface import MOST, Asked, Price, Setup, Status, Verdict
from comparisons.judges.prompts import choosing, scoring

log = logging.getLogger(__name__)

KEY = "OPENAI_API_KEY"
CONCURRENCY = 8
RETRIES = 6
TIMEOUT = 60.0
MOST_TOKENS = 300

_NO_KEY = "none"
"""Sent to servers of one's own, which want any."""

_WINNERS = {"answer_1": MOST, "tie": MOST / 2, "answer_2": 0.0}


def _schema(name: str, value: dict[str, Any]) -> dict[str, Any]:
    fields = {"reason": {"type": "string"}, name: value}
    schema = {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
    return {"type": "json_schema", "json_schema": {"name": "verdict", "strict": True, "schema": schema}}


SCORE = _schema("score", {"type": "integer", "minimum": 0, "maximum": 10})
WINNER = _schema("winner", {"type": "string", "enum": list(_WINNERS)})


@dataclass
class Purse:
    """What may be spent, shared by threads; each request reserves its dearest case before it is sent.

    Attributes:
        price: of the model; None where nobody has said it.
        budget: dollars; None for no end.
        held: dollars spent and reserved.
    """

    price: Price | None
    budget: float | None
    held: float = 0.0

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    def reserve(self, tokens_in: int) -> float | None:
        """Dollars set aside; None where they would go over the budget."""
        cost = self.price.of(tokens_in, MOST_TOKENS) if self.price else 0.0
        with self._lock:
            if self.budget is not None and self.held + cost > self.budget:
                return None
            self.held += cost
        return cost

    def settle(self, reserved: float, tokens_in: int, tokens_out: int) -> None:
        """Puts what was paid in the place of what was reserved."""
        with self._lock:
            self.held += (self.price.of(tokens_in, tokens_out) if self.price else 0.0) - reserved


class Server:
    """Asks a chat model for JSON at temperature 0, several requests at once.

    Requests that a server turns away (429, 5xx), drops or leaves without reply are sent again by the `openai` client,
    after the time in Retry-After or with exponential back-off.

    Args:
        model: as the server calls it.
        setup: its address, price, budget and where verdicts are kept.
        timeout: seconds to wait for a reply.
    """

    def __init__(self, model: str, setup: Setup, timeout: float = TIMEOUT) -> None:
        self.model, self.url, self.cache = model, setup.url, setup.cache
        self.purse = Purse(setup.price, setup.budget)
        self.key = os.environ.get(KEY) or (_NO_KEY if setup.url else "")
        if not self.key:
            raise CompareError(f"the judge 'openai:{model}' needs a key: set {KEY} in the environment or in .env.")
        if setup.budget is not None and setup.price is None:
            raise CompareError("a budget for judges needs the model's price: give it as --judge-price IN/OUT.")
        self.timeout = timeout
        self._client: Any = None

    def score(self, asked: Sequence[Asked]) -> list[Verdict]:
        """One verdict an answer; the same request is sent once."""
        texts = [scoring(each, "Reply with a reason and a whole score from 0 to 10, as JSON.") for each in asked]
        return self._ask(texts, SCORE, _score)

    def compare(self, asked: Sequence[Asked]) -> list[Verdict]:
        """Which of two answers shows more: "answer_1", "answer_2" or "tie"."""
        texts = [choosing(each, "Reply with a reason and the winner or a tie, as JSON.") for each in asked]
        return self._ask(texts, WINNER, _winner)

    def _ask(self, texts: Sequence[str], form: dict[str, Any], parse: Callable[[Any], float]) -> list[Verdict]:
        self._connect()
        self.cache.mkdir(parents=True, exist_ok=True)
        unique = list(dict.fromkeys(texts))
        with ThreadPoolExecutor(CONCURRENCY) as pool:
            verdicts = list(pool.map(lambda text: self._verdict(text, form, parse), unique))
        found, seen, result = dict(zip(unique, verdicts, strict=True)), set[str](), []
        for text in texts:
            # What was paid counts once, however many answers it serves.
            result.append(replace(found[text], tokens_in=0, tokens_out=0) if text in seen else found[text])
            seen.add(text)
        return result

    def _verdict(self, text: str, form: dict[str, Any], parse: Callable[[Any], float]) -> Verdict:
        import openai

        request = {
            "model": self.model,
            "messages": [{"role": "user", "content": text}],
            "temperature": 0,
            "max_tokens": MOST_TOKENS,
            "response_format": form,
        }
        file = self._file(request)
        kept = _kept(file)
        if kept is not None:
            return parsed(kept, parse)
        # Byte-level vocabularies have at most a token a byte.
        reserved = self.purse.reserve(len(json.dumps(request, ensure_ascii=False).encode()))
        if reserved is None:
            return Verdict(None, "the budget is spent", status="unasked")
        try:
            reply = self._send(request)
        except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError) as error:
            raise CompareError(f"the judge 'openai:{self.model}': {self._clean(described(error))}") from None
        except (openai.OpenAIError, ValueError, LookupError, AttributeError, TypeError) as error:
            self.purse.settle(reserved, 0, 0)
            return Verdict(None, self._clean(described(error)), status="failed")
        write_sealed(file, reply)
        self.purse.settle(reserved, reply["tokens_in"], reply["tokens_out"])
        return replace(parsed(reply, parse), tokens_in=reply["tokens_in"], tokens_out=reply["tokens_out"])

    def _send(self, request: dict[str, Any]) -> dict[str, Any]:
        """What is kept of a reply, with the key cut out should the server have echoed it."""
        answer = self._client.chat.completions.create(**request)
        choice, usage = answer.choices[0], answer.usage
        return {
            "model": self.model,
            "content": self._clean(choice.message.content or ""),
            "refusal": self._clean(getattr(choice.message, "refusal", None) or ""),
            "tokens_in": usage.prompt_tokens if usage else 0,
            "tokens_out": usage.completion_tokens if usage else 0,
        }

    def _connect(self) -> None:
        if self._client is None:
            from openai import OpenAI

            self._client = OpenAI(api_key=self.key, base_url=self.url, max_retries=RETRIES, timeout=self.timeout)

    def _file(self, request: dict[str, Any]) -> Path:
        return self.cache / f"{json_digest({'url': self.url, **request})}.json"

    def _clean(self, text: str) -> str:
        return text.replace(self.key, "[key]") if self.key != _NO_KEY else text


def _kept(file: Path) -> dict[str, Any] | None:
    """A kept reply; None where there is none, or where it is damaged, so that it is asked for again."""
    if not file.exists():
        return None
    try:
        found = read_sealed(file, "a kept verdict")
    except CompareError as error:
        log.warning("%s It is asked for again.", error)
        return None
    return found if isinstance(found, dict) else None


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

"""Asking a server of OpenAI's API: what is paid for is on disk before anything else, and nothing is paid twice."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

from comparisons.judges.interface import Price, Setup
from comparisons.results.answers import Status
from comparisons.util.errors import CompareError, described
from comparisons.util.files import json_digest, read_sealed, write_sealed

log = logging.getLogger(__name__)

KEY = "OPENAI_API_KEY"
CONCURRENCY = 8
RETRIES = 6
TIMEOUT = 60.0

_NO_KEY = "none"
"""Sent to servers of one's own, which want any."""

Request = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """What a server said, as far as judges need it.

    Attributes:
        content: the reply.
        usage: tokens of the prompt and of the reply; None where the server doesn't tell.
        refusal: in the server's words, where it refuses.
    """

    content: str
    usage: tuple[int, int] | None
    refusal: str = ""


Send = Callable[[Any, Request], Answer]
"""Sends a request by the client of `openai`, with its retries."""


@dataclass(frozen=True)
class Reply:
    """What became of a request.

    Attributes:
        kept: "content", "refusal", "tokens_in" and "tokens_out" as they lie on disk; None where nothing came.
        reason: why not.
        status: likewise.
        tokens_in: prompt tokens that this call pays for, or may: see `Charge`.
        tokens_out: the same of the reply.
    """

    kept: dict[str, Any] | None
    reason: str = ""
    status: Status = "scored"
    tokens_in: int = 0
    tokens_out: int = 0


@dataclass
class Budget:
    """What may be spent, shared by threads.

    Attributes:
        price: of the model; None where nobody has said it.
        budget: dollars; None for no end.
        held: dollars spent, possibly spent, and set aside.
        doubtful: those of `held` for requests that were sent and never answered: the server may have billed them.
    """

    price: Price | None
    budget: float | None
    held: float = 0.0
    doubtful: float = 0.0

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    def cost(self, tokens_in: int, tokens_out: int) -> float:
        """Dollars; 0 where nobody has said the price."""
        return self.price.of(tokens_in, tokens_out) if self.price else 0.0

    def reserve(self, dollars: float) -> bool:
        """Sets dollars aside; False where they would go over the budget."""
        with self._lock:
            if self.budget is not None and self.held + dollars > self.budget:
                return False
            self.held += dollars
        return True

    def settle(self, reserved: float, paid: float, doubtful: float) -> None:
        """Puts what was paid, and what may have been, in the place of what was set aside."""
        with self._lock:
            self.held += paid + doubtful - reserved
            self.doubtful += doubtful


class Charge:
    """What one request costs.

    The client sends a request again after a failure, and a server may charge each sending: also one whose connection
    broke or whose reply came too late, could not be read, or was an error of the server's. Such a sending counts at its
    dearest case. One that never left (no connection), or that the server turned away (3xx, 4xx, 503), costs nothing.

    Args:
        budget: pays.
        dearest: tokens of the prompt and the reply, at most.

    Attributes:
        unanswered: sendings so far that the server may charge though nothing usable came back.
        asked: whether the request has left at all.
        spent: whether the budget forbade a sending.
    """

    def __init__(self, budget: Budget, dearest: tuple[int, int]) -> None:
        self.budget, self.dearest = budget, dearest
        self.unanswered, self.asked, self.spent = 0, False, False
        self._reserved, self._usage = 0, (0, 0)

    def reserve(self) -> bool:
        """Before a sending: sets its dearest case aside, unless an earlier one's has become free."""
        if self._reserved > self.unanswered:
            return True
        self.spent = not self.budget.reserve(self.budget.cost(*self.dearest))
        self._reserved += not self.spent
        return not self.spent

    def trace(self, event: str, info: dict[str, Any]) -> None:
        """Takes the HTTP library's word on what happens to a sending."""
        if event.endswith(".send_request_body.started"):
            self.unanswered, self.asked = self.unanswered + 1, True

    def response(self, response: Any) -> None:
        """When a reply begins; whether it can be read is known at its end."""
        status = int(response.status_code)
        if 300 <= status < 500 or status == HTTPStatus.SERVICE_UNAVAILABLE:
            self.unanswered -= 1

    def answer(self, usage: tuple[int, int]) -> None:
        """When a reply has been read and kept."""
        self.unanswered -= 1
        self._usage = usage

    def settle(self) -> None:
        """At the end."""
        dearest = self.budget.cost(*self.dearest)
        self.budget.settle(self._reserved * dearest, self.budget.cost(*self._usage), self.unanswered * dearest)

    @property
    def tokens(self) -> tuple[int, int]:
        """Of the prompt and the reply, the unanswered sendings' dearest case among them."""
        return (
            self._usage[0] + self.unanswered * self.dearest[0],
            self._usage[1] + self.unanswered * self.dearest[1],
        )

    @property
    def doubt(self) -> str:
        """What a reason says of unanswered sendings."""
        if not self.unanswered:
            return ""
        times = "once" if self.unanswered == 1 else f"{self.unanswered} times"
        return f" (sent {times} without an answer, which may be billed: counted at the dearest)"


class Client:
    """Sends requests, several at once, and keeps their replies.

    Requests that a server turns away (429, 5xx), drops or leaves without reply are sent again by the `openai` client,
    after the time in Retry-After or with exponential back-off.

    Args:
        judge: as the user names it, for messages.
        setup: the server's address, price, budget and where replies are kept.
        timeout: seconds to wait for a reply.
    """

    def __init__(self, judge: str, setup: Setup, timeout: float = TIMEOUT) -> None:
        self.judge, self.url, self.cache, self.timeout = judge, setup.url, setup.cache, timeout
        self.budget = Budget(setup.price, setup.budget)
        self.key = os.environ.get(KEY) or (_NO_KEY if setup.url else "")
        if not self.key:
            raise CompareError(f"the judge '{judge}' needs a key: set {KEY} in the environment or in .env.")
        if setup.budget is not None and setup.price is None:
            raise CompareError("a budget for judges needs the model's price: give it as --judge-price IN/OUT.")
        self._client: Any = None
        self._current = threading.local()

    def replies(self, requests: Sequence[Request], send: Send, most_out: int) -> list[Reply]:
        """One reply a request, in order; the same request is sent once.

        Args:
            requests: what is sent, without anything secret.
            send: how.
            most_out: tokens of the longest reply.

        Raises:
            CompareError: the server turns the key, or the model, away.
        """
        self._connect()
        self.cache.mkdir(parents=True, exist_ok=True)
        keys = [json_digest({"url": self.url, **request}) for request in requests]
        unique = dict(zip(keys, requests, strict=True))
        with ThreadPoolExecutor(CONCURRENCY) as pool:
            asked = pool.map(lambda key: self._reply(self.cache / f"{key}.json", unique[key], send, most_out), unique)
            replies = dict(zip(unique, asked, strict=True))
        result = []
        for key in keys:
            result.append(replies[key])
            # What was paid counts once, however many answers it serves.
            replies[key] = replace(replies[key], tokens_in=0, tokens_out=0)
        return result

    def _reply(self, file: Path, request: Request, send: Send, most_out: int) -> Reply:
        import openai

        kept = _kept(file)
        if kept is not None:
            return Reply(kept)
        # Byte-level vocabularies have at most a token a byte.
        dearest = (len(json.dumps(request, ensure_ascii=False).encode()), most_out)
        charge = self._current.charge = Charge(self.budget, dearest)
        try:
            answer = send(self._client, request)
            usage = dearest if answer.usage is None else answer.usage
            kept = {
                "model": request["model"],
                "content": self._clean(answer.content),
                "refusal": self._clean(answer.refusal),
                "tokens_in": usage[0],
                "tokens_out": usage[1],
            }
            write_sealed(file, kept)
            charge.answer(usage)
        except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError) as error:
            raise CompareError(f"the judge '{self.judge}': {self._clean(described(error))}") from None
        except (openai.OpenAIError, ValueError, LookupError, AttributeError, TypeError) as error:
            status: Status = "failed" if charge.asked or not charge.spent else "unasked"
            reason = "the budget is spent" if charge.spent else self._clean(described(error))
            return Reply(None, reason + charge.doubt, status, *charge.tokens)
        finally:
            charge.settle()
        return Reply(kept, "", "scored", *charge.tokens)

    def _connect(self) -> None:
        if self._client is None:
            from openai import DefaultHttpxClient, OpenAI

            hooks = {"request": [self._before], "response": [lambda response: self._charge.response(response)]}
            self._client = OpenAI(
                api_key=self.key,
                base_url=self.url,
                max_retries=RETRIES,
                timeout=self.timeout,
                http_client=DefaultHttpxClient(event_hooks=hooks),
            )

    @property
    def _charge(self) -> Charge:
        """Of the request that this thread is sending."""
        charge: Charge = self._current.charge
        return charge

    def _before(self, request: Any) -> None:
        """Before each sending of a request, the first and those after a failure."""
        from openai import OpenAIError

        if not self._charge.reserve():
            raise OpenAIError("the budget is spent")  # which the client raises at once, without sending again
        request.extensions["trace"] = self._charge.trace

    def _clean(self, text: str) -> str:
        """Cuts the key out, should the server have echoed it."""
        return text.replace(self.key, "[key]") if self.key != _NO_KEY else text


def _kept(file: Path) -> dict[str, Any] | None:
    """A kept reply; None where there is none, or where it is damaged, so that it is asked for again."""
    if not file.exists():
        return None
    try:
        reply = read_sealed(file, "a kept reply")
    except CompareError as error:
        log.warning("%s It is asked for again.", error)
        return None
    return reply if isinstance(reply, dict) else None

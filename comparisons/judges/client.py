"""Asking a server of OpenAI's API: what is paid for is on disk before anything else, and nothing is paid twice."""

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

from comparisons.judges.budget import Budget, Charge
from comparisons.judges.interface import Setup
from comparisons.results.status import Status
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
            found = dict(zip(unique, asked, strict=True))
        result = []
        for key in keys:
            result.append(found[key])
            # What was paid counts once, however many answers it serves.
            found[key] = replace(found[key], tokens_in=0, tokens_out=0)
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
        found = read_sealed(file, "a kept reply")
    except CompareError as error:
        log.warning("%s It is asked for again.", error)
        return None
    return found if isinstance(found, dict) else None

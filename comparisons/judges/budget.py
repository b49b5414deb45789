"""What judges may spend: every sending of a request is set aside at its dearest before it leaves."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from comparisons.judges.interface import Price


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

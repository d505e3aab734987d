"""Refuses what the gateway cannot carry now, at a fraction of the cost of serving: the answers are made once, beforehand.

Each says when to come again, and not all the same: official SDKs wait exactly as long as `retry-after-ms` says, so one
number for all would send a burst back as a burst.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, get_args

from turnout.api.exchange import Exchange
from turnout.api.render import error_body, error_headers
from turnout.core.admission import Reason
from turnout.errors import Overloaded
from turnout.gateway.downstream import Head
from turnout.gateway.telemetry import Telemetry

WAITS_S: Final = tuple(1.0 + step / 8 for step in range(16))
"""One second to nearly three: recovery is promised within five."""

_MESSAGES: Final[Mapping[Reason, str]] = {
    "concurrency": "The gateway has as many requests under way as it may (server.concurrency).",
    "lag": "The gateway has more to do than it can do in time.",
    "share": "You have your share of the gateway's places under way, and others need theirs.",
}


def _answers(reason: Reason) -> tuple[tuple[Head, bytes], ...]:
    errors = [
        Overloaded(f"{_MESSAGES[reason]} Send this again in a moment.", retry_after_s=wait_s) for wait_s in WAITS_S
    ]
    return tuple((tuple(error_headers(error)), error_body(error, "")) for error in errors)


ANSWERS: Final[Mapping[Reason, tuple[tuple[Head, bytes], ...]]] = {
    reason: _answers(reason) for reason in get_args(Reason)
}


def shed(
    exchange: Exchange, headers: Mapping[bytes, bytes], reason: Reason, request_id: str, counts: Telemetry
) -> None:
    """Answer 503, keep the connection, and count it. About 4 µs; nothing of the body is kept or looked at."""
    if exchange.more_body:
        length = headers.get(b"content-length", b"")  # the parser has seen that it is a number
        if length and int(length) <= exchange.body_limit:
            exchange.discard_body()
    counts.errors[Overloaded.code, Overloaded.status] += 1
    counts.shed[reason] = number = counts.shed[reason] + 1
    head, body = ANSWERS[reason][number % len(WAITS_S)]
    exchange.answer(Overloaded.status, (*head, (b"x-request-id", request_id.encode())), body)

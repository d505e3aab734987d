"""Remembers what a simulated vendor received and what it sent: the independent second book of every fault test.

One `Dispatch` per model call that arrived whole. Ledgers and traces are reconciled against it by request id; a canary is
looked for in everything that arrived. It is told by the executors, at the time, and it never decides anything.
Source: RELIABILITY §4.1 and invariants I1, I5, I6.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Literal

import msgspec

Outcome = Literal["", "complete", "cut", "reset", "client-closed"]

KEEP_DISPATCHES = 100_000
KEEP_BODY_BYTES = 64 * 1024 * 1024


class Dispatch(msgspec.Struct):
    """One model call, as the vendor saw it. Times in monotonic seconds, `received_wall` in Unix seconds.

    account: a digest of the key it came with ("" for none). headers: as received, names in lower case; they may hold a
    key, so they stay in memory and never reach a log. body: as received, b"" once the memory bound is passed.
    fault: the script it was given. input_tokens, output_tokens: what a whole answer counts (characters / 4).
    sent_tokens: content tokens that really left. is_usage_sent: the usage was told. outcome: "" while under way;
    complete (all that was meant was sent), cut (ended in order but short), reset (by us), client-closed.
    """

    number: int
    received_at: float
    received_wall: float
    connection: int
    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    body_bytes: int
    body_sha256: str
    request_id: str
    account: str = ""
    model: str = ""
    stream: bool = False
    fault: str = ""
    status: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    sent_bytes: int = 0
    sent_tokens: int = 0
    is_usage_sent: bool = False
    first_sent_at: float | None = None
    ended_at: float | None = None
    outcome: Outcome = ""

    def header(self, name: str) -> str:
        """Return the first value of a header ("" if it did not come)."""
        return next((value for known, value in self.headers if known == name), "")

    def record(self, event: str) -> dict[str, object]:
        """Return what may be logged: every member but header values and the body."""
        shown = {name: getattr(self, name) for name in self.__struct_fields__ if name not in {"headers", "body"}}
        return {"event": event, **shown, "header_names": [name for name, _ in self.headers]}


class Witness:
    """The book. observe: called with each record as it is made (received, ended), for a log on disk.

    Memory: the newest 100,000 dispatches and 64 MiB of bodies; counts go on.
    """

    def __init__(
        self,
        observe: Callable[[dict[str, object]], None] | None = None,
        *,
        keep: int = KEEP_DISPATCHES,
        keep_body_bytes: int = KEEP_BODY_BYTES,
    ) -> None:
        self.dispatches: deque[Dispatch] = deque(maxlen=keep)
        self.count = 0
        self.open = 0
        self.most_open = 0
        self.connections = 0
        self.refused_connections = 0
        self._observe = observe
        self._body_bytes_left = keep_body_bytes

    def received(self, dispatch: Dispatch) -> None:
        """Write down a request that has arrived whole. O(1)."""
        self.count += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        self._body_bytes_left -= len(dispatch.body)
        if self._body_bytes_left < 0:
            dispatch.body = b""
        self.dispatches.append(dispatch)
        if self._observe:
            self._observe(dispatch.record("received"))

    def sent(self, dispatch: Dispatch, size: int, now: float, *, tokens: int = 0, is_usage: bool = False) -> None:
        """Write down that `size` bytes of body left at `now`. O(1)."""
        if dispatch.first_sent_at is None:
            dispatch.first_sent_at = now
        dispatch.sent_bytes += size
        dispatch.sent_tokens += tokens
        dispatch.is_usage_sent |= is_usage

    def ended(self, dispatch: Dispatch, outcome: Outcome, now: float) -> bool:
        """Write down how it ended; the first to say so is right. Returns whether this was the first. O(1)."""
        if dispatch.outcome:
            return False
        dispatch.outcome = outcome
        dispatch.ended_at = now
        self.open -= 1
        if self._observe:
            self._observe(dispatch.record("ended"))
        return True

    def find(self, canary: bytes) -> list[int]:
        """Return the numbers of the dispatches whose path, headers or body held `canary`. O(all that is kept)."""
        text = canary.decode("utf-8", "replace")
        return [
            one.number
            for one in self.dispatches
            if canary in one.body
            or text in one.path
            or any(text in name or text in value for name, value in one.headers)
        ]

    def summary(self) -> dict[str, object]:
        """Return the book as plain values: counts, and one record per dispatch that is kept."""
        return {
            "count": self.count,
            "open": self.open,
            "most_open": self.most_open,
            "connections": self.connections,
            "refused_connections": self.refused_connections,
            "dispatches": [one.record("ended" if one.outcome else "received") for one in self.dispatches],
        }

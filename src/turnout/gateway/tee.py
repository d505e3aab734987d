"""Gives an answer to its client and keeps it, piece by piece: the Downstream of a request with an Idempotency-Key.

Rules:
* The answer is on disk before its end reaches the client: whoever has seen the end may repeat, even after a kill.
* A client that leaves, or takes nothing, does not stop the answer: it is kept for when the client asks again.
* At most PIECE_BYTES wait for the disk, besides a whole answer, which the engine holds as well.
* A disk that fails costs the promise, not the answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Literal

import msgspec

from turnout.errors import ClientDisconnected, GatewayError, StoreError
from turnout.gateway.downstream import Downstream, Head
from turnout.stores import AnswerStore, Found

PIECE_BYTES = 32 * 1024
"""How long a piece is: what a slow client is repeated to may wait for it in our memory (RELIABILITY A7: 64 KiB in all)."""

HURRY_S = 2.0
"""How long a client may take nothing while a repeat waits: most likely the repeat is that client's, and this connection dead."""

ENDS = (b"[DONE]", b"message_stop")
"""What ends a stream before its connection does. Text of the answer that looks like it waits for the next chunk, no more."""

END_BYTES = 64

REPLAYED = (b"idempotent-replayed", b"true")

_log = logging.getLogger("turnout.tee")


class _Kept(msgspec.Struct):
    """What goes before and after the pieces of an answer."""

    status: int
    headers: list[tuple[bytes, bytes]]
    ending: Literal["answer", "finish", "cut"]


class Run:
    """One request that is being answered under a key. id: its answer's in the store, 0 until it has its place there.

    ended: set when it is over; then those who waited have what it came to: `found`, the answer that is kept, or `error`,
    what it ended with and is not kept; or neither, if whoever made it has left before it began. hurry_s: as HURRY_S.
    """

    __slots__ = (
        "_hurry_s",
        "_patience",
        "ended",
        "error",
        "found",
        "id",
        "is_abandoned",
        "is_awaited",
        "request",
        "slot",
    )

    def __init__(self, slot: bytes, request: bytes, *, hurry_s: float = HURRY_S) -> None:
        self.slot = slot
        self.request = request
        self._hurry_s = hurry_s
        self.id = 0
        self.ended = asyncio.Event()
        self.error: GatewayError | None = None
        self.found: Found | None = None
        self.is_abandoned = False
        self.is_awaited = False
        self._patience: asyncio.Timeout | None = None

    def hurry(self) -> None:
        """A repeat waits."""
        self.is_awaited = True
        if self._patience is not None:
            self._patience.reschedule(asyncio.get_running_loop().time() + self._hurry_s)

    async def drain(self, down: Downstream) -> None:
        """Wait for a slow client. Raises TimeoutError if it takes nothing and a repeat waits, ClientDisconnected."""
        try:
            async with asyncio.timeout(self._hurry_s if self.is_awaited else None) as self._patience:
                await down.drain()
        finally:
            self._patience = None


class Tee:
    """The client's side of a request that is kept. `keep` and then `deliver` once the engine is done with it.

    on_gone: whom a Downstream's client leaves may be told; this one never does.
    """

    on_gone: Callable[[], object] | None = None

    def __init__(self, down: Downstream, store: AnswerStore, run: Run) -> None:
        self._down = down
        self._store = store
        self._run = run
        self._kept: _Kept | None = None
        self._is_alone = False  # nobody listens any more
        self._is_broken = False  # the disk has failed, or the claim is lost
        self._held = b""  # what may end the stream: it goes out with the end
        self._body = b""
        self._unsaved: list[bytes] = []
        self._unsaved_bytes = 0
        self._pieces = 0

    @property
    def is_started(self) -> bool:
        """Whether an answer has begun."""
        return self._kept is not None

    @property
    def is_paused(self) -> bool:
        """Whether the client or the disk is slower than the answer."""
        return self._unsaved_bytes >= PIECE_BYTES or (self._down.is_paused and not self._is_alone)

    def _keep(self, data: bytes) -> None:
        if not self._is_broken:
            self._unsaved.append(data)
            self._unsaved_bytes += len(data)

    def answer(self, status: int, headers: Head, body: bytes) -> None:
        """Take a whole answer."""
        self._kept = _Kept(status, list(headers), "answer")
        self._body = body
        self._keep(body)

    def start(self, status: int, headers: Head) -> None:
        """Take the head of a stream, and send it."""
        self._kept = _Kept(status, list(headers), "cut")
        self._down.start(status, headers)

    def write(self, data: bytes) -> None:
        """Take a piece, and send it unless it may be the last."""
        self._keep(data)
        if self._is_alone:
            return
        held, end = self._held, data[-END_BYTES:]
        if any(mark in end for mark in ENDS):
            self._held, data = data, b""
        else:
            self._held = b""
        if held or data:
            self._down.write(held + data)

    async def drain(self) -> None:
        """Wait for the disk, and for the client if it is still there."""
        if self._unsaved_bytes >= PIECE_BYTES:
            await self._save()
        if self._down.is_paused and not self._is_alone:
            try:
                await self._run.drain(self._down)
            except (TimeoutError, ClientDisconnected):
                self._is_alone = True
                self._down.cut()

    def finish(self) -> None:
        """Take the end of a stream."""
        assert self._kept is not None
        self._kept.ending = "finish"

    def cut(self) -> None:
        """Take the end of a stream that is not whole: it is repeated as it was, and cut as it was."""

    async def _save(self) -> None:
        saved, first = _pieces(self._unsaved), self._pieces
        self._unsaved, self._unsaved_bytes = [], 0
        try:
            await asyncio.to_thread(self._store.add, self._run.id, first, saved)
        except StoreError as error:
            self._fail(error)
        self._pieces += len(saved)

    async def keep(self, wall: float) -> None:
        """Write what is not written yet, and that it is whole; the run has found it then. wall: Unix seconds."""
        if self._is_broken:
            return
        head = msgspec.msgpack.encode(self._kept)
        saved, self._unsaved = _pieces(self._unsaved), []
        run = self._run
        try:
            await asyncio.to_thread(self._store.finish, run.id, self._pieces, saved, head, wall)
        except StoreError as error:
            self._fail(error)
        else:
            run.found = Found("kept", run.id, head, self._pieces + len(saved))

    def _fail(self, error: StoreError) -> None:
        _log.error("an answer cannot be kept, a repeat of its request will be served anew: %s", error.message)
        self._is_broken = True
        self._run.error = error
        self._unsaved, self._unsaved_bytes = [], 0

    def deliver(self) -> None:
        """Give the client the end of its answer, if there is one of either."""
        if self._kept is None or self._is_alone:
            return
        if self._kept.ending == "answer":
            self._down.answer(self._kept.status, self._kept.headers, self._body)
            return
        if self._held:
            self._down.write(self._held)
        if self._kept.ending == "finish":
            self._down.finish()
        else:
            self._down.cut()


def _pieces(parts: list[bytes]) -> list[memoryview]:
    """Cut `parts` anew, without a copy where there is only one."""
    whole = memoryview(parts[0] if len(parts) == 1 else b"".join(parts))
    return [whole[begin : begin + PIECE_BYTES] for begin in range(0, len(whole), PIECE_BYTES)]


async def replay(found: Found, store: AnswerStore, down: Downstream) -> None:
    """Give a client what was kept: the same status, headers and body, with REPLAYED. Raises StoreError before it begins."""
    kept = msgspec.msgpack.decode(found.head, type=_Kept)
    headers = [*kept.headers, REPLAYED]
    body = await asyncio.to_thread(store.piece, found.id, 0) if found.pieces else b""
    if kept.ending == "answer" and found.pieces <= 1 and body is not None:
        down.answer(kept.status, headers, body)
        return
    down.start(kept.status, headers)
    for number in range(1, found.pieces + 1):
        if body is None:  # its day ended while it was read
            down.cut()
            return
        if body:
            down.write(body)
        if down.is_paused:
            await down.drain()
        if number < found.pieces:
            body = await asyncio.to_thread(store.piece, found.id, number)
    if kept.ending == "cut":
        down.cut()
    else:
        down.finish()

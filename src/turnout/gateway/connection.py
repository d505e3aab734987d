"""Carries requests over one socket, one at a time, and knows how far each got.

What it knows when something fails: whether the connection had served before, whether any byte of this response came, and
which phase was running. Hence the two answers that retry safety needs: "the peer closed an idle connection just as we
used it" (`send` returns False: safe to send again, RELIABILITY B3) and "the work may have been done" (`is_ambiguous`).

Deadlines cost one timer per connection, not per request or chunk: requests and chunks only move timestamps, and the
timer, when it rings, compares them and is set anew for what is left. It is set earlier only when a limit is shorter than
what it is set for. Phases: first_chunk runs from the request's last written byte to the first byte of the *body*, idle
between body bytes (not while we keep the upstream waiting), total from the start of `send`. Total also ends a response
that has come whole and that nobody takes.

Waiting costs one future, woken at most once per turn of the loop with all that has come by then. Nothing here starts a
task. Cancelling any wait closes the socket at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from turnout.core.catalog import Timeouts
from turnout.core.pieces import LARGE_BYTES, Pieces
from turnout.errors import UpstreamError, UpstreamFault, UpstreamTimeout
from turnout.gateway.http1 import Origin, ResponseReader
from turnout.gateway.pool import Pool

READ_BYTES = 16 * 1024
"""One read of a socket. One for which nobody waits is kept, and the next made when it was taken: the rest of a slow client's
answer waits in TCP (RELIABILITY A7: 64 KiB in all). Left to themselves, uvloop and asyncio read up to 256 KiB at once."""

WHOLE_BYTES = 256 * 1024
"""How much of a body that is read whole is collected between two wakes."""

RACE_S = 0.3
"""How long after a request left, the end of its connection may still be the race for an idle one: both pass each other within
a round trip, at most this between continents. A peer that ends it later has had the request, and maybe worked on it."""

DRAIN_S = 1.0
"""How long the rest of a body that nobody wants may take: after a stream's end marker it is the last chunk, in flight."""

Sink = Callable[[bytes], bool]
"""Takes a piece of body; returns whether it wants more now."""


class Connection(asyncio.BufferedProtocol):
    """One socket. idle_since: the loop's time when it came back to the pool. has_served: a response was read whole.

    buffer: what the socket is read into, READ_BYTES long; all connections of a loop can share it, as nothing stays in it.
    live: the transport's set of open connections, from which each takes itself when its socket is closed. failure: why there is no more to read.
    """

    __slots__ = (
        "_alarm",
        "_alarm_at",
        "_body_started",
        "_buffer",
        "_has_slot",
        "_is_busy",
        "_is_cut",
        "_is_draining",
        "_is_paused",
        "_is_stale",
        "_is_uploading",
        "_is_write_paused",
        "_live",
        "_loop",
        "_mark",
        "_origin_key",
        "_pool",
        "_sink",
        "_timeouts",
        "_total_at",
        "_transport",
        "_waiter",
        "_wake_at",
        "failure",
        "has_served",
        "idle_since",
        "label",
        "reader",
    )

    def __init__(
        self,
        origin: Origin,
        pool: Pool[Connection],
        live: set[Connection],
        loop: asyncio.AbstractEventLoop,
        buffer: memoryview,
    ) -> None:
        self._loop = loop
        self._buffer = buffer
        self._live = live
        self._pool = pool
        self._origin_key = origin.key
        self.label = origin.label
        self.reader = ResponseReader()
        self.failure: UpstreamError | None = None
        self.has_served = False
        self.idle_since = self._alarm_at = self._total_at = self._mark = 0.0
        self._transport: asyncio.Transport | None = None
        self._has_slot = True
        self._is_busy = self._is_stale = self._is_paused = self._body_started = False
        self._is_uploading = self._is_cut = self._is_write_paused = self._is_draining = False
        self._sink: Sink | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._wake_at = 0
        self._alarm: asyncio.TimerHandle | None = None
        self._timeouts = Timeouts()

    def __repr__(self) -> str:
        return f"<Connection {self.label} {'busy' if self._is_busy else 'idle'}>"

    @property
    def is_usable(self) -> bool:
        """Whether the socket stands, as far as the loop has told us."""
        return self._transport is not None and not self._transport.is_closing()

    # ── one request ──

    async def send(self, head: bytes, body: bytes | Pieces, timeouts: Timeouts, started: float) -> bool:
        """Send a request; return when the response's head is there.

        started: the loop's time when the request's total time began. Returns False if the peer had closed this
        connection, idle until now, and not a byte of a response came. Raises UpstreamFault, UpstreamTimeout.
        """
        transport = self._transport
        assert transport is not None
        reader = self.reader
        reader.begin()
        self._timeouts = timeouts
        self._total_at = started + timeouts.total_s
        self._mark = now = self._loop.time()
        self._body_started = False
        self._is_busy = True
        if self._alarm is None or self._alarm_at > self._total_at or self._alarm_at > now + timeouts.first_chunk_s:
            self._set_alarm()
        if isinstance(body, bytes) and len(body) <= LARGE_BYTES:
            transport.write(head + body if body else head)
        else:
            await self._upload(transport, head, body if isinstance(body, Pieces) else Pieces((body,)))
        if not reader.has_head and self.failure is None:
            await self.wait(0)
        if self.failure is None or reader.has_head:
            return True
        if self._is_stale:
            return False
        raise self.failure

    async def _upload(self, transport: asyncio.Transport, head: bytes, body: Pieces) -> None:
        """Write in slices as they are taken. An early answer ends it: the rest is not wanted any more."""
        transport.write(head)
        left = len(body)
        self._is_uploading = True
        for piece in body.slices(LARGE_BYTES):
            transport.write(piece)
            left -= len(piece)
            while self._is_write_paused and not self.reader.has_head and self.failure is None:
                await self.wait(0)
            self._mark = self._loop.time()
            if self.reader.has_head or self.failure is not None:
                self._is_cut = left > 0
                break
        self._is_uploading = False

    async def wait(self, size: int) -> None:
        """Wait for the head and `size` bytes of body to take, or the body's end, or a failure, whichever is first.

        One wait at a time. Not to be called when that is there already. Cancelled: the socket is closed.
        """
        self._wake_at = size
        self._waiter = waiter = self._loop.create_future()
        try:
            await waiter
        except BaseException:
            self._waiter = None
            self.abort()
            raise

    async def pour(self, sink: Sink) -> None:
        """Give `sink` each piece of body as it comes, until it has had enough, the body ends, or something fails.

        The sink runs in the turn of the loop in which the bytes came, so a chunk costs no task switch.
        """
        self._sink = sink
        try:
            await self.wait(0)
        finally:
            self._sink = None

    def drain(self) -> None:
        """Nobody wants the rest: let it come, for DRAIN_S at most, so that the connection can serve again."""
        if self.reader.is_complete or self.failure is not None:
            self.release()
            return
        self.reader.take()
        if self._is_paused:
            self._resume()
        self._is_draining = True
        self._total_at = self._loop.time() + DRAIN_S
        self._set_alarm()

    def take(self) -> bytes:
        """Return the body bytes that have come, and let more come."""
        data = self.reader.take()
        if self._is_paused:
            self._resume()
        return data

    def release(self) -> None:
        """The response is done with: serve again if everything is in order, else close at once."""
        reader = self.reader
        transport = self._transport
        if (
            transport is not None
            and reader.is_complete
            and reader.is_keep_alive
            and not reader.has_surplus
            and not self._is_cut
            and not self._is_paused
            and self.failure is None
            and not transport.is_closing()
            and not transport.get_write_buffer_size()
        ):
            self._is_busy = False
            self.has_served = True
            self._pool.put(self._origin_key, self, self._loop.time())
        else:
            self.abort()

    def abort(self) -> None:
        """Close the socket at once and give up the slot. Safe to call again."""
        self._is_busy = False
        self._leave()
        transport, self._transport = self._transport, None
        self.reader.let_go()
        if transport is not None:
            transport.abort()

    def stop(self) -> None:
        """Close the socket at once, and tell whoever waits for the response."""
        if self._is_busy:
            text = f"{self.label}: the connection was closed because the gateway stops"
            self._fail(UpstreamFault(text, is_ambiguous=True))
        else:
            self.abort()

    def _leave(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self._has_slot:
            self._has_slot = False
            self._pool.discard(self._origin_key, self)

    def _resume(self) -> None:
        self._is_paused = False
        self._mark = self._loop.time()  # the upstream was silent because we did not listen
        if self._transport is not None and self._is_busy:
            self._transport.resume_reading()
            self._set_alarm()

    # ── what the loop calls ──

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket stands."""
        # A cast, as uvloop's transports do not say that they are asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        if not self._has_slot or self._pool.is_closed:  # given up, or the transport closed, while it was being opened
            self._transport.abort()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  asyncio's signature
        """Where the next read goes."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes of the response. On an idle connection nobody asked for them: whatever they are, it serves no more."""
        reader = self.reader
        if not self._is_busy or reader.is_complete:
            reader.has_surplus = True
            if not self._is_busy:
                self.abort()
            return
        if fault := reader.feed(self._buffer[:nbytes]):
            self._fail(UpstreamFault(f"{self.label}: the response cannot be read: {fault}", is_ambiguous=True))
            return
        buffered = reader.buffered
        if buffered:
            self._mark = self._loop.time()
            if not reader.is_complete:
                if not self._body_started:
                    self._body_started = True
                    self._set_alarm()
                if self._waiter is None and not self._is_draining and not self._is_paused:
                    self._is_paused = True
                    assert self._transport is not None
                    self._transport.pause_reading()
        if self._sink is not None:
            if (buffered and not self._sink(reader.take())) or reader.is_complete:
                self._sink = None
                self._wake()
        elif self._is_draining:
            reader.take()
            if reader.is_complete:
                self._is_draining = False
                self.release()
        elif self._waiter is not None and reader.has_head and (buffered >= self._wake_at or reader.is_complete):
            self._wake()

    def eof_received(self) -> None:
        """The peer says that it is done; over TLS by close_notify (asyncio, unlike uvloop, also says so without one).

        Acted on at once: the loop would first wait until what we wrote has left.
        """
        if self._is_busy and self.reader.end():
            self._wake()
        self._ended(None)
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed, by whomever; that alone ends no body in good order (RFC 9112 §9.8)."""
        self._transport = None
        self._live.discard(self)
        self._ended(exc)
        self.reader.let_go()

    def _ended(self, exc: Exception | None) -> None:
        self._leave()
        if not self._is_busy:
            return
        self._is_busy = False
        reader = self.reader
        if reader.is_complete:
            return
        self._is_stale = self.has_served and not reader.is_touched and self._loop.time() - self._mark < RACE_S
        how = "reset" if exc is not None else "closed"
        when = "before the response was whole" if reader.has_head else "before it answered"
        self.failure = UpstreamFault(f"{self.label}: the connection was {how} {when}", is_ambiguous=True)
        self._wake()

    def pause_writing(self) -> None:
        """The peer takes the request more slowly than we write it."""
        self._is_write_paused = True

    def resume_writing(self) -> None:
        """What was written has left."""
        self._is_write_paused = False
        if self._is_uploading:
            self._wake()

    # ── wakes and deadlines ──

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _fail(self, failure: UpstreamError) -> None:
        self.failure = failure
        self.abort()
        self._wake()

    def _due(self) -> float:
        if self._is_paused or self.reader.is_complete:
            return self._total_at
        limits = self._timeouts
        due = self._mark + (limits.idle_s if self._body_started else limits.first_chunk_s)
        return min(self._total_at, due)

    def _set_alarm(self) -> None:
        """Make sure that the alarm rings no later than what is due now. Usually it is set already, for earlier."""
        due = self._due()
        if self._alarm is not None:
            if self._alarm_at <= due:
                return
            self._alarm.cancel()
        self._alarm_at = due
        self._alarm = self._loop.call_at(due, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        if not self._is_busy:
            return
        due = self._due()
        now = self._loop.time()
        if now < due:
            self._alarm_at = max(due, now + 0.001)  # uvloop counts in milliseconds and may ring a fraction early
            self._alarm = self._loop.call_at(self._alarm_at, self._ring)
            return
        limits = self._timeouts
        phase, what = "first_chunk", f"no answer within {limits.first_chunk_s:g} s"
        if due == self._total_at:
            phase, what = "total", f"not finished within {limits.total_s:g} s"
        elif self._body_started:
            phase, what = "idle", f"nothing more for {limits.idle_s:g} s"
        self._fail(UpstreamTimeout(f"{self.label}: {what}", phase=phase, is_ambiguous=True))

"""Sends upstream requests: the narrow interface that the engine knows, and the implementation on real sockets.

`HttpTransport` decides which connection a request takes and whether it is sent a second time. It is, exactly once, and on
a new connection, when an idle connection turns out to have been closed by its peer before a byte of a response came: the
race that every keep-alive client meets (RFC 9112 §9.3.1, RELIABILITY B3, T04). Everything else is an error for the
engine to judge, with `is_ambiguous` telling whether the work may have been done. Redirects are returned, not followed, so
a provider's key reaches no other origin than the one in its URL (R8).

The pieces: `http1` (bytes), `connection` (one socket, deadlines), `pool` (which socket), `dial` (new sockets).
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from turnout.core.catalog import Timeouts
from turnout.core.contracts import Headers, Outgoing
from turnout.errors import InternalError, UpstreamFault, UpstreamTimeout, UpstreamUnreachable
from turnout.gateway.connection import READ_BYTES, WHOLE_BYTES, Connection, Sink
from turnout.gateway.dial import Dialer
from turnout.gateway.http1 import HeadWriter, Origin, Target, decode_headers, parse_target
from turnout.gateway.pool import Pool

_KNOWN_TARGETS = 1024  # URLs come from config: one per model and account; a flood of them starts the cache anew


class Incoming(Protocol):
    """One upstream response, from its head on. Whoever got it calls `close`, whatever happens.

    headers: lower-case names; repeated values joined by ", ". is_reused: the connection had served before.
    Cancelling `read` or `chunk` closes the connection at once.
    """

    status: int
    is_reused: bool

    @property
    def headers(self) -> Headers:
        """The response's headers."""
        ...

    def mentions(self, word: bytes) -> bool:
        """Return whether `word`, in lower case, stands anywhere in the head. Cheaper than a look into `headers`."""
        ...

    def take(self) -> bytes:
        """Return the body bytes that are here already, b"" if none are (yet, or any more). Never waits, never raises."""
        ...

    async def chunk(self) -> bytes:
        """Return the next body bytes as soon as there are any: all that have come, joined; b"" at the body's proper end.

        Raises UpstreamFault (reset, cut) and UpstreamTimeout (first_chunk, idle, total), after what came before them.
        """
        ...

    async def forward(self, sink: Sink) -> None:
        """Give `sink` each piece of body as it comes, until it returns False or the body properly ends.

        Raises as `chunk` does. After a False it may be called again; what came meanwhile is given first.
        """
        ...

    async def read(self, limit: int, *, cut: bool = False) -> bytes:
        """Return the whole body. limit: bytes.

        Raises UpstreamFault when it is longer or ends too early, and UpstreamTimeout. cut: for the bodies of errors,
        which help but do not matter: return what came, at most `limit` bytes, and raise neither.
        """
        ...

    def finish(self) -> None:
        """Nobody wants the rest of the body: let it end by itself, shortly, so that the connection can serve again."""
        ...

    def close(self) -> None:
        """Give the connection back if the body has come whole, else close it at once. Safe to call again."""
        ...


class Transport(Protocol):
    """A way to upstreams."""

    async def send(self, outgoing: Outgoing) -> Incoming:
        """Send a request; return when the response's head is there.

        Raises UpstreamUnreachable, UpstreamTimeout, UpstreamFault; InternalError for a request that cannot be sent,
        Overloaded when the transport is closed. Cancelling it closes the connection at once.
        """
        ...

    async def close(self) -> None:
        """Close every connection, in use or not, and wait until they are."""
        ...


class HttpIncoming:
    """One response, from its head on. See `Incoming`."""

    __slots__ = ("_connection", "_has_ended", "_head", "_headers", "is_reused", "status")

    def __init__(self, connection: Connection) -> None:
        self._connection: Connection | None = connection
        self._has_ended = False
        self._head = connection.reader.head
        self._headers: Headers | None = None
        self.status: int = connection.reader.status
        self.is_reused: bool = connection.has_served

    @property
    def headers(self) -> Headers:
        """The response's headers, read from its bytes when first asked for."""
        headers = self._headers
        if headers is None:
            headers = self._headers = decode_headers(self._head)
        return headers

    def mentions(self, word: bytes) -> bool:
        """See `Incoming`."""
        return word in self._head.lower()

    def take(self) -> bytes:
        """Return the body bytes that are here, b"" if none are; at the body's end the connection is free again."""
        connection = self._connection
        if connection is None:
            return b""
        data = connection.take()
        if connection.reader.is_complete:
            self._has_ended = True
            self._connection = None
            connection.release()
        return data

    async def chunk(self) -> bytes:
        """Return the next body bytes as soon as there are any, b"" at the body's end."""
        data = self.take()
        if data:
            return data
        connection = self._open()
        if connection is None:
            return b""
        if connection.failure is None:
            await connection.wait(1)
            data = self.take()
            if data or self._has_ended:
                return data
        assert connection.failure is not None
        raise connection.failure

    async def forward(self, sink: Sink) -> None:
        """Give `sink` each piece of body in the turn of the loop in which it comes."""
        data = self.take()
        if data and not sink(data):
            return
        connection = self._open()
        if connection is None:
            return
        if connection.failure is None:
            await connection.pour(sink)
            if connection.reader.buffered:
                return  # it came in the same turn, after the sink had enough: next time it is given first
            self.take()  # the sink has had everything: this only sees the end
        if connection.failure is not None and not self._has_ended:
            raise connection.failure

    async def read(self, limit: int, *, cut: bool = False) -> bytes:
        """Return the whole body; nobody is woken before it is there, or as much as may be kept unread."""
        connection = self._open()
        if connection is None:
            return b""
        pieces: list[bytes] = []
        room = limit
        while True:
            data = self.take()
            pieces.append(data)
            room -= len(data)
            if room < 0:
                self.close()
                if not cut:
                    text = f"{connection.label}: the response is longer than {limit} bytes"
                    raise UpstreamFault(text, is_ambiguous=True)
            if self._connection is None:
                break
            if connection.failure is not None:
                if cut:
                    break
                raise connection.failure
            await connection.wait(min(WHOLE_BYTES, room + 1))
        return b"".join(pieces)[:limit]

    def finish(self) -> None:
        """Let what is left of the body come and go."""
        connection = self._connection
        if connection is not None:
            self._connection = None
            self._has_ended = True
            connection.drain()

    def close(self) -> None:
        """Give the connection back if the body was whole, else close its socket at once. Safe to call again."""
        connection = self._connection
        if connection is not None:
            self._connection = None
            self._has_ended = connection.reader.is_complete
            connection.release()

    def _open(self) -> Connection | None:
        if self._connection is None and not self._has_ended:
            raise InternalError("a response was read after it was closed")
        return self._connection


class HttpTransport:
    """HTTP/1.1 on sockets, with a pool of connections per origin (scheme, host, port, proxy, ca_file).

    loop: None for the running one at the first request. idle_keep_s: seconds that an idle connection is kept; under the
    60 s after which common servers and load balancers close theirs, so that the race above is rare.
    max_per_origin: connections at once; requests beyond it wait within their connect timeout.
    """

    __slots__ = ("_buffer", "_dialer", "_live", "_loop", "_pool", "_targets", "_writer")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop | None = None,
        *,
        max_idle_per_origin: int = 64,
        idle_keep_s: float = 30.0,
        max_per_origin: int = 1000,
    ) -> None:
        self._loop = loop
        self._pool: Pool[Connection] = Pool(
            max_idle_per_origin=max_idle_per_origin, idle_keep_s=idle_keep_s, max_per_origin=max_per_origin
        )
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._dialer = Dialer()
        self._live: set[Connection] = set()
        self._targets: dict[tuple[str, str, str], Target] = {}
        self._writer = HeadWriter()

    def __repr__(self) -> str:
        return f"<HttpTransport {self._pool!r}, {len(self._live)} sockets>"

    async def send(self, outgoing: Outgoing) -> Incoming:
        """Send a request; return when the response's head is there. See `Transport.send`."""
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        target = self._targets.get((outgoing.url, outgoing.proxy_url, outgoing.ca_file)) or self._target(outgoing)
        origin = target.origin
        body = outgoing.body
        timeouts = outgoing.timeouts
        head = self._writer.encode(outgoing.method, target, outgoing.headers, len(body))
        started = loop.time()
        connection = self._pool.take(origin.key, started)
        if connection is None:
            connection = await self._connect(loop, origin, timeouts, started)
            if outgoing.on_late is not None:
                outgoing.on_late()
        if not await connection.send(head, body, timeouts, started):
            connection = await self._connect(loop, origin, timeouts, started, is_fresh=True)
            await connection.send(head, body, timeouts, started)  # raises where the first returned False
        return HttpIncoming(connection)

    def _target(self, outgoing: Outgoing) -> Target:
        target = parse_target(outgoing.url, outgoing.proxy_url, outgoing.ca_file)
        if len(self._targets) >= _KNOWN_TARGETS:
            self._targets.clear()
        self._targets[outgoing.url, outgoing.proxy_url, outgoing.ca_file] = target
        return target

    async def _connect(
        self,
        loop: asyncio.AbstractEventLoop,
        origin: Origin,
        timeouts: Timeouts,
        started: float,
        *,
        is_fresh: bool = False,
    ) -> Connection:
        """Wait for a slot and open a connection, or get one that just became free, unless it must be a fresh one."""
        now = loop.time()
        connect_at, total_at = now + timeouts.connect_s, started + timeouts.total_s
        try:
            async with asyncio.timeout_at(min(connect_at, total_at)):
                while True:
                    connection = await self._pool.reserve(origin.key, now)
                    if connection is None:
                        return await self._open(loop, origin)
                    if connection.is_usable and not is_fresh:
                        return connection
                    connection.abort()
        except TimeoutError as error:
            if total_at < connect_at:
                text = f"{origin.label}: no connection within what was left of {timeouts.total_s:g} s"
                raise UpstreamTimeout(text, phase="total", is_ambiguous=False) from error
            text = f"{origin.label}: no connection within {timeouts.connect_s:g} s"
            raise UpstreamTimeout(text, phase="connect", is_ambiguous=False) from error

    async def _open(self, loop: asyncio.AbstractEventLoop, origin: Origin) -> Connection:
        connection = Connection(origin, self._pool, self._live, loop, self._buffer)
        try:
            await self._dialer.dial(origin, connection)
        except BaseException:
            connection.abort()
            raise
        if not connection.is_usable:
            connection.abort()
            raise UpstreamUnreachable(f"{origin.label}: the connection was closed as soon as it stood")
        # Not sooner: uvloop does not report the end of a connection whose opening was cancelled.
        self._live.add(connection)
        return connection

    async def close(self) -> None:
        """Close every connection, in use or not, and wait until they are. Requests from now on are refused."""
        self._pool.close()
        for connection in tuple(self._live):
            connection.stop()
        while self._live:  # noqa: ASYNC110  an aborted socket is reported in one of the next turns of the loop
            await asyncio.sleep(0)

"""A closed-loop load client: raw HTTP/1.1 on keep-alive connections, each sending its next request when a reply is whole.

It reads just enough of a reply to know where it ends (Content-Length, or the last chunk of a chunked body), so that the
client's own cost stays small and equal for every gateway. For streams it keeps the time of each arrival: one call of
`data_received` that brought body bytes. A gateway that collects chunks before it sends them shows as fewer arrivals.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import cast

import uvloop

HEADER_END = b"\r\n\r\n"
LAST_CHUNK = b"\r\n0\r\n\r\n"
# A reply that takes longer than this after the end of the run is given up and counted as an error.
DRAIN_S = 10.0
FEW_ERRORS = 20


@dataclass(frozen=True, slots=True)
class Request:
    """What to send, again and again, and where to. opening: what a new connection sends first, uncounted."""

    port: int
    opening: bytes
    wire: bytes
    is_stream: bool = False


def chat_wire(port: int, body: bytes, headers: Sequence[tuple[str, str]]) -> bytes:
    """The bytes of a POST of `body` to the chat route of the gateway on `port`."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n{lines}"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie; 0 for none. Sorts: O(n log n)."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclass(slots=True)
class Seen:
    """What came back in one run. Times in seconds. openings: replies that were not counted."""

    replies: int = 0
    openings: int = 0
    errors: int = 0
    reconnects: int = 0
    elapsed_s: float = 0.0
    first_error: str = ""
    latencies: list[float] = field(default_factory=list)
    first_chunks: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    events: int = 0
    arrivals: int = 0


class ReplyReader(asyncio.Protocol):
    """Reads the replies on one connection, just far enough to know where each ends. A subclass says what is noted."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.is_closing = False
        self.expect()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport to write on."""
        self.transport = cast("asyncio.Transport", transport)

    def expect(self) -> None:
        """A reply is to come: forget the last one."""
        self.head = b""
        self.body: list[bytes] = []
        self.status = 0
        self.left = -1  # bytes of body still to come; -1: chunked, so look for the last chunk
        self.is_head_read = False

    def data_received(self, data: bytes) -> None:
        """Read on until the reply is whole."""
        if not self.is_head_read:
            head = self.head + data if self.head else data
            end = head.find(HEADER_END)
            if end < 0:
                self.head = head
                return
            self.read_head(head[:end].lower())
            data = head[end + 4 :]
        if data:
            self.body.append(data)
            self.arrival(data)
        if self.left >= 0:
            self.left -= len(data)
            is_whole = self.left <= 0
        else:
            tail = data if len(data) >= len(LAST_CHUNK) else b"".join(self.body[-8:])
            is_whole = tail.endswith(LAST_CHUNK)
        if is_whole:
            self.finish()

    def read_head(self, head: bytes) -> None:
        """Take status and framing from the head (in lower case)."""
        self.is_head_read = True
        self.status = int(head[9:12])
        self.is_closing = b"\r\nconnection: close" in head
        at = head.find(b"\r\ncontent-length:")
        self.left = int(head[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else -1

    def arrival(self, data: bytes) -> None:
        """Body bytes have come; they are at the end of `body`."""
        raise NotImplementedError

    def finish(self) -> None:
        """The reply is whole."""
        raise NotImplementedError


class Connection(ReplyReader):
    """One keep-alive connection. `repeat` sends a request again and again until its time is up."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.loop = loop
        self.seen = Seen()
        self.wire = b""
        self.is_stream = False
        self.until = 0.0
        self.done: asyncio.Future[None] | None = None
        self.started = 0.0
        self.arrived = 0.0

    def connection_lost(self, exc: Exception | None) -> None:
        """A close in the middle of a reply is an error; between replies it is the end of this connection."""
        self.is_closing = True
        if self.done is not None and not self.done.done():
            self.fail(f"connection closed before the reply was whole ({exc})")
            self.done.set_result(None)

    async def repeat(self, wire: bytes, until: float, seen: Seen, *, is_stream: bool) -> None:
        """Send `wire`, and again with each whole reply until `until`; at least once. Ends early if the gateway closes."""
        self.wire, self.until, self.seen, self.is_stream = wire, until, seen, is_stream
        self.done = self.loop.create_future()
        self.send()
        await self.done

    def send(self) -> None:
        """Begin one exchange."""
        assert self.transport is not None
        self.expect()
        self.arrived = 0.0
        self.started = perf_counter()
        self.transport.write(self.wire)

    def arrival(self, data: bytes) -> None:
        """Keep the time of one arrival of body bytes of a stream."""
        del data
        if not self.is_stream:
            return
        now = perf_counter()
        if self.arrived:
            self.seen.gaps.append(now - self.arrived)
        else:
            self.seen.first_chunks.append(now - self.started)
        self.arrived = now
        self.seen.arrivals += 1

    def finish(self) -> None:
        """Count the reply; send again, or stop."""
        now = perf_counter()
        seen = self.seen
        if self.status == 200:
            seen.replies += 1
            seen.latencies.append(now - self.started)
            if self.is_stream:
                seen.events += b"".join(self.body).count(b"data: ")
        else:
            self.fail(f"status {self.status}: {b''.join(self.body)[:300].decode(errors='replace')}")
        if now < self.until and not self.is_closing:
            self.send()
        elif self.done is not None:
            self.done.set_result(None)

    def fail(self, why: str) -> None:
        """Count an error; keep the first one's words."""
        self.seen.errors += 1
        self.seen.first_error = self.seen.first_error or why


class Gate:
    """Holds all connections back until each has had its first reply, so that opening them is not part of the figures."""

    def __init__(self, places: int, on_open: Callable[[], None], run_s: float) -> None:
        self.missing = places
        self.on_open = on_open
        self.run_s = run_s
        self.opened_at = 0.0
        self.is_open = asyncio.Event()

    async def pass_through(self) -> None:
        """Wait for the others; the last one opens."""
        self.missing -= 1
        if self.missing == 0:
            self.on_open()
            self.opened_at = perf_counter()
            self.is_open.set()
        await self.is_open.wait()

    @property
    def until(self) -> float:
        """When the run ends."""
        return self.opened_at + self.run_s


async def connect(request: Request, seen: Seen) -> Connection:
    """Open a connection and let it have its first, uncounted reply."""
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(partial(Connection, loop), "127.0.0.1", request.port)
    opening = Seen()
    await connection.repeat(request.opening, 0.0, opening, is_stream=False)
    seen.openings += opening.replies
    seen.errors += opening.errors
    seen.first_error = seen.first_error or opening.first_error
    return connection


async def keep_sending(request: Request, seen: Seen, gate: Gate, wait_s: float) -> None:
    """One place in the closed loop: `wait_s` after the gate, a connection, and a new one when the gateway closes it."""
    connection = await connect(request, seen)
    try:
        await gate.pass_through()
        await asyncio.sleep(wait_s)
        while True:
            if connection.is_closing:
                seen.reconnects += 1
                connection = await connect(request, seen)
            await connection.repeat(request.wire, gate.until, seen, is_stream=request.is_stream)
            if perf_counter() >= gate.until or seen.errors > FEW_ERRORS:
                return
    finally:
        if connection.transport is not None:
            connection.transport.abort()


async def send_for(
    request: Request, connections: int, run_s: float, spread_s: float, on_open: Callable[[], None]
) -> Seen:
    """Keep `connections` busy for `run_s` seconds, their starts spread over `spread_s`; then let the last replies come in."""
    seen = Seen()
    gate = Gate(connections, on_open, run_s)
    waits = [spread_s * place / connections for place in range(connections)]
    places = [asyncio.ensure_future(keep_sending(request, seen, gate, wait_s)) for wait_s in waits]
    done, late = await asyncio.wait(places, timeout=run_s + DRAIN_S)
    seen.elapsed_s = perf_counter() - gate.opened_at
    for place in late:
        place.cancel()
        seen.errors += 1
        seen.first_error = seen.first_error or f"no reply within {DRAIN_S:.0f} s"
    await asyncio.gather(*late, return_exceptions=True)
    for place in done:
        error = place.exception()
        if error is not None:
            seen.errors += 1
            seen.first_error = seen.first_error or repr(error)
    return seen


def run_load(request: Request, connections: int, run_s: float, spread_s: float, on_open: Callable[[], None]) -> Seen:
    """One run on an event loop of its own. Blocks for `run_s` seconds and what the first and last replies take.

    on_open: called once, when every connection stands and has had a reply, and nothing is under way.
    """
    return uvloop.run(send_for(request, connections, run_s, spread_s, on_open))

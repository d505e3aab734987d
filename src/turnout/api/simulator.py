"""Serves the simulated world on a socket: plays its scripts on raw asyncio, so that it can stall, cut, malform and reset.

A test double and a drill ground for loopback, not a server for strangers: it bounds bodies (64 MiB) and nothing else.
It tells the witness the instant at which a client left (RELIABILITY T39). `GET /witness` gives the witness's book
(`?find=TEXT` looks for a canary), `PUT /faults` sets the faults to come.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from http import HTTPStatus
from pathlib import Path
from struct import pack
from types import TracebackType
from typing import Self, cast

import httptools
import msgspec

from turnout.core.simulation.script import (
    CHUNKED,
    UNTIL_CLOSE,
    Action,
    Body,
    Close,
    End,
    Head,
    Interim,
    Raw,
    Repeat,
    Reset,
    ResetNext,
    Script,
    Stall,
)
from turnout.core.simulation.witness import Dispatch, Outcome
from turnout.core.simulation.world import World
from turnout.gateway.clock import Clock, SystemClock
from turnout.gateway.tasks import Tasks

MOST_BODY_BYTES = 64 * 1024 * 1024
FLUSH_BYTES = 64 * 1024
"""Writes that follow each other at once go out together up to this size. The kernel takes no more than that ahead of what
it can send, so that what the witness calls sent is not megabytes that never left.
"""

_TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_BAD = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class WitnessLog:
    """Writes the witness's records to a file, one JSON object a line, each on disk before the next step (fsync)."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)

    def __call__(self, record: dict[str, object]) -> None:
        """Append one record. Blocks until it is on disk: the witness outlives whatever it watches."""
        self._file.write(msgspec.json.encode(record) + b"\n")
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class _Request(msgspec.Struct):
    """One request as it arrives."""

    path: str
    headers: list[tuple[str, str]] = []
    pieces: list[bytes] = []
    size: int = 0
    method: str = ""
    is_kept: bool = True


class _Connection(asyncio.Protocol):
    """One client: requests in the order they came, each answered by the script that the world gave."""

    def __init__(self, server: SimulatorServer) -> None:
        self._server = server
        self._world = server.world
        self._clock = server.clock
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._number = 0
        self._request = _Request("")
        self._waiting: deque[_Request] = deque()
        self._task: asyncio.Task[None] | None = None
        self._dispatch: Dispatch | None = None
        self._length = 0
        self._unsent = bytearray()
        self._can_write = asyncio.Event()
        self._can_write.set()
        self._resets_next = False
        self.is_lost = asyncio.Event()

    # ── what the loop calls ──

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has come."""
        # A cast, as uvloop's transports do not say that they are asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=0)
        self._server.connections.add(self)
        if not self._world.accepts():
            self._reset()
        self._number = self._world.witness.connections

    def data_received(self, data: bytes) -> None:
        """Bytes of a request."""
        if self._resets_next:
            self._reset()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._refuse(_BAD)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  the protocol's signature
        """The client has left, or we have closed: an answer that was under way ends now."""
        self._end("client-closed")
        self._transport = None
        self.is_lost.set()
        self._server.connections.discard(self)
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        """The client takes less than we send."""
        self._can_write.clear()

    def resume_writing(self) -> None:
        """Everything sent has left."""
        self._can_write.set()

    # ── what the parser calls ──

    def on_url(self, url: bytes) -> None:
        """The request line, or a part of it."""
        self._request.path += url.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._request.headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        """The head is whole."""
        if ("expect", "100-continue") in self._request.headers:
            self._wire.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, data: bytes) -> None:
        """A part of the body."""
        self._request.pieces.append(data)
        self._request.size += len(data)
        if self._request.size > MOST_BODY_BYTES:
            self._refuse(_TOO_LARGE)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._request.method = self._parser.get_method().decode("ascii")
        self._request.is_kept = self._parser.should_keep_alive()
        self._waiting.append(self._request)
        self._request = _Request("")
        if self._task is None:
            self._task = self._server.tasks.start(self._serve(), f"simulated connection {self._number}")

    # ── answers ──

    @property
    def _wire(self) -> asyncio.Transport:
        assert self._transport is not None
        return self._transport

    @property
    def _is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    async def _serve(self) -> None:
        try:
            await self._answer_all()
        except BaseException:
            self.stop()
            raise
        self._task = None

    async def _answer_all(self) -> None:
        while self._waiting and self._is_open:
            if self._resets_next:
                self._reset()
                return
            request = self._waiting.popleft()
            script = self._world.receive(
                request.method,
                request.path,
                request.headers,
                b"".join(request.pieces),
                now=self._clock.now(),
                wall=self._clock.wall(),
                connection=self._number,
            )
            self._dispatch = script.dispatch
            await self._play(script, is_kept=request.is_kept)

    async def _play(self, script: Script, *, is_kept: bool) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        for step in script.steps:
            if step.delay_s > 0:
                await self._flush()
                due += step.delay_s
                await asyncio.sleep(max(0.0, due - loop.time()))
            await self._act(step.action, is_kept=is_kept)

    async def _act(self, action: Action, *, is_kept: bool) -> None:
        if isinstance(action, Body):
            await self._send(action)
        elif isinstance(action, Head):
            self._length = action.length
            self._unsent += _head(action, is_kept=is_kept)
        elif isinstance(action, End):
            if self._length == CHUNKED:
                self._unsent += b"0\r\n\r\n"
            await self._flush()
            self._end("complete" if action.is_whole else "cut")
            if not is_kept or self._length == UNTIL_CLOSE:
                self._close()
        elif isinstance(action, Interim):
            self._unsent += b"HTTP/1.1 %d Early Hints\r\nlink: </x>\r\n\r\n" % action.status * action.times
        elif isinstance(action, Repeat):
            times = 0
            while action.times is None or times < action.times:
                times += 1
                await self._send(Body(action.data, is_apart=True))
        elif isinstance(action, Raw):
            self._unsent += action.data
        elif isinstance(action, ResetNext):
            self._resets_next = True
        else:
            await self._stop(action)

    async def _send(self, body: Body) -> None:
        data = body.data
        self._unsent += b"%x\r\n%b\r\n" % (len(data), data) if self._length == CHUNKED else data
        if self._dispatch is not None:
            now, witness = self._clock.now(), self._world.witness
            witness.sent(self._dispatch, len(data), now, tokens=body.tokens, is_usage=body.is_usage)
        if body.is_apart:
            await self._flush()
            await asyncio.sleep(0)
        elif len(self._unsent) > FLUSH_BYTES:
            await self._flush()

    async def _stop(self, action: Close | Reset | Stall) -> None:
        await self._flush()
        if isinstance(action, Stall):
            await asyncio.Event().wait()  # until the client leaves: that cancels this task
        elif isinstance(action, Close):
            self._end("cut")
            self._close()
        else:
            self._end("reset")
            self._reset()

    async def _flush(self) -> None:
        """Write what waits, and wait until the client's socket has taken it."""
        if self._unsent:
            self._wire.write(bytes(self._unsent))
            self._unsent.clear()
        await self._can_write.wait()

    def _end(self, outcome: Outcome) -> None:
        if self._dispatch is not None:
            self._world.ended(self._dispatch, outcome, self._clock.now())
            self._dispatch = None

    def _refuse(self, answer: bytes) -> None:
        if self._is_open:
            self._wire.write(answer)
            self._close()

    def _close(self) -> None:
        self._wire.close()

    def _reset(self) -> None:
        """Close with RST: lingering for no time throws away what was not sent (socket(7), SO_LINGER)."""
        self._wire.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, pack("ii", 1, 0))
        self._wire.abort()

    def stop(self) -> None:
        """End now; an answer that was under way is cut by us."""
        self._end("reset")
        if self._transport is not None:
            self._transport.abort()


class SimulatorServer:
    """The world on an address: `async with SimulatorServer(world) as server: … server.base_url`. port 0: a free one."""

    def __init__(self, world: World, host: str = "127.0.0.1", port: int = 0, *, clock: Clock | None = None) -> None:
        self.world = world
        self.clock = clock or SystemClock()
        self.host = host
        self.port = port
        self.tasks = Tasks()
        self.connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"

    @property
    def base_url(self) -> str:
        """What an OpenAI SDK calls its base URL."""
        return f"{self.origin}/v1"

    async def start(self) -> None:
        """Listen. Raises OSError if the address is taken."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), self.host, self.port, backlog=2048)
        listener = self._server.sockets[0]
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):  # what is accepted inherits it
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, FLUSH_BYTES)
        self.port = listener.getsockname()[1]

    async def stop(self) -> None:
        """Close the listener and every connection, and wait until all is over. Safe to call twice."""
        if self._server is None:
            return
        self._server.close()
        for connection in tuple(self.connections):
            connection.stop()
            await connection.is_lost.wait()
        await self.tasks.stop()
        await self._server.wait_closed()
        self._server = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


def _head(head: Head, *, is_kept: bool) -> bytes:
    lines = [f"HTTP/1.1 {head.status} {_phrase(head.status)}", *(f"{name}: {value}" for name, value in head.headers)]
    if head.length >= 0:
        lines.append(f"content-length: {head.length}")
    elif head.length == CHUNKED:
        lines.append("transfer-encoding: chunked")
    if not is_kept and head.length != UNTIL_CLOSE:
        lines.append("connection: close")
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Simulated"

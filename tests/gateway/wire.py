"""A server on a real socket whose every byte the test scripts, and what tests of the outgoing edge say again and again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext

import trustme

from turnout.core.catalog import Timeouts
from turnout.core.contracts import Outgoing
from turnout.gateway.transport import HttpTransport

OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


class Peer:
    """One accepted connection, from the server's side. number: 1 for the first accepted."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self.reader = reader
        self.writer = writer

    async def request(self) -> bytes:
        """Read one whole request. Raises IncompleteReadError or ConnectionError when the client leaves."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        _, _, rest = head.partition(b"content-length: ")
        size = int(rest.split(b"\r\n")[0]) if rest else 0
        return head + await self.reader.readexactly(size)

    async def answer(self, *pieces: bytes) -> None:
        """Send pieces, which may travel together. Raises ConnectionResetError when the client has left."""
        for piece in pieces:
            if self.writer.transport.is_closing():
                raise ConnectionResetError
            self.writer.write(piece)
            await self.writer.drain()

    def finish(self) -> None:
        """FIN."""
        self.writer.close()

    def reset(self) -> None:
        """RST, even with nothing unread."""
        # On a copy, as uvloop does not let its own be set; the option belongs to the socket, not to the copy.
        with socket.socket(fileno=os.dup(self.writer.get_extra_info("socket").fileno())) as copy:
            copy.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def gone(self) -> None:
        """Wait until the client has closed this connection."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(65536):
                pass


Script = Callable[[Peer], Awaitable[None]]


class Server:
    """What is listening. requests: each that `serve_all` or a script noted. closed: connections that have ended."""

    def __init__(self) -> None:
        self.port = 0
        self.accepted = 0
        self.closed = 0
        self.requests: list[bytes] = []
        self.errors: list[BaseException] = []
        self.all_closed = asyncio.Event()
        self.all_closed.set()

    @property
    def url(self) -> str:
        """Of a resource on it."""
        return f"http://127.0.0.1:{self.port}/v1/chat"


@contextlib.asynccontextmanager
async def serving(script: Script, *, ssl: object = None) -> AsyncIterator[Server]:
    """Run `script` for each connection; when it returns the connection is read until the client leaves.

    What a script raises fails the test, except that a client left.
    """
    server = Server()
    running: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        server.accepted += 1
        server.all_closed.clear()
        peer = Peer(server.accepted, reader, writer)
        try:
            await script(peer)
            await peer.gone()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except asyncio.CancelledError:
            pass  # the test is over; swallowed, as streams log a cancelled callback
        except Exception as error:  # noqa: BLE001  shown by the test that this belongs to
            server.errors.append(error)
        finally:
            running.discard(task)
            server.closed += 1
            if server.closed == server.accepted:
                server.all_closed.set()
            writer.transport.abort()

    listener = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=ssl)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for task in tuple(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await asyncio.sleep(0)
    assert server.errors == []


def always(reply: bytes, server_requests: list[bytes] | None = None) -> Script:
    """Answer every request on every connection with `reply`."""

    async def script(peer: Peer) -> None:
        while True:
            request = await peer.request()
            if server_requests is not None:
                server_requests.append(request)
            await peer.answer(reply)

    return script


def once(*pieces: bytes) -> Script:
    """Answer the first request with `pieces`, then close."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.answer(*pieces)
        peer.finish()

    return script


@contextlib.asynccontextmanager
async def http(**limits: float) -> AsyncIterator[HttpTransport]:
    """A transport that is closed when the test is over."""
    transport = HttpTransport(None, **limits)
    try:
        yield transport
    finally:
        await transport.close()


def post(url: str, body: bytes = b"{}", **fields: object) -> Outgoing:
    """A request. fields: of Outgoing; first_chunk_s and the like go into its timeouts."""
    timeouts = Timeouts(**{name: fields.pop(name) for name in tuple(fields) if name.endswith("_s")})
    fields.setdefault("headers", (("authorization", "Bearer sk-canary"),))
    return Outgoing(url=url, body=body, timeouts=timeouts, **fields)


async def body_of(transport: HttpTransport, outgoing: Outgoing, limit: int = 1000) -> bytes:
    """Send, and read the whole response."""
    incoming = await transport.send(outgoing)
    try:
        return await incoming.read(limit)
    finally:
        incoming.close()


def secured(tmp_path: Path) -> tuple[SSLContext, str]:
    """A server's TLS context for 127.0.0.1, and the file of the CA that vouches for it."""
    ca = trustme.CA()
    context = SSLContext(PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return context, str(tmp_path / "ca.pem")

"""Sees what the HTTP edge makes of bytes, and what h11, a strict parser of another make, makes of the same.

async with Edge(bounds) as edge:
    answer = await edge.tell(data)     # what came back until the connection ended
    edge.seen                          # the requests that the application was given
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections import Counter
from contextlib import suppress
from typing import NamedTuple, Self

import h11
import uvicorn

from turnout.api.ending import State
from turnout.api.server import bounded
from turnout.core.catalog import Bounds
from turnout.errors import GatewayError

PATIENCE_S = 20.0
"""For a connection to end, on a very busy machine."""


class Request(NamedTuple):
    """One request as a parser saw it. headers: names in lower case, values without white space around them."""

    method: str
    path: str
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


class Reading(NamedTuple):
    """What a parser made of a connection. is_refused: it found the bytes wrong. begun: the path of a request whose body is
    not here whole.
    """

    requests: list[Request]
    is_refused: bool
    begun: str = ""


def trimmed(headers) -> tuple[tuple[bytes, bytes], ...]:
    """Headers as they are compared. Codings have no case, and h11 says so in its result."""
    plain = ((bytes(name).lower(), bytes(value).strip(b" \t")) for name, value in headers)
    return tuple((name, value.lower() if name == b"transfer-encoding" else value) for name, value in plain)


def path_of(target: bytes) -> str:
    """The path of a target in origin form or absolute form."""
    if not target.startswith(b"/"):
        target = re.sub(rb"^[a-zA-Z][a-zA-Z0-9+.-]*://[^/?#]*", b"", target)
    return re.split(rb"[?#]", target)[0].decode("latin-1") or "/"


def tolerated(data: bytes) -> bytes:
    """Leave out what RFC 9112 lets a server overlook and h11 does not: empty lines before a request (§2.2), and more than
    one space between the words of its first line (§3).
    """
    line, end, rest = data.lstrip(b"\r\n").partition(b"\r\n")
    return re.sub(rb"(?<=[^ ]) +(?=[^ ])", b" ", line) + end + rest


def h11_reads(data: bytes) -> Reading:
    """What h11 makes of these bytes, as a server that answers 404 to everything."""
    requests: list[Request] = []
    head: h11.Request | None = None
    body = b""
    try:
        while data:
            connection = h11.Connection(h11.SERVER)
            connection.receive_data(tolerated(data))
            while not isinstance(event := connection.next_event(), h11.EndOfMessage):
                if isinstance(event, h11.Request):
                    head, body = event, b""
                elif isinstance(event, h11.Data):
                    body += event.data
                else:  # NEED_DATA, PAUSED
                    return Reading(requests, False, path_of(head.target) if head else "")
            assert head is not None
            requests.append(Request(head.method.decode(), path_of(head.target), trimmed(head.headers), body))
            head = None
            connection.send(h11.Response(status_code=404, headers=[("content-length", "0")]))
            connection.send(h11.EndOfMessage())
            if connection.our_state is h11.MUST_CLOSE:
                break
            data = connection.trailing_data[0]
    except h11.RemoteProtocolError:
        return Reading(requests, True, path_of(head.target) if head else "")
    return Reading(requests, False)


class Edge:
    """The gateway's own HTTP edge on a free port, before an application that notes each request and answers its path."""

    def __init__(self, bounds: Bounds, keep_alive_s: float) -> None:
        self.seen: dict[tuple[str, int] | None, list[Request]] = {}
        self._bounds = bounds
        self._keep_alive_s = keep_alive_s

    async def _app(self, scope, _receive, _send) -> None:
        exchange = scope["extensions"]["turnout"]
        try:
            body = await exchange.read()
        except GatewayError as error:
            exchange.answer(error.status, [], b"")
            return
        request = Request(scope["method"], scope["path"], trimmed(scope["headers"]), body)
        self.seen.setdefault(scope["client"], []).append(request)
        exchange.answer(200, [(b"x-path", scope["raw_path"]), (b"x-body", b"%d" % len(body))], b"")

    async def __aenter__(self) -> Self:
        config = uvicorn.Config(
            self._app,
            http=bounded(self._bounds),
            lifespan="off",
            interface="asgi3",
            proxy_headers=False,
            ws="none",
            log_config=None,
            timeout_keep_alive=self._keep_alive_s,
        )
        config.load()
        self._server = uvicorn.Server(config)
        self._server.server_state = State()
        self._server.lifespan = config.lifespan_class(config)
        listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        listener.setblocking(False)
        await self._server.startup(sockets=[listener])
        self.port = listener.getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.should_exit = True
        await self._server.shutdown()

    def paths(self) -> Counter[str]:
        """How often the application was given each path."""
        return Counter(request.path for requests in self.seen.values() for request in requests)

    async def tell(self, data: bytes) -> tuple[bytes, list[Request]]:
        """Send these bytes by a connection of their own; return the answer and what the application was given of them."""
        answer, name = await tell(self.port, data)
        return answer, self.seen.pop(name, [])


async def tell(port: int, data: bytes) -> tuple[bytes, tuple[str, int]]:
    """Send these bytes by a connection of their own, and read until it ends. Returns the answer and our address."""
    async with asyncio.timeout(PATIENCE_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        name = writer.get_extra_info("sockname")
        answer = b""
        with suppress(ConnectionError):  # what came before a reset counts
            writer.write(data)
            await writer.drain()
            while piece := await reader.read(65536):
                answer += piece
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
    return answer, name


def statuses(answer: bytes) -> list[int]:
    """The statuses of the answers in these bytes, in order; bodies here hold no status line."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d\d\d) ", answer)]

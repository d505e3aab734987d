"""One client request and its answer on the socket: the direct way to the client that the data plane takes.

Implements gateway.downstream.Downstream. Writing never waits; a client that takes nothing for long has left (SEND_S).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from turnout.api.heads import body_too_large
from turnout.core.pieces import LARGE_BYTES
from turnout.errors import ClientDisconnected

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from turnout.core.pieces import Body
    from turnout.gateway.downstream import Head

SEND_S = 60.0
"""How long a client may take nothing of an answer that waits for it, unless it is told otherwise (`server.send_timeout`)."""


class Exchange(RequestResponseCycle):
    """One request and its answer; implements gateway.downstream.Downstream.

    task: what works at the answer. headers: names in lower case; the last of those that came twice.
    on_gone: called once if the client leaves before the answer is complete.
    """

    task: asyncio.Task[None]
    headers: Mapping[bytes, bytes]
    on_gone: Callable[[], object] | None = None
    body_limit: int = 0
    is_discarding: bool = False
    send_s: float = SEND_S

    @property
    def is_started(self) -> bool:
        """Whether any byte of an answer was written."""
        return self.response_started

    @property
    def is_paused(self) -> bool:
        """Whether the client is slower than we are."""
        return bool(self.flow.write_paused)

    async def read(self) -> Body:
        """Return the whole request body; a large one is the buffer that it came into (a copy is as much memory again). Raises RequestTooLarge, ClientDisconnected."""
        while self.more_body and not self.disconnected and len(self.body) <= self.body_limit:
            if self.waiting_for_100_continue:
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                self.waiting_for_100_continue = False
            self.flow.resume_reading()
            await self.message_event.wait()
            self.message_event.clear()
        if self.disconnected:
            raise ClientDisconnected("the client left while sending its request")
        if len(self.body) > self.body_limit:
            self.keep_alive = False  # the rest of the body is not read (B4): this connection ends with the answer
            raise body_too_large(self.body_limit)
        body, self.body = self.body, bytearray()
        return body if len(body) > LARGE_BYTES else bytes(body)

    def discard_body(self) -> None:
        """Take what is left of the body without keeping it, so that the connection outlives an answer that comes early.

        A client that waits for 100 Continue may not send it at all: then the connection ends as it would without this.
        """
        self.is_discarding = not self.waiting_for_100_continue

    def _head(self, status: int, headers: Head, framing: bytes) -> bytes:
        """Render a head. Every value is ours, or a name that gateway/exchange.py has made safe to print."""
        self.response_started = True
        self.waiting_for_100_continue = False
        if self.more_body and not self.is_discarding:
            self.keep_alive = False  # answering before the request was read whole: what follows cannot be told apart
        parts = [STATUS_LINE[status]]
        for name, value in self.default_headers:
            parts += (name, b": ", value, b"\r\n")
        for name, value in headers:
            parts += (name, b": ", value, b"\r\n")
        parts.append(framing)
        parts.append(b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n")
        return b"".join(parts)

    def answer(self, status: int, headers: Head, body: bytes) -> None:
        """Send a whole answer in one write."""
        if self.disconnected:
            return
        head = self._head(status, headers, b"content-length: %d\r\n" % len(body))
        self.transport.write(head if self.scope["method"] == "HEAD" else head + body)
        self._completed()

    def start(self, status: int, headers: Head) -> None:
        """Send the head of a chunked answer; HTTP/1.0 knows no chunks: there the end of the connection ends it."""
        if not self.disconnected:
            self.chunked_encoding = self.scope["http_version"] != "1.0"
            framing = b"transfer-encoding: chunked\r\n" if self.chunked_encoding else b""
            self.transport.write(self._head(status, headers, framing))

    def write(self, data: bytes) -> None:
        """Send one chunk."""
        if not self.disconnected:
            self.transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self.chunked_encoding else data)

    async def drain(self) -> None:
        """Wait until the socket's buffer is low again. Raises ClientDisconnected if the client takes nothing for long."""
        unsent = self.transport.get_write_buffer_size()
        while True:
            try:
                async with asyncio.timeout(self.send_s):
                    await self.flow.drain()
            except TimeoutError:
                before, unsent = unsent, self.transport.get_write_buffer_size()
                if unsent >= before:
                    raise ClientDisconnected(f"the client took nothing for {self.send_s:g} s") from None
            else:
                return

    def finish(self) -> None:
        """Send the last chunk."""
        if not self.disconnected:
            if self.chunked_encoding:
                self.transport.write(b"0\r\n\r\n")
            self._completed()

    def cut(self) -> None:
        """Close after what was written, without the last chunk; at once if the client takes nothing."""
        self.keep_alive = False
        if self.flow.write_paused:
            self.transport.abort()
        self._completed()

    def _let_go(self) -> None:
        """Forget the request: its connection may stay idle, with us, for long. And the scope holds us as we hold it: without
        that cycle, reference counting frees both at once.
        """
        self.scope.clear()  # type: ignore[attr-defined]  # a dict, whatever uvicorn's types say
        self.headers = {}
        if self.body:
            self.body = bytearray()

    def _completed(self) -> None:
        self._let_go()
        self.response_complete = True
        self.message_event.set()
        self.on_response()  # which closes, unless keep_alive

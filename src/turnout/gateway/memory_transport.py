"""Answers upstream requests from a script, without sockets: the transport for tests of whatever stands above it.

It keeps the promises of `transport.Incoming` that callers can see: bytes joined up to the next wait, errors after the
bytes that came before them, a body that is too long refused, `close` any number of times, and a count of responses that
were not closed. It knows no deadlines: a script raises UpstreamTimeout where one would have passed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import msgspec

from turnout.core.contracts import Headers, Outgoing
from turnout.errors import GatewayError, InternalError, UpstreamError, UpstreamFault
from turnout.gateway.connection import Sink

Step = bytes | asyncio.Event | UpstreamError
"""Of a scripted body: bytes that come, an event to wait for, an error to raise (the last step)."""


class Scripted(msgspec.Struct, frozen=True):
    """One response. headers: lower-case names. body: in order."""

    status: int = 200
    headers: Mapping[str, str] = {}
    body: Sequence[Step] = ()
    is_reused: bool = False


class MemoryTransport:
    """Answers each request by calling `answer`, which returns a response or the error that `send` raises.

    sent: every request, in order. open_responses: sent and not yet closed (nor read to their end).
    """

    def __init__(self, answer: Callable[[Outgoing], Scripted | GatewayError]) -> None:
        self.sent: list[Outgoing] = []
        self.open_responses = 0
        self.is_closed = False
        self._answer = answer

    async def send(self, outgoing: Outgoing) -> MemoryIncoming:
        """Record the request; return or raise what the script says."""
        self.sent.append(outgoing)
        answer = self._answer(outgoing)
        if isinstance(answer, GatewayError):
            raise answer
        self.open_responses += 1
        return MemoryIncoming(answer, self)

    async def close(self) -> None:
        """Remember that it was closed."""
        self.is_closed = True


class MemoryIncoming:
    """A scripted response. See `transport.Incoming`. was_cut: closed before its body's end."""

    def __init__(self, scripted: Scripted, transport: MemoryTransport) -> None:
        self.status = scripted.status
        self.is_reused = scripted.is_reused
        self.was_cut = False
        self._headers = scripted.headers
        self._steps = list(scripted.body)
        self._transport = transport
        self._is_open = True
        self._has_ended = False

    @property
    def headers(self) -> Headers:
        """The response's headers."""
        return self._headers

    def mentions(self, word: bytes) -> bool:
        """See `Incoming`."""
        return any(word in name.encode() for name in self.headers)

    def take(self) -> bytes:
        """Return the bytes up to the next event that has not happened, or error, or the end."""
        data = b""
        while self._is_open and self._steps:
            step = self._steps[0]
            if isinstance(step, bytes):
                data += step
            elif isinstance(step, UpstreamError) or not step.is_set():
                break
            self._steps.pop(0)
        if self._is_open and not self._steps:
            self._has_ended = True
            self.close()
        return data

    async def chunk(self) -> bytes:
        """Return the next bytes, b"" at the end."""
        while True:
            data = self.take()
            if data or self._has_ended:
                return data
            if not self._is_open:
                raise InternalError("a response was read after it was closed")
            step = self._steps[0]
            if isinstance(step, UpstreamError):
                raise step
            assert isinstance(step, asyncio.Event)
            try:
                await step.wait()
            except asyncio.CancelledError:
                self.close()
                raise

    async def forward(self, sink: Sink) -> None:
        """Give `sink` each piece of body as it comes."""
        while (data := await self.chunk()) and sink(data):
            pass

    async def read(self, limit: int, *, cut: bool = False) -> bytes:
        """Return the whole body."""
        body = b""
        try:
            while len(body) <= limit and (data := await self.chunk()):
                body += data
        except UpstreamError:
            if not cut:
                raise
        if len(body) > limit:
            self.close()
            if not cut:
                raise UpstreamFault(f"memory: the response is longer than {limit} bytes", is_ambiguous=True)
        return body[:limit]

    def finish(self) -> None:
        """Nobody wants the rest."""
        self.close()

    def close(self) -> None:
        """Close; the transport counts one less."""
        if self._is_open:
            self._is_open = False
            self.was_cut = not self._has_ended
            self._transport.open_responses -= 1

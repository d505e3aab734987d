"""Masks one exchange, where its task says so: the request before it goes anywhere, the answer on its way to the client.

Between the two everybody sees placeholders alone: vendors, the cache (so one answer serves whoever asks the same of another
person), embedders, a second candidate that goes on where the first broke off. A request in which nothing personal is found
is left as it is, to the byte, and so is its answer.
A large request is looked through in a thread, so that nobody else waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Final

import msgspec

from turnout.core.contracts import Call
from turnout.core.privacy.answers import StreamRestorer
from turnout.core.privacy.kinds import chosen
from turnout.core.privacy.masking import Mask
from turnout.core.privacy.requests import hidden
from turnout.gateway.downstream import Downstream, Head
from turnout.gateway.exchange import Exchange

AT_ONCE_BYTES: Final = 8 * 1024
"""A longer request is looked through in a thread. One of nothing but pairs of digits takes 20 ms; a usual one 0.1."""


async def mask(exchange: Exchange, masks: Collection[str]) -> None:
    """Take what is personal out of the request, and see to it that the client gets it back. masks: of the task."""
    call = exchange.call
    if call.size > AT_ONCE_BYTES:
        masked, made = await asyncio.to_thread(_masked, call, masks)
    else:
        masked, made = _masked(call, masks)
    if len(made):
        exchange.call = masked
        exchange.down = Restoring(exchange.down, made)


def _masked(call: Call, masks: Collection[str]) -> tuple[Call, Mask]:
    made = Mask(chosen(masks), b"".join(call.fields.values()))
    fields = hidden(call.fields, made)
    grown = sum(map(len, fields.values())) - len(made.body)  # what it may cost is reckoned by what is sent
    made.body = b""
    tokens = call.input_tokens + max(0, grown) // 4
    return msgspec.structs.replace(call, fields=fields, size=call.size + grown, input_tokens=tokens), made


class Restoring:
    """A client, as everybody sees it who writes placeholders to it: a Downstream. down: the client itself."""

    __slots__ = ("_down", "_mask", "_restorer")

    def __init__(self, down: Downstream, made: Mask) -> None:
        self._down = down
        self._mask = made
        self._restorer = StreamRestorer(made)

    @property
    def on_gone(self) -> Callable[[], object] | None:
        """What is called if the client leaves: the client's own."""
        return self._down.on_gone

    @on_gone.setter
    def on_gone(self, call: Callable[[], object] | None) -> None:
        self._down.on_gone = call

    @property
    def is_started(self) -> bool:
        """Whether the client has been sent anything."""
        return self._down.is_started

    @property
    def is_paused(self) -> bool:
        """Whether the client is slower than we are."""
        return self._down.is_paused

    def answer(self, status: int, headers: Head, body: bytes) -> None:
        """Send a whole answer."""
        self._down.answer(status, self._told(headers), self._mask.show(body))

    def start(self, status: int, headers: Head) -> None:
        """Send the head of a streamed answer."""
        self._down.start(status, self._told(headers))

    def write(self, data: bytes) -> None:
        """Send one piece, but for an end that may be half a placeholder."""
        if out := self._restorer.feed(data):
            self._down.write(out)

    async def drain(self) -> None:
        """Wait until the client has taken enough."""
        await self._down.drain()

    def finish(self) -> None:
        """End the streamed answer properly."""
        self._flush()
        self._down.finish()

    def cut(self) -> None:
        """End the connection without the last chunk."""
        self._flush()
        self._down.cut()

    def _flush(self) -> None:
        if out := self._restorer.finish():
            self._down.write(out)

    def _told(self, headers: Head) -> Head:
        """The head, with how many values of each kind were placeholders to the model."""
        counts = ", ".join(f"{kind}={count}" for kind, count in self._mask.counts.items())
        return [*headers, (b"x-turnout-masked", counts.encode())]

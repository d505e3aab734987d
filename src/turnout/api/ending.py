"""Ends a client's connection so that its last answer arrives, and so that the end comes in bounded time.

A client that is still sending when its connection is closed gets a reset, and a reset takes the answer with it (RFC 9112
§9.6). So a connection whose client may have more to send ends in two steps: our side is ended, and what still comes is
dropped for a while. A client that takes nothing more of what was written is not waited for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from turnout.api.exchange import SEND_S, Exchange

UNSENT_BYTES = 4 * 1024
"""From how many unsent bytes in our memory on a client counts as slow; its upstream is not read any more then. Besides, the
kernel has what it took. A client that keeps up never comes near: what is more than this is written at once. Low, because
a read of the upstream comes on top, and a slow client may hold 64 KiB in all (RELIABILITY A7).
"""

LINGER_S = 5.0
"""How long a client may go on sending after its last answer: nginx's `lingering_timeout`."""

LINGER_BYTES = 64 * 1024 * 1024
"""How much it may send in that time: more than the largest bodies that SDKs send, and 10 ms of work."""

DRAIN_IDLE_S = 1.0
"""How long a connection must have been idle to be closed while we stop: a client that was just answered may well ask again
at once, and would find the connection closed under its request.
"""


class State(ServerState):
    """What the connections of one server share. is_draining: what is under way on a connection is the last there."""

    is_draining = False


class EndingProtocol(HttpToolsProtocol):
    """uvicorn's protocol with an end of our own. send_s, linger_s: the two times, in seconds. linger_bytes: as LINGER_BYTES."""

    server_state: State
    cycle: Exchange
    send_s = SEND_S
    linger_s = LINGER_S
    linger_bytes = LINGER_BYTES

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._at_work: Exchange | None = None  # the request whose turn it is, or was last
        self._deadline: asyncio.TimerHandle | None = None
        self._is_deaf = False  # what comes now is dropped
        self._is_ended = False  # our side, and the client has not ended its own
        self._is_receiving = False  # part of a request is here, the rest is not
        self._idle_since = 0.0
        self._dropped_bytes = 0
        self._unsent_bytes = 0  # when that was looked at last

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has come."""
        super().connection_made(transport)
        self._idle_since = self.loop.time()
        transport.set_write_buffer_limits(high=UNSENT_BYTES)

    def _arm(self, seconds: float, then: Callable[[], object]) -> None:
        """Call `then` unless disarmed before. One at a time."""
        self._deadline = self.loop.call_later(seconds, then)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _end(self, *, may_send: bool) -> None:
        """End this connection, if that was not done already. may_send: the client may still be sending."""
        if self._is_ended or self.transport.is_closing():
            return
        self._disarm()
        if may_send or self._is_deaf:
            self._linger()
            return
        self._unsent_bytes = self.transport.get_write_buffer_size()
        self.transport.close()
        if self._unsent_bytes:
            self._arm(self.send_s, self._look_at_unsent)

    def _look_at_unsent(self) -> None:
        """Wait for a client for as long as it takes something."""
        before, self._unsent_bytes = self._unsent_bytes, self.transport.get_write_buffer_size()
        if self._unsent_bytes < before:
            self._arm(self.send_s, self._look_at_unsent)
        else:
            self.transport.abort()

    def _linger(self) -> None:
        """End our side after what was written, and drop what comes until the client ends its own."""
        self._is_deaf = self._is_ended = True
        self.pipeline.clear()
        if self.flow.write_paused:  # it takes nothing either
            self.transport.abort()
            return
        try:
            self.flow.resume_reading()
            self.transport.write_eof()
        except OSError:  # it has left already
            self.transport.abort()
        else:
            self._arm(self.linger_s, self.transport.abort)

    def _drop(self, size: int) -> None:
        """What a deaf connection does with what comes."""
        self._dropped_bytes += size
        if self._dropped_bytes > self.linger_bytes:
            self.transport.abort()

    def _tell_gone(self) -> None:
        """Tell who is at work for this client, and who reads its request, that nobody waits any more."""
        for exchange in (self._at_work, self.cycle):
            if exchange is not None and not exchange.response_complete:
                exchange.disconnected = True
                exchange.message_event.set()
        at_work = self._at_work  # those that wait behind it have not begun, and never will
        if at_work is not None and not at_work.response_complete and at_work.on_gone is not None:
            on_gone, at_work.on_gone = at_work.on_gone, None
            on_gone()

    def _idle(self) -> None:
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that has been idle for long enough; look again later at one that has not."""
        self.timeout_keep_alive_task = None
        is_at_work = self._at_work is not None and not self._at_work.response_complete
        if self.transport.is_closing() or self._is_receiving or self._is_deaf or is_at_work:
            return  # at work: the end of that answer sets the timer anew
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self.timeout_keep_alive_task = self.loop.call_later(left, self.timeout_keep_alive_handler)
        else:
            self._end(may_send=False)

    def drain(self, *, ends_idle: bool) -> bool:
        """Let what is under way be the last here: an answer not begun says `connection: close`, one that has begun ends as
        it would have. ends_idle: end a connection on which nothing has been under way for DRAIN_IDLE_S.

        Returns whether this connection is needed still.
        """
        if self._is_ended or self.transport.is_closing():
            return self.transport.get_write_buffer_size() > 0
        if self._is_receiving or (self._at_work is not None and not self._at_work.response_complete):
            if self.cycle is not None and not self.cycle.response_started:
                self.cycle.keep_alive = False
            return True
        if ends_idle and self.loop.time() - self._idle_since >= DRAIN_IDLE_S:
            self._end(may_send=False)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed, by whomever."""
        self._disarm()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self._tell_gone()

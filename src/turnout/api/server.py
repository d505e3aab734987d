"""Speaks HTTP/1.1 to clients: uvicorn's protocol, with receive deadlines and bounds; makes an Exchange for each request.

uvicorn 0.54 on httptools has no limit on headers or bodies and no deadline for receiving them (RELIABILITY §3, F21), so
both are here: the head and the body each have a time and a size, and an offender gets a JSON error and a closed
connection. The timers are armed only while a request is half received; one that arrives whole costs none.

The data plane answers through `Exchange` (api/exchange.py) instead of ASGI's `send`, which spends two regular
expressions a header and a coroutine a chunk; ASGI stays the way in, and the way of the control plane.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from turnout.api.exchange import Exchange, close
from turnout.api.render import error_body
from turnout.core.catalog import Bounds
from turnout.errors import GatewayError, InvalidRequest, RequestTooLarge

WAITING_REQUESTS = 2
"""How many requests of a connection may wait for the one before them while it is still read from. A connection that is
not read from does not tell that its client has left, and one that is holds so many bodies at most.
"""


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's httptools protocol with bounds; make one with `bounded(bounds)`."""

    bounds = Bounds()
    ASGI: dict[str, str] = {"version": "3.0", "spec_version": "2.3"}  # noqa: RUF012

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes = 0  # of an incomplete head, in earlier pieces
        self._data_bytes = 0  # of the piece at hand
        self._whole_requests = 0  # requests
        self._is_receiving = False
        self._has_head = False
        self._refused = False
        self._at_work: Exchange | None = None  # the request whose turn it is, or was last
        self._idle_since = 0.0
        self._deadline: asyncio.TimerHandle | None = None

    # ── deadlines ──

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock: a connection that says nothing is closed too."""
        super().connection_made(transport)
        self._arm(self.bounds.header_s)

    def data_received(self, data: bytes) -> None:
        """Take bytes; after them, a request that is only half here must go on within its time."""
        if self._refused:
            return
        self._data_bytes = len(data)
        completed = self._whole_requests
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self._refuse(InvalidRequest("This is not HTTP/1.1 as RFC 9112 has it."))
            return
        except httptools.HttpParserUpgrade:
            self._refuse(InvalidRequest("Turnout speaks HTTP/1.1 only here: no upgrade."))
            return
        if not self._is_receiving or self._refused:
            return
        if not self._has_head and completed == self._whole_requests:  # else part of these bytes was another request's
            self._head_bytes += len(data)
            if self._head_bytes > self.bounds.header_bytes:
                self._refuse_head()
                return
        if self._deadline is None:
            self._arm(self.bounds.body_s if self._has_head else self.bounds.header_s)

    def _arm(self, seconds: float) -> None:
        self._deadline = self.loop.call_later(seconds, self._too_slow)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        if not self._is_receiving:
            self.transport.close()  # nothing was begun: nobody to answer
        elif self._has_head and self.cycle is not None:
            self._refuse(InvalidRequest(f"The body did not arrive within {self.bounds.body_s:g} s."), status=408)
        else:
            self._refuse(InvalidRequest(f"The headers did not arrive within {self.bounds.header_s:g} s."), status=408)

    def _refuse(self, error: GatewayError, status: int | None = None) -> None:
        """Answer with `error` if an answer can still be told apart, and close. status: a nearer one than the class's."""
        self._refused = True
        self._disarm()
        cycle, at_work = self.cycle, self._at_work
        if at_work is None or not at_work.response_started or at_work.response_complete:
            body = error_body(error, "")
            self.transport.write(
                b"%bcontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
                % (STATUS_LINE[status or error.status], len(body), body)
            )
        if self._has_head and cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
        close(self.transport, self.flow)

    # ── bounds ──

    def on_message_begin(self) -> None:
        """A request begins."""
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self._head_bytes = 0
        self._is_receiving = True
        self._has_head = False

    def on_url(self, url: bytes) -> None:
        """Part of the target."""
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def _is_head_too_large(self) -> bool:
        """Whether the head that is complete now is over the limit. Looked into only if so many bytes came at all."""
        limit = self.bounds.header_bytes
        if self._head_bytes + self._data_bytes <= limit:
            return False
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > limit

    def _refuse_head(self) -> None:
        self._refuse(RequestTooLarge(f"The headers are larger than {self.bounds.header_bytes} bytes."), status=431)

    def on_headers_complete(self) -> None:
        """Make the exchange and start the application."""
        if self._refused:
            return
        if self._is_head_too_large():
            self._refuse_head()
            return
        self._has_head = True
        self._disarm()
        parser = self.parser
        target = self.url
        query = b""
        if target[:1] == b"/" and b"?" not in target and b"#" not in target and target.isascii():
            raw_path = target  # nothing to take apart, and llhttp has looked at every byte
        else:
            try:
                parsed = httptools.parse_url(target)
            except httptools.HttpParserInvalidURLError:
                self._refuse(InvalidRequest("The request target cannot be read."))
                return
            raw_path, query = parsed.path or b"/", parsed.query or b""
        path = raw_path.decode("latin-1")
        version = parser.get_http_version()
        self.scope = {
            "type": "http",
            "asgi": self.ASGI,  # type: ignore[typeddict-item]
            "http_version": version,
            "method": parser.get_method().decode("ascii"),
            "scheme": self.scheme or "http",
            "path": path,
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": self.headers,
            "client": self.client,
            "server": self.server,
        }
        previous = self.cycle
        exchange = Exchange(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        exchange.body_limit = self.bounds.body_bytes
        self.scope["extensions"] = {"turnout": exchange}  # type: ignore[dict-item]
        self.cycle = exchange
        if previous is None or previous.response_complete:
            self._begin(exchange)
        else:  # it waits until the one before it is answered
            self.pipeline.appendleft((exchange, self.app))
            if len(self.pipeline) > WAITING_REQUESTS:
                self.flow.pause_reading()

    def _begin(self, exchange: Exchange) -> None:
        self._at_work = exchange
        exchange.task = task = self.loop.create_task(exchange.run_asgi(self.app))
        self.tasks.add(task)  # uvicorn's own set, which it waits for when it stops
        task.add_done_callback(self.tasks.discard)

    def on_body(self, body: bytes) -> None:
        """Part of the body: kept up to the limit, then only counted as too much."""
        if self._refused or self.cycle.response_complete:
            return
        cycle = self.cycle
        if len(cycle.body) <= self.bounds.body_bytes:
            cycle.body += body
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        """The request is here whole."""
        self._whole_requests += 1
        self._is_receiving = False
        self._disarm()
        if self._refused or self.cycle.response_complete:
            return
        self.cycle.more_body = False
        self.cycle.message_event.set()

    # ── between requests ──

    def on_response_complete(self) -> None:
        """Start what was pipelined, or note since when the connection is idle.

        One timer a connection, looked at when it rings, instead of uvicorn's one a request (3 µs).
        """
        self.server_state.total_requests += 1
        if not self.transport.is_closing() and not self._go_on():
            self._idle()

    def _go_on(self) -> bool:
        """Start what was pipelined, if anything was, and return whether a request is at work. A client that does not take
        its answers gets no further ones, which would pile up here, until it does.
        """
        if self.flow.write_paused:
            self.flow.pause_reading()
            return False
        is_at_work = bool(self.pipeline)
        if is_at_work:
            self._begin(self.pipeline.pop()[0])  # type: ignore[arg-type]
        if len(self.pipeline) <= WAITING_REQUESTS:
            self.flow.resume_reading()
        return is_at_work

    def resume_writing(self) -> None:
        """The client has taken what it was sent: on with what it has asked for meanwhile."""
        super().resume_writing()
        at_work = self._at_work
        if at_work is not None and at_work.response_complete and not self.transport.is_closing():
            self._go_on()

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
        if self.transport.is_closing() or self._is_receiving or is_at_work:
            return  # at work: the end of that answer sets the timer anew
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self.timeout_keep_alive_task = self.loop.call_later(left, self.timeout_keep_alive_handler)
        else:
            close(self.transport, self.flow)

    # ── the end ──

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever is at work for this client that nobody waits any more."""
        self._disarm()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        exchange = self._at_work  # those that wait behind it have not begun, and never will
        if exchange is not None and not exchange.response_complete:
            exchange.disconnected = True
            exchange.message_event.set()
            if exchange.on_gone is not None:
                exchange.on_gone()


def bounded(bounds: Bounds) -> type[BoundedProtocol]:
    """Return the protocol class for these bounds (uvicorn makes its instances itself, so they ride on the class)."""
    return type("BoundedProtocol", (BoundedProtocol,), {"bounds": bounds})

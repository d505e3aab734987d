"""Speaks HTTP/1.1 to clients: uvicorn's protocol, with receive deadlines and bounds; makes an Exchange for each request.

uvicorn 0.54 on httptools has no limit on headers or bodies and no deadline for receiving them (RELIABILITY §3, F21), so
both are here: the head and the body each have a time and a size, a body that drips ends sooner, and an offender gets a
JSON error and a closed connection. What llhttp lets pass and another parser would read otherwise is refused by
`api/heads.py`. The timers are armed only while a request is half received; one that arrives whole costs none.
How a connection ends is the business of `api/ending.py`.

The data plane answers through `Exchange` (api/exchange.py) instead of ASGI's `send`, which spends two regular
expressions a header and a coroutine a chunk; ASGI stays the way in, and the way of the control plane.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from turnout.api import heads
from turnout.api.door import Door
from turnout.api.ending import EndingProtocol
from turnout.api.exchange import Exchange
from turnout.api.render import error_body
from turnout.core.catalog import Bounds
from turnout.errors import GatewayError, InvalidRequest

WAITING_REQUESTS = 2
"""How many requests of a connection may wait for the one before them while it is still read from. A connection that is
not read from does not tell that its client has left, and one that is holds so many bodies at most.
"""

PIPELINED = 1000
"""How many may wait that came in one piece: 10 ms of work to take apart. No client known to us waits for more than a few."""

PIECE_BYTES = 32 * 1024
"""How much is parsed between two looks at the bounds: at most 3 ms, of headers of four bytes each."""

HEADERS = 256
"""How many headers a request may have. SDKs send 20; Apache takes 100, Node 2,000."""

CHUNKS, CHUNK_BYTES = 4096, 256
"""A body may come in so many chunks of any size, and further ones of so many bytes on average: a chunk costs 0.5 µs, however
small. Go holds a body to the same idea (net/http, CVE-2023-39326).
"""

NO_HOST = b"\0"
"""No client can send it: llhttp refuses the byte."""

BODY_RATE = 500
"""Bytes a second that a body must bring, looked at every `header_s` seconds: Apache's `mod_reqtimeout`, MinRate=500."""


class BoundedProtocol(EndingProtocol):
    """uvicorn's httptools protocol with bounds; make one with `bounded(bounds)`."""

    bounds = Bounds()
    door: Door | None = None
    bounds_digits = len(str(bounds.body_bytes))  # a Content-Length with fewer is below the limit
    ASGI: dict[str, str] = {"version": "3.0", "spec_version": "2.3"}  # noqa: RUF012

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.url = b""
        self.parser.set_dangerous_leniencies(lenient_data_after_close=False)  # else llhttp passes over it in silence
        self._message_bytes = 0  # of an incomplete request, in earlier pieces
        self._data_bytes = 0  # of the piece at hand
        self._whole_requests = 0  # requests
        self._chunks = 0
        self._has_head = False
        self._undecided: Exchange | None = None  # it may be turned away, once all that came with it was read
        self._host = NO_HOST  # the last one that was found valid
        self._body_until = 0.0
        self._rated_bytes = 0  # of the body, when its rate was looked at last

    # ── deadlines ──

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock: a connection that says nothing is closed too."""
        super().connection_made(transport)
        self._arm(self.bounds.header_s, self._too_slow)

    def data_received(self, data: bytes) -> None:
        """Take bytes; after them, a request that is only half here must go on within its time."""
        self._data_bytes = size = len(data)
        if self._is_deaf:
            self._drop(size)
            return
        if size > PIECE_BYTES:
            for begin in range(0, size, PIECE_BYTES):
                self.data_received(data[begin : begin + PIECE_BYTES])
            return
        completed = self._whole_requests
        try:
            self.parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._decide(may_refuse=False)
            self._stop_listening(error.__context__)
            return
        if self._undecided is not None:
            self._decide()
        if not self._is_receiving:
            return
        if completed == self._whole_requests:  # else part of these bytes was another request's
            self._message_bytes += size
            wrong = self._overrun()
            if wrong is not None:
                self._refuse(wrong)
                return
        if self._deadline is None:
            self._time_body() if self._has_head else self._arm(self.bounds.header_s, self._too_slow)

    def _overrun(self) -> GatewayError | None:
        """What is wrong with the size of a request that is not whole yet."""
        if len(self.headers) > HEADERS:  # or trailers
            return heads.too_large(f"There are more than {HEADERS} headers.")
        if not self._has_head:
            return self._head_too_large() if self._message_bytes > self.bounds.header_bytes else None
        is_chunked = b"transfer-encoding" in self.cycle.headers
        if is_chunked and self._message_bytes > 2 * (len(self.cycle.body) + self.bounds.header_bytes):
            return InvalidRequest("The body is chunked with more words about the chunks than body.")
        return None

    def _stop_listening(self, cause: BaseException | None) -> None:
        """What came cannot be taken for a request, for `cause` if a callback of ours found so. Behind a request that was to
        be the last, it is nobody's concern; anywhere else, it is refused.
        """
        if self._whole_requests and not self._is_receiving and not self.cycle.keep_alive:
            self._is_deaf = True
        else:
            if cause is not None and not isinstance(cause, GatewayError):
                raise cause  # a bug in a callback: the loop logs it and closes
            self._refuse(cause or InvalidRequest("This is not HTTP/1.1 as RFC 9112 has it."))

    def _too_slow(self) -> None:
        """The time for a head is over."""
        self._deadline = None
        if self.flow.read_paused:  # it waits for us
            self._arm(self.bounds.header_s, self._too_slow)
        elif self._is_receiving:
            self._refuse(heads.late(f"The headers did not arrive within {self.bounds.header_s:g} s."))
        else:
            self.transport.close()  # nothing was begun: nobody to answer

    def _time_body(self) -> None:
        """Start a body's clock."""
        self._body_until = self.loop.time() + self.bounds.body_s
        self._rated_bytes = self._message_bytes
        self._arm(min(self.bounds.header_s, self.bounds.body_s), self._look_at_body)

    def _look_at_body(self) -> None:
        """Refuse a body that brings too little, or is not here after all its time; look again later at any other."""
        self._deadline = None
        cycle = self.cycle
        if self.flow.read_paused or cycle is not self._at_work or cycle.waiting_for_100_continue:
            self._time_body()  # it waits for us
            return
        left = self._body_until - self.loop.time()
        if left <= 0:
            self._refuse(heads.late(f"The body did not arrive within {self.bounds.body_s:g} s."))
        elif self._message_bytes - self._rated_bytes < BODY_RATE * self.bounds.header_s:
            self._refuse(heads.late(f"The body came slower than {BODY_RATE} bytes a second."))
        else:
            self._rated_bytes = self._message_bytes
            self._arm(min(self.bounds.header_s, left), self._look_at_body)

    def _refuse(self, error: GatewayError) -> None:
        """Answer with `error` if an answer can still be told apart, and close."""
        cycle, at_work = self.cycle, self._at_work
        is_answered = self._has_head and self._is_receiving and cycle.response_complete
        if not is_answered and (at_work is None or not at_work.response_started or at_work.response_complete):
            body = error_body(error, "")
            self.transport.write(
                b"%bcontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
                % (STATUS_LINE[error.status], len(body), body)
            )
        self._end(may_send=True)
        self._tell_gone()

    # ── bounds ──

    def on_message_begin(self) -> None:
        """A request begins."""
        self.headers = []
        self._message_bytes = 0
        self._is_receiving = True
        self._has_head = False

    def on_url(self, url: bytes) -> None:
        """Part of the target."""
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or one trailer."""
        self.headers.append((name.lower(), value))

    def _check_size(self) -> None:
        """Refuse the head that is complete now if it is over the limits."""
        if len(self.headers) > HEADERS:
            raise heads.too_large(f"There are more than {HEADERS} headers.")
        if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > self.bounds.header_bytes:
            raise self._head_too_large()

    def _head_too_large(self) -> GatewayError:
        limit = self.bounds.header_bytes
        if len(self.url) > limit // 2:
            return heads.too_large("The request target is too long.", status=414)
        return heads.too_large(f"The headers are larger than {limit} bytes.")

    def on_headers_complete(self) -> None:
        """Make the exchange and start the application. Raises GatewayError through the parser, which stops it."""
        parser, pairs = self.parser, self.headers
        if len(pairs) > HEADERS or self._message_bytes + self._data_bytes > self.bounds.header_bytes:
            self._check_size()
        self.headers = []  # what comes still is trailers, which are no headers (RFC 9110 §6.5): they are dropped
        headers = dict(pairs)
        version = parser.get_http_version()
        expects_100 = (
            headers.get(b"host") != self._host
            or len(headers) != len(pairs)
            or version != "1.1"
            or len(headers.get(b"content-length", b"")) >= self.bounds_digits
            or b"transfer-encoding" in headers
            or b"expect" in headers
            or b"upgrade" in headers
        ) and self._look_closer(version, pairs, headers)
        raw_path, query, self.url = self.url, b"", b""  # llhttp has looked at every byte
        if raw_path[:1] != b"/" or b"?" in raw_path or b"#" in raw_path or not raw_path.isascii():
            raw_path, query = heads.split_target(raw_path)
        if self._deadline is not None:
            self._disarm()
        self.scope = {
            "type": "http",
            "asgi": self.ASGI,  # type: ignore[typeddict-item]
            "http_version": version,
            "method": parser.get_method().decode("ascii"),
            "scheme": self.scheme or "http",
            "path": raw_path.decode("latin-1"),
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": pairs,
            "client": self.client,
            "server": self.server,
        }
        exchange = Exchange(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=expects_100,
            keep_alive=version != "1.0" and parser.should_keep_alive() and not self.server_state.is_draining,
            on_response=self.on_response_complete,
        )
        exchange.headers, exchange.body_limit = headers, self.bounds.body_bytes
        exchange.send_s = self.send_s
        self.scope["extensions"] = {"turnout": exchange}  # type: ignore[dict-item]
        previous, self.cycle = self.cycle, exchange
        self._has_head = True
        if previous is not None and not previous.response_complete:
            self._queue(exchange)
        elif self.door is not None and self.door.is_shut:
            self._undecided = exchange
        else:
            self._begin(exchange)

    def _look_closer(self, version: str, pairs: list[tuple[bytes, bytes]], headers: dict[bytes, bytes]) -> bool:
        """Refuse a head with something in it that must be, and return whether its client waits for 100 Continue."""
        heads.check(version, pairs, headers, self.bounds.body_bytes)
        if self.parser.should_upgrade():
            raise InvalidRequest("Turnout speaks HTTP/1.1 only here, no upgrade: set your client to HTTP/1.1.")
        self._host = headers.get(b"host", NO_HOST)
        self._chunks = 0
        return version == "1.1" and headers.get(b"expect", b"").lower() == b"100-continue"

    def _queue(self, exchange: Exchange) -> None:
        """Let a request wait until the one before it is answered."""
        self.pipeline.appendleft((exchange, self.app))
        if len(self.pipeline) > WAITING_REQUESTS:
            self.flow.pause_reading()
            if len(self.pipeline) > PIPELINED:
                raise InvalidRequest(f"More than {PIPELINED} requests were sent without waiting for an answer.")

    def _decide(self, *, may_refuse: bool = True) -> None:
        """Begin the request that was put off, unless the door turns it away."""
        exchange, self._undecided = self._undecided, None
        if exchange is not None:
            self._at_work = exchange
            if may_refuse and self.door is not None and self.door.turns_away(exchange):
                exchange.on_response = lambda: (
                    None
                )  # as uvicorn does where a task has ended: it holds us, as we hold it
            else:
                self._begin(exchange)

    def _begin(self, exchange: Exchange) -> None:
        self._at_work = exchange
        exchange.task = task = self.loop.create_task(exchange.run_asgi(self.app))
        self.tasks.add(task)  # uvicorn's own set, which it waits for when it stops
        task.add_done_callback(self.tasks.discard)

    def on_chunk_header(self) -> None:
        """A chunk begins."""
        self._chunks += 1
        if self._chunks > CHUNKS and self._chunks > CHUNKS + len(self.cycle.body) // CHUNK_BYTES:
            raise InvalidRequest("The body comes in too many small chunks.")

    def on_body(self, body: bytes) -> None:
        """Part of the body: kept up to the limit, then only counted as too much."""
        cycle = self.cycle
        if cycle.response_complete:
            return
        if len(cycle.body) <= self.bounds.body_bytes:
            cycle.body += body
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        """The request is here whole."""
        if self.headers and self.cycle.keep_alive and not self.parser.should_keep_alive():
            # llhttp goes by a trailer here, and will take no further request; a proxy before us would send one.
            raise InvalidRequest("A trailer cannot end the connection (RFC 9110, 6.5.1).", param="connection")
        self._whole_requests += 1
        self._is_receiving = False
        if self._deadline is not None:
            self._disarm()
        if self.cycle.response_complete:
            return
        self.cycle.more_body = False
        self.cycle.message_event.set()

    # ── between requests ──

    def on_response_complete(self) -> None:
        """Start what was pipelined, or note since when the connection is idle, or end it.

        One timer a connection, looked at when it rings, instead of uvicorn's one a request (3 µs).
        """
        self.server_state.total_requests += 1
        exchange = self._at_work
        if exchange is not None and not exchange.keep_alive:
            self._end(may_send=exchange.more_body or bool(self.pipeline))
        elif not self.transport.is_closing() and not self._go_on():
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


def bounded(bounds: Bounds, door: Door | None = None) -> type[BoundedProtocol]:
    """Return the protocol class for these bounds (uvicorn makes its instances itself, so they ride on the class)."""
    members = {"bounds": bounds, "bounds_digits": len(str(bounds.body_bytes)), "send_s": bounds.send_s, "door": door}
    return type("BoundedProtocol", (BoundedProtocol,), members)

"""An open-loop load client: requests begin at instants fixed in advance, whatever becomes of those before them.

    report = await constant_rate(port, wire, rate_per_s=200, seconds=5, connections=400)
    report.count(COMPLETE), report.percentile("first_chunk", 0.99)

A closed loop asks less as soon as the server is slow, and so leaves out the very moments that it was to measure
(coordinated omission). Here request `n` is due `n / rate_per_s` seconds after the start, and every time of a reply counts
from that instant: waiting for a free connection, opening one, and this client being late are all in it. How late it was is
a series of its own ("lateness"): if that is not small, the client or the machine was too busy, and the times mean little.

Raw HTTP/1.1 on keep-alive connections by the reply reader of `load.py`; a timer of the kernel, not the loop's milliseconds.
"""

import asyncio
import re
from array import array
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from os import close, read
from time import monotonic
from typing import Final

import uvloop

from tests.bench.load import ReplyReader, percentile
from tests.bench.timerfd import arm, new_timer

COMPLETE: Final = "complete"
"""A whole answer with status 200; a stream also brought its terminal event ([DONE] or message_stop)."""
ERROR_EVENT: Final = "error_event"
"""A stream that said that it failed."""
CUT: Final = "cut"
"""A reply that began and did not become whole, or a stream that ended in good order without its terminal event."""
REFUSED: Final = "refused"
"""A whole answer with another status: `Report.statuses` tells which."""
UNANSWERED: Final = "unanswered"
"""The connection ended before the first byte of a reply."""
UNCONNECTED: Final = "unconnected"
"""No connection could be opened."""
LATE: Final = "late"
"""Not over when the time to drain was."""

FIRST_CHUNK: Final = "first_chunk"
GAP: Final = "gap"
TOTAL: Final = "total"
REFUSAL: Final = "refusal"
LATENESS: Final = "lateness"

# How a stream ended stands in its last bytes, even when the last event comes in chunks of one byte (six bytes each).
_LAST_BYTES = 4096
_KEPT_PIECES = 8
_FRAMING = re.compile(rb"\r\n[0-9a-fA-F]+\r\n")
_DIALS_AT_ONCE = 64


@dataclass(slots=True)
class Report:
    """What became of every request. seconds: how long requests were begun; elapsed_s: until the last was over.

    series, in seconds: "first_chunk" (first byte of body with status 200), "total" (complete answers), "refusal" (whole
    answers with another status): each from the scheduled instant; "gap" (between two arrivals of one stream's body);
    "lateness" (from the scheduled instant to the write of the request).
    """

    planned: int
    seconds: float
    elapsed_s: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    series: dict[str, Sequence[float]] = field(default_factory=dict)
    first_problem: str = ""

    def count(self, outcome: str) -> int:
        """How many requests ended so."""
        return self.outcomes[outcome]

    def percentile(self, name: str, share: float) -> float:
        """Seconds below which `share` (0 to 1) of the series lies; 0 if it is empty."""
        return percentile(self.series[name], share)

    @property
    def completed_per_s(self) -> float:
        """Complete answers by the time that requests were begun in."""
        return self.outcomes[COMPLETE] / self.seconds

    def __str__(self) -> str:
        ends = ", ".join(f"{count} {outcome}" for outcome, count in sorted(self.outcomes.items()))
        return (
            f"{self.planned} requests in {self.seconds:g} s: {ends}; p50/p99 ms: "
            + ", ".join(
                f"{name} {self.percentile(name, 0.5) * 1e3:.1f}/{self.percentile(name, 0.99) * 1e3:.1f}"
                for name, values in self.series.items()
                if values
            )
            + (f"; the first problem: {self.first_problem}" if self.first_problem else "")
        )


Wire = bytes | Callable[[int], bytes]


async def constant_rate(
    port: int,
    wire: Wire,
    *,
    rate_per_s: float,
    seconds: float,
    connections: int,
    drain_s: float = 10.0,
    host: str = "127.0.0.1",
) -> Report:
    """Begin `rate_per_s` requests a second for `seconds`; let them end within `drain_s` more.

    wire: the bytes of a whole request (`load.chat_wire`), or a function from its number, 0 and up, to them.
    connections: as many are opened before the first request, and never more are open; a request that finds none free
    waits, and its times count from when it was due. So give more than rate x seconds a request takes, and a spare.
    """
    load = _Load(host, port, wire, round(rate_per_s * seconds), 1 / rate_per_s, connections)
    try:
        await load.run(drain_s)
    finally:
        await load.stop()
    report = load.report
    report.seconds = seconds
    report.series = dict(load.series)
    return report


def run_constant_rate(
    port: int, wire: Wire, *, rate_per_s: float, seconds: float, connections: int, drain_s: float = 10.0
) -> Report:
    """The same on a uvloop of its own: cheaper, and for a thread or a process of its own. Blocks."""
    return uvloop.run(
        constant_rate(port, wire, rate_per_s=rate_per_s, seconds=seconds, connections=connections, drain_s=drain_s)
    )


class _Load:
    """One run: the timetable, the connections, and what was seen."""

    def __init__(self, host: str, port: int, wire: Wire, planned: int, step_s: float, connections: int) -> None:
        self.host = host
        self.port = port
        self.wire = wire
        self.step_s = step_s
        self.connections = connections
        self.report = Report(planned, planned * step_s)
        self.series = {name: array("d") for name in (FIRST_CHUNK, GAP, TOTAL, REFUSAL, LATENESS)}
        self.started = 0.0
        self.begun = 0
        self.open: set[_Channel] = set()
        self.free: deque[_Channel] = deque()
        self.waiting: deque[int] = deque()
        self.dials: set[asyncio.Task[None]] = set()
        self.is_over = asyncio.Event()

    def due(self, number: int) -> float:
        """When a request is to begin (monotonic seconds)."""
        return self.started + number * self.step_s

    async def run(self, drain_s: float) -> None:
        """Open the connections, begin every request on time, wait for the ends."""
        for _ in range(0, self.connections, _DIALS_AT_ONCE):
            for _ in range(min(_DIALS_AT_ONCE, self.connections - len(self.open))):
                self.dial()
            await asyncio.gather(*self.dials)
        loop = asyncio.get_running_loop()
        timer = new_timer()
        loop.add_reader(timer, self.tick, timer)
        self.started = monotonic() + self.step_s
        arm(timer, self.started)
        try:
            async with asyncio.timeout(self.report.planned * self.step_s + drain_s):
                await self.is_over.wait()
        except TimeoutError:
            self.report.outcomes[LATE] = self.report.planned - self.report.outcomes.total()
        finally:
            loop.remove_reader(timer)
            close(timer)
        self.report.elapsed_s = monotonic() - self.started

    async def stop(self) -> None:
        """Close every connection, whatever it does, and wait until all are closed."""
        self.is_over.set()
        dials = tuple(self.dials)
        for task in dials:
            task.cancel()
        await asyncio.gather(*dials, return_exceptions=True)
        for channel in tuple(self.open):
            channel.abort()
        while self.open:
            await asyncio.sleep(0)

    def tick(self, timer: int) -> None:
        """Begin what is due; sleep until the next."""
        read(timer, 8)
        now = monotonic()
        while self.begun < self.report.planned and self.due(self.begun) <= now:
            self.begin(self.begun)
            self.begun += 1
        if self.begun < self.report.planned:
            arm(timer, self.due(self.begun))

    def begin(self, number: int) -> None:
        """Give a request to a free connection; with none, open one or wait."""
        while self.free:
            channel = self.free.popleft()
            if not channel.is_closing:
                channel.ask(number)
                return
        self.waiting.append(number)
        self.dial()

    def dial(self) -> None:
        """Open one more connection, unless all are open."""
        if len(self.open) + len(self.dials) < self.connections and not self.is_over.is_set():
            task = asyncio.get_running_loop().create_task(self.connect())
            self.dials.add(task)
            task.add_done_callback(self.dialled)

    def dialled(self, task: asyncio.Task[None]) -> None:
        """A connection stands or failed: there may be more to open."""
        self.dials.discard(task)
        if self.waiting:
            self.dial()

    async def connect(self) -> None:
        """Open a connection and put it to use. One that fails costs one waiting request."""
        try:
            await asyncio.get_running_loop().create_connection(partial(_Channel, self), self.host, self.port)
        except OSError as error:
            if self.waiting:
                self.settle(self.waiting.popleft(), UNCONNECTED, repr(error))

    def release(self, channel: "_Channel") -> None:
        """A connection can take a request."""
        if self.waiting:
            channel.ask(self.waiting.popleft())
        else:
            self.free.append(channel)

    def settle(self, number: int, outcome: str, problem: str = "") -> None:
        """One request is over."""
        report = self.report
        if self.is_over.is_set():
            return
        report.outcomes[outcome] += 1
        if problem and not report.first_problem:
            report.first_problem = f"request {number}: {outcome}: {problem}"
        if report.outcomes.total() == report.planned:
            self.is_over.set()


class _Channel(ReplyReader):
    """One keep-alive connection, with at most one request on it."""

    def __init__(self, load: _Load) -> None:
        super().__init__()
        self.load = load
        self.number = -1
        self.due = 0.0
        self.arrived = 0.0
        self.forget()

    def forget(self) -> None:
        """Nothing is known of the reply."""
        self.arrived = 0.0
        self.is_stream = False
        self.last = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Open: take the next request."""
        super().connection_made(transport)
        self.load.open.add(self)
        self.load.release(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Gone: whatever was under way on it is lost; who waits gets another one."""
        load = self.load
        load.open.discard(self)
        self.is_closing = True
        if self.number >= 0:
            was_begun = self.is_head_read or bool(self.head)
            outcome = self.stream_end() or CUT if was_begun else UNANSWERED
            self.close_book(outcome, f"the connection ended ({exc})")
        if load.waiting:
            load.dial()

    def ask(self, number: int) -> None:
        """Send one request."""
        assert self.transport is not None
        load = self.load
        self.number, self.due = number, load.due(number)
        self.expect()
        self.forget()
        wire = load.wire
        self.transport.write(wire if isinstance(wire, bytes) else wire(number))
        load.series[LATENESS].append(monotonic() - self.due)

    def read_head(self, head: bytes) -> None:
        """Also whether events come."""
        super().read_head(head)
        self.is_stream = b"\r\ncontent-type: text/event-stream" in head

    def arrival(self, data: bytes) -> None:
        """Keep the time, and what will tell how the stream ended."""
        now = monotonic()
        if self.status == 200:
            if self.arrived:
                self.load.series[GAP].append(now - self.arrived)
            else:
                self.load.series[FIRST_CHUNK].append(now - self.due)
            self.arrived = now
        if self.is_stream:
            self.last = (self.last + data)[-_LAST_BYTES:]
            # Enough for the search for the last chunk: ten thousand streams are not kept whole.
            if len(self.body) > _KEPT_PIECES * 2:
                del self.body[:-_KEPT_PIECES]

    def finish(self) -> None:
        """The reply is whole as HTTP sees it."""
        if self.number < 0:
            return
        series, took = self.load.series, monotonic() - self.due
        text = b"".join(self.body)[-300:].decode(errors="replace")
        end = self.stream_end()
        self.load.report.statuses[self.status] += 1
        if self.status != 200:
            series[REFUSAL].append(took)
            self.close_book(REFUSED, f"status {self.status}: {text}")
        elif end:
            self.close_book(end, f"no terminal event: {text}")
        else:
            series[TOTAL].append(took)
            self.close_book(COMPLETE)
        if self.is_closing:
            self.abort()
        else:
            self.load.release(self)

    def stream_end(self) -> str:
        """What is wrong with the end of this stream; nothing with that of one that brought its terminal event."""
        last = _FRAMING.sub(b"", self.last)
        if b'data: {"error"' in last or b"event: error" in last:
            return ERROR_EVENT
        is_done = not self.is_stream or b"data: [DONE]" in last or b"event: message_stop" in last
        return "" if is_done else CUT

    def close_book(self, outcome: str, problem: str = "") -> None:
        """The request on this connection is over."""
        number, self.number = self.number, -1
        self.load.settle(number, outcome, problem)

    def abort(self) -> None:
        """Close without ceremony."""
        if self.transport is not None:
            self.transport.abort()

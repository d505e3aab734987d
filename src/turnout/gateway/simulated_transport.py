"""Plays the simulated world's scripts in-process: a `Transport` without sockets, for `simulated` accounts and for tests.

It keeps the contract of `transport.py` to the letter (phases, ambiguity, what `take` and `chunk` give), so that the
engine cannot tell. No task runs: a script is played as far as its time has come, whenever somebody looks. What only
sockets can do has no meaning here: connections are never reused, `reset-next` and `close-after` are as a sound answer,
and `slow` gives single bytes without a wait.
"""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from turnout.core.catalog import Timeouts
from turnout.core.contracts import Headers, Outgoing
from turnout.core.simulation.script import UNTIL_CLOSE, Body, Close, End, Head, Interim, Repeat, Script, Stall, Step
from turnout.core.simulation.witness import Outcome
from turnout.core.simulation.world import World
from turnout.errors import Overloaded, UpstreamError, UpstreamFault, UpstreamTimeout
from turnout.gateway.clock import Clock
from turnout.gateway.connection import Sink

MOST_INTERIMS = 100
"""1xx heads before the final one, as in the transport on sockets (RELIABILITY T19)."""

MOST_BYTES = 256 * 1024
"""Body bytes given at once, as in the transport on sockets."""

_LABEL = "simulated"


class SimulatedIncoming:
    """One response, from its head on. See `transport.Incoming`."""

    def __init__(self, world: World, script: Script, timeouts: Timeouts, clock: Clock) -> None:
        self.status = 0
        self.headers: Headers = {}
        self.is_reused = False
        self._world = world
        self._dispatch = script.dispatch
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._timeouts = timeouts
        self._steps = script.steps
        self._place = 0
        self._repeated = 0
        self._length = 0
        self._interims = 0
        self._has_body = False
        self._has_ended = False
        self._failure: UpstreamError | None = None
        self._mark = now = self._loop.time()
        self._total_at = now + timeouts.total_s
        self._due = now + self._steps[0].delay_s

    async def open(self) -> None:
        """Wait for the head. Raises as `Transport.send` does."""
        while not self.status:
            step = await self._next()
            action = step.action
            if isinstance(action, Head):
                self.status, self._length = action.status, action.length
                self.headers = _joined(action.headers)
            elif isinstance(action, Interim):
                self._interims += action.times
                if self._interims > MOST_INTERIMS:
                    raise self._fail("more than 100 informational responses")
            else:
                raise self._fail("the connection ended before it answered")
            self._move()

    def mentions(self, word: bytes) -> bool:
        """See `Incoming`."""
        return any(word in name.encode() for name in self.headers)

    def take(self) -> bytes:
        """Return the body bytes whose time has come, b"" if there are none."""
        pieces: list[bytes] = []
        size = 0
        now = self._loop.time()
        while not self._has_ended and self._failure is None and self._due <= now and size < MOST_BYTES:
            action = self._steps[self._place].action
            if isinstance(action, Body):
                data = action.data
                self._tell(len(data), action.tokens, is_usage=action.is_usage)
                self._move()
            elif isinstance(action, Repeat):
                data = action.data
                self._tell(len(data), 0, is_usage=False)
                self._repeated += 1
                if self._repeated == action.times:
                    self._move()
            else:
                if isinstance(action, End):
                    self._end("complete" if action.is_whole else "cut")
                break
            pieces.append(data)
            size += len(data)
            if isinstance(action, Body) and action.is_apart:
                break
        if pieces:
            self._has_body = True
            self._mark = now
        return b"".join(pieces)

    async def chunk(self) -> bytes:
        """Return the next body bytes as soon as their time comes, b"" at the body's end."""
        while True:
            data = self.take()
            if data or self._has_ended:
                return data
            step = await self._next()
            if isinstance(step.action, Body | Repeat | End):
                continue
            if isinstance(step.action, Close) and self._length == UNTIL_CLOSE:
                self._end("cut")
                return b""
            raise self._fail("the connection ended before the response was whole")

    async def forward(self, sink: Sink) -> None:
        """Give `sink` each piece of body as it comes."""
        while (data := await self.chunk()) and sink(data):
            pass

    async def read(self, limit: int, *, cut: bool = False) -> bytes:
        """Return the whole body, at most `limit` bytes; see `transport.Incoming.read`."""
        pieces: list[bytes] = []
        room = limit
        try:
            while data := await self.chunk():
                pieces.append(data)
                room -= len(data)
                if room < 0:
                    self.close()
                    if not cut:
                        text = f"{_LABEL}: the response is longer than {limit} bytes"
                        raise UpstreamFault(text, is_ambiguous=True)
                    break
        except UpstreamError:
            if not cut:
                raise
        return b"".join(pieces)[:limit]

    def finish(self) -> None:
        """Nobody wants the rest."""
        self.close()

    def close(self) -> None:
        """The client is done with it: if it was not whole, the witness hears that it left. Safe to call again."""
        self._end("client-closed")

    async def _next(self) -> Step:
        """Return the step that is due, after waiting for it. Raises UpstreamTimeout when a phase takes too long."""
        if self._failure is not None:
            raise self._failure
        step = self._steps[self._place]
        limits = self._timeouts
        limit, phase = self._mark + limits.first_chunk_s, "first_chunk"
        if self._has_body:
            limit, phase = self._mark + limits.idle_s, "idle"
        if self._total_at < limit:
            limit, phase = self._total_at, "total"
        is_late = self._due > limit or isinstance(step.action, Stall)
        wait_s = (limit if is_late else self._due) - self._loop.time()
        if wait_s > 0:
            try:
                await asyncio.sleep(wait_s)
            except asyncio.CancelledError:
                self.close()
                raise
        if is_late:
            self.close()
            self._has_ended = False
            text = f"{_LABEL}: nothing within the time allowed ({phase})"
            self._failure = UpstreamTimeout(text, phase=phase, is_ambiguous=True)
            raise self._failure
        self._due = min(self._due, self._loop.time())  # a timer may ring a fraction early
        return step

    def _move(self) -> None:
        self._place += 1
        self._due += self._steps[self._place].delay_s

    def _tell(self, size: int, tokens: int, *, is_usage: bool) -> None:
        if self._dispatch is not None:
            self._world.witness.sent(self._dispatch, size, self._clock.now(), tokens=tokens, is_usage=is_usage)

    def _end(self, outcome: Outcome) -> None:
        self._has_ended = True
        if self._dispatch is not None:
            self._world.ended(self._dispatch, outcome, self._clock.now())

    def _fail(self, what: str) -> UpstreamError:
        action = self._steps[self._place].action
        self._end("cut" if isinstance(action, Close) else "reset")
        self._has_ended = False
        self._failure = UpstreamFault(f"{_LABEL}: {what}", is_ambiguous=True)
        return self._failure


class SimulatedTransport:
    """A way to the simulated world. clock: for the witness's times. world: None for one that is as FACTS §3 measured."""

    def __init__(self, clock: Clock, world: World | None = None) -> None:
        self.world = World(free_per_day=1000) if world is None else world
        self._clock = clock
        self._is_closed = False

    async def send(self, outgoing: Outgoing) -> SimulatedIncoming:
        """Give the world a request; return when the answer's head is there. See `Transport.send`."""
        if self._is_closed:
            raise Overloaded("the simulated transport is closed")
        if not self.world.accepts():
            raise UpstreamFault(f"{_LABEL}: the connection was reset", is_ambiguous=True)
        parts = urlsplit(outgoing.url)
        script = self.world.receive(
            outgoing.method,
            f"{parts.path}?{parts.query}" if parts.query else parts.path,
            outgoing.headers,
            bytes(outgoing.body),
            now=self._clock.now(),
            wall=self._clock.wall(),
        )
        incoming = SimulatedIncoming(self.world, script, outgoing.timeouts, self._clock)
        await incoming.open()
        return incoming

    async def close(self) -> None:
        """Take no more requests."""
        self._is_closed = True


def _joined(headers: tuple[tuple[str, str], ...]) -> Headers:
    joined: dict[str, str] = {}
    for name, value in headers:
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined

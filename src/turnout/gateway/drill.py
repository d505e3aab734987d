"""Plays a day's errands through a real engine against the simulated vendor, in virtual time, and returns both records of it.

One day, three ways: `turnout` is the engine with its quotas and its line; `first come` lets everybody wait in one queue
before an engine that knows no quotas; `fall back` asks at once and, when it is refused, asks the next model, then again
after a pause, as that engine does by itself. The vendor counts minutes, days and failed calls as it would for real; its
witness writes one record, the clients write the other, and core/simulation/verdict.py compares them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext
from typing import Any, Literal

import msgspec

from turnout import policies, providers
from turnout.core.catalog import Quota, Snapshot
from turnout.core.contracts import Call
from turnout.core.health import Health
from turnout.core.plan import Ask, Index
from turnout.core.simulation.chance import Chance
from turnout.core.simulation.verdict import DAY_S, MINUTE_S, Asked, How, Safe, Sent
from turnout.core.simulation.working_day import HOUR_S, Errand
from turnout.core.simulation.world import World
from turnout.dialects import DIALECTS
from turnout.errors import GatewayError
from turnout.gateway.downstream import Head
from turnout.gateway.engine import Engine
from turnout.gateway.overlay import prepared
from turnout.gateway.simulated_transport import SimulatedTransport
from turnout.gateway.tasks import Tasks
from turnout.gateway.virtual_time import VirtualClock, VirtualLoop, run_virtually

Way = Literal["turnout", "first come", "fall back"]
WAYS: tuple[Way, ...] = ("turnout", "first come", "fall back")

MONDAY = 1_795_392_000.0
"""Midnight UTC before Monday 23 November 2026, in Unix seconds."""

FAULTY = 0.02
"""The share of calls that the vendor fails with a 503; they count against the quota as all others do."""

THINKING_S = 2.0
"""How long a client takes for a tool, before it goes on with the conversation."""

AT_ONCE_S = 1.0
"""Who is told no later than this was not made to wait."""


def safe_of(quota: Quota) -> Safe:
    """What a quota leaves after its margin, in whole calls."""
    share = 1 - quota.margin + 1e-9  # a fraction of a fraction may come out a hair too small
    return Safe(int(quota.requests_minute * share), int(quota.requests_day * share), quota.at_once)


class Played(msgspec.Struct, frozen=True):
    """What clients and vendor wrote down. Instants in seconds after the day's beginning. codes: of errors, how many."""

    asked: list[Asked]
    sent: list[Sent]
    codes: dict[str, int]


def play(
    wanted: Sequence[Errand],
    way: Way,
    snapshot: Snapshot,
    quota: Quota,
    *,
    hours: float,
    learning_hours: float = 0.0,
    seed: int = 1,
    on_hour: Callable[[int], object] = lambda _hours: None,
) -> Played:
    """Play them one way. snapshot: with its quotas, which only `turnout` knows of. quota: what the vendor allows.

    learning_hours: whole days that come before, are played alike, and are no part of the record but for what still waits at
    their end; instants in the record count from there. on_hour: called with the number of hours that are over, after each.

    About 3 ms of CPU a call. Raises Standstill if the day gets stuck: a fault of ours.
    """
    until_h = learning_hours + hours

    async def main(loop: VirtualLoop) -> Played:
        day = _Day(loop, way, snapshot, quota, seed)
        await day.run(wanted, until_h, on_hour)
        return day.record(learning_hours * HOUR_S)

    return run_virtually(main)


class _Day:
    """One day as it is played."""

    def __init__(
        self,
        loop: VirtualLoop,
        way: Way,
        snapshot: Snapshot,
        quota: Quota,
        seed: int,
    ) -> None:
        self._loop = loop
        self._begin = loop.time()
        self._clock = VirtualClock(loop, began=MONDAY, seed=seed)
        self._world = World(
            seed,
            free_per_minute=quota.requests_minute,
            free_per_day=quota.requests_day,
            failure_rate=0.0,
            faults=_Faults(seed),
        )
        self._world.origin = self._begin
        known = providers.installed()
        transport = SimulatedTransport(self._clock, self._world)
        self._engine = Engine(
            Index.of(prepared(snapshot if way == "turnout" else without_quotas(snapshot), known)),
            health=Health(snapshot.breaker),
            clock=self._clock,
            transports={"https": transport, "simulated": transport},
            dialects=DIALECTS,
            providers=known,
            policies=policies.installed(),
            on_begin=lambda: None,
            on_end=lambda _exchange: None,
        )
        self._door = Door(loop, safe_of(quota)) if way == "first come" else None
        self._tasks = Tasks()
        self._seen: list[_Seen] = []

    async def run(self, wanted: Sequence[Errand], hours: float, on_hour: Callable[[int], object]) -> None:
        """Let everybody come at their time; after `hours` whoever still waits is written down as waiting."""
        clients = [self._tasks.start(self._client(errand), errand.name) for errand in wanted]
        for hour in range(1, -int(-hours // 1) + 1):
            await asyncio.sleep(self._begin + min(hour, hours) * HOUR_S - self._loop.time())
            for client in clients:
                if client.done():
                    client.result()  # raises what is a fault of ours
            on_hour(hour)
        await self._tasks.stop()

    # ── one client ──

    async def _client(self, errand: Errand) -> None:
        await asyncio.sleep(self._begin + errand.at_s - self._loop.time())
        messages: list[dict[str, Any]] = [{"role": "user", "content": errand.prompt}]
        for number in range(errand.calls):
            if not await self._ask(errand, messages, is_last=number == errand.calls - 1):
                break
            tool = errand.tools[number % len(errand.tools)] if errand.tools else ""
            called = {"id": f"call_{number}", "type": "function", "function": {"name": tool, "arguments": "{}"}}
            messages.append({"role": "assistant", "content": None, "tool_calls": [called]})
            messages.append({"role": "tool", "tool_call_id": called["id"], "content": "ok"})
            await asyncio.sleep(THINKING_S)

    async def _ask(self, errand: Errand, messages: list[dict[str, Any]], *, is_last: bool) -> bool:
        """Make one call; return whether it was answered."""
        call = _call(errand, messages, is_last=is_last)
        at = self._loop.time()
        seen = _Seen(self._clock.request_id(), _priority(errand), at, at + errand.patience_s)
        self._seen.append(seen)
        try:
            async with asyncio.timeout_at(seen.until), self._door.turn() if self._door else nullcontext():
                await self._engine.serve(call, self._said(errand, call), seen.request_id, Answer())
            seen.how = "answered"
        except TimeoutError:
            seen.how = "gave up"
        except GatewayError as error:
            seen.how = "told no"
            seen.code = error.code
        seen.ended = self._loop.time()
        return seen.how == "answered"

    def _said(self, errand: Errand, call: Call) -> Ask:
        """What the request says in its headers and its body."""
        return Ask(
            name=call.name,
            task=errand.task,
            user=errand.caller,
            stream=call.stream,
            needs=call.needs,
            input_tokens=call.input_tokens,
            tools=call.tools,
            priority=errand.priority,
            timeout_s=None if errand.by_s is not None else errand.patience_s,
            by=None if errand.by_s is None else MONDAY + errand.by_s,
        )

    # ── the records ──

    def record(self, since_s: float) -> Played:
        """What the witness saw, and what the clients saw, joined by the request's id. since_s: how much of it not to tell."""
        now, begin = self._loop.time(), self._begin + since_s
        sent: dict[str, list[Sent]] = {}
        for one in self._world.witness.dispatches:
            if one.received_at >= begin:
                until = now if one.ended_at is None else one.ended_at
                calls = sent.setdefault(one.request_id.rpartition("-")[0], [])
                calls.append(Sent(one.received_at - begin, until - begin, one.status))
        asked: list[Asked] = []
        codes: dict[str, int] = {}
        for seen in self._seen:
            if seen.how != "waiting" and seen.ended < begin:
                continue
            calls = sent.get(seen.request_id, [])
            taken = [one.at for one in calls if one.status != 429]
            last = taken[-1] if taken else None
            asked.append(Asked(seen.priority, seen.at - begin, seen.until - begin, _how(seen, calls), last))
            if seen.code:
                codes[seen.code] = codes.get(seen.code, 0) + 1
        return Played(asked, [one for calls in sent.values() for one in calls], codes)


class _Seen(msgspec.Struct):
    """One call as its client saw it. Instants on the loop's clock. code: of the error that it was told."""

    request_id: str
    priority: str
    at: float
    until: float
    ended: float = 0.0
    how: Literal["answered", "told no", "gave up", "waiting"] = "waiting"
    code: str = ""


def _how(seen: _Seen, calls: Sequence[Sent]) -> How:
    """Say how a call ended. Who is told no after a wait, and was never sent, has waited for nothing."""
    if seen.how != "told no":
        return seen.how
    if calls:
        return "refused" if any(one.status == 429 for one in calls) else "failed"
    return "refused" if seen.ended - seen.at <= AT_ONCE_S else "gave up"


def _priority(errand: Errand) -> str:
    """As the request says, else by the rule: three tools or more are high."""
    return errand.priority or ("high" if len(errand.tools) >= 3 else "medium")


def _call(errand: Errand, messages: list[dict[str, Any]], *, is_last: bool) -> Call:
    """The request, as a client writes it: all but the last of a conversation are answered by a tool call."""
    body: dict[str, Any] = {"model": "", "messages": messages, "stream": errand.is_stream, "user": errand.caller}
    if errand.tools:
        body["tools"] = [
            {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in errand.tools
        ]
        body["tool_choice"] = "none" if is_last else "required"
    return DIALECTS["openai_chat"].decode(msgspec.json.encode(body))


def without_quotas(snapshot: Snapshot) -> Snapshot:
    """The same configuration, ignorant of what its vendors allow."""
    candidates = {name: msgspec.structs.replace(one, quotas=()) for name, one in snapshot.candidates.items()}
    return msgspec.structs.replace(snapshot, quotas={}, candidates=candidates)


class Answer:
    """A client that takes everything at once and keeps nothing. Implements gateway.downstream.Downstream."""

    is_paused = False
    on_gone: Callable[[], object] | None = None

    def __init__(self) -> None:
        self.is_started = False

    def start(self, status: int, headers: Head) -> None:
        """Begin."""
        del status, headers
        self.is_started = True

    def answer(self, status: int, headers: Head, body: bytes) -> None:
        """All of it."""
        del body
        self.start(status, headers)

    def write(self, data: bytes) -> None:
        """A piece."""

    async def drain(self) -> None:
        """Nothing waits."""

    def finish(self) -> None:
        """The end."""

    def cut(self) -> None:
        """An end too soon, of which the engine tells by raising."""


class _Faults:
    """A world's function of faults: one call in fifty fails."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._asked = 0

    def __call__(self, model: str) -> str:
        self._asked += 1
        return "503" if Chance(self._seed, model.encode(), self._asked).draw("fault") < FAULTY else ""


class Door:
    """One queue for all: who came first goes first, as soon as a call is safe a minute, a day and at once."""

    def __init__(self, loop: VirtualLoop, safe: Safe) -> None:
        self._loop = loop
        self._safe = safe
        self._begin = loop.time()
        self._line: deque[asyncio.Future[None]] = deque()
        self._went: deque[float] = deque(maxlen=safe.per_day)
        self._inside = 0
        self._timer: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait in the queue, then keep one place until it is over."""
        place = self._loop.create_future()
        self._line.append(place)
        self._advance()
        try:
            await place
            yield
        finally:
            if place.done() and not place.cancelled():
                self._inside -= 1
            self._advance()

    def _advance(self) -> None:
        """Let in whoever may go; ring when the next may."""
        while self._line and self._inside < self._safe.at_once:
            if self._line[0].done():  # it left
                self._line.popleft()
                continue
            wait_s = self._free_at() - self._loop.time()
            if wait_s > 0:
                if self._timer is None:
                    self._timer = self._loop.call_later(wait_s, self._ring)
                return
            self._inside += 1
            self._went.append(self._loop.time())
            self._line.popleft().set_result(None)

    def _ring(self) -> None:
        self._timer = None
        self._advance()

    def _free_at(self) -> float:
        """When the next call is safe."""
        free_at = 0.0
        if len(self._went) >= self._safe.per_minute:
            free_at = self._went[-self._safe.per_minute] + MINUTE_S
        if len(self._went) == self._safe.per_day:
            day = (self._went[0] - self._begin) // DAY_S
            free_at = max(free_at, self._begin + (day + 1) * DAY_S)
        return free_at

"""Answers a request from what is kept, or together with others that ask the same; else has it answered, and keeps that.

    objection, wish    may a cache come between at all, and does the client want it to
    the shelf          what this process keeps: under the candidate that answered, looked for in the plan's own order
    a flight           the same question is being asked: read along
    the level          what other gateways keep
    the finders        what else may know the answer
    upstream           nobody knows it: ask, and keep it if it can be given again

Rules. One workspace never sees, waits for, or learns of what another asked: its name is part of the question. Only answers
of the plan's own arm count, and where the request names a model, of that model alone. Two requests share a flight only if
they would be treated alike: the same target, arm and candidates, as urgent and as patient, and told as little of what goes
wrong (gateway/outward.py). What is kept is an answer that
ended well, as long as its model wanted it, by one candidate; what is not clear is not kept.
A request without a cache never comes here (Terms.cache_s is 0).
Sources: RELIABILITY R12, F12; RFC 9111 §4 (`age`), §5.2.1; RFC 9211 knows hit, and collapsed for `coalesced`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal, Protocol, TypeAlias

import msgspec

from turnout.core.caching import Kept, Shelf, Wish, digest, flaw, kept_of, objection, pack, shelf_key, unpack, wish
from turnout.core.contracts import Dialect
from turnout.core.plan import Choice, Plan
from turnout.core.principal import is_virtual
from turnout.errors import ClientDisconnected, GatewayError, GatewayStopping, InternalError
from turnout.gateway.answer import JSON_HEADERS, SSE_HEADERS
from turnout.gateway.clock import Clock
from turnout.gateway.exchange import AnswerHeads, Exchange
from turnout.gateway.flights import PIECE_BYTES, Flight
from turnout.gateway.tasks import Tasks
from turnout.stores import CacheLevel

LEAST_FLIGHT_BYTES = 64 * 1024
"""How long an answer may be to be held whole while it comes, however many others are on their way."""

Asks: TypeAlias = Callable[[Exchange, Plan], Awaitable[None]]
"""Has an exchange answered on its `down`: the engine's way upstream, or whoever stands before it."""

FlightKey: TypeAlias = tuple[object, ...]

Keys: TypeAlias = Mapping[str, tuple[Choice, bytes]]
"""By candidate: whose answers would do, in order, and under which key each is kept."""


class Finder(Protocol):
    """Somebody who may know an answer that is not kept under the very same question. Asked once for each flight."""

    async def find(self, exchange: Exchange, planned: Plan) -> tuple[Choice, Kept] | None:
        """Return an answer and who gave it, of the exchange's own workspace; None if there is none, and never late."""
        ...

    def learn(self, exchange: Exchange, planned: Plan, kept: Kept) -> None:
        """Hear of an answer that was just given, and kept."""
        ...

    def clear(self, workspace: str | None) -> int:
        """Forget one workspace's answers, or all of them; return how many."""
        ...

    def tell(self, stats: CacheStats) -> None:
        """Add what came of it."""
        ...

    async def stop(self) -> None:
        """Wait for what is under way, or give it up."""
        ...


class SemanticStats(msgspec.Struct):
    """What came of one task's questions in other words. state: shadow, trial (not known well enough yet), on, or off (it
    was wrong more often than allowed). looked: that were looked up; near: that had a near one; guarded: of those, the ones
    that its words spoke against, by what; would_be: the others. served: those that were answered so. compared: those whose
    answer was held against the real one; false: those of them that said something else; false_hit_rate: of the last ones.
    """

    state: Literal["shadow", "trial", "on", "off"]
    looked: int = 0
    near: int = 0
    guarded: dict[str, int] = {}
    would_be: int = 0
    served: int = 0
    compared: int = 0
    false: int = 0
    false_hit_rate: float | None = None


class CacheStats(msgspec.Struct):
    """What the cache holds, and what came of it since the start. size_bytes: of memory. saved_nano_usd: what the answers
    that were given again had cost. unkept: answers that were not kept, though the request was one for the cache.
    inputs_kept, inputs_asked: texts of embeddings requests that were not asked for again, and those that were.
    semantic: by task.
    """

    entries: int = 0
    size_bytes: int = 0
    flights: int = 0
    hits: int = 0
    misses: int = 0
    coalesced: int = 0
    bypassed: int = 0
    unkept: int = 0
    evicted: int = 0
    saved_calls: int = 0
    saved_nano_usd: int = 0
    inputs_kept: int = 0
    inputs_asked: int = 0
    semantic: dict[str, SemanticStats] = {}

    @property
    def hit_ratio(self) -> float:
        """The share of requests that nobody was asked for, 0 before there was one."""
        given = self.hits + self.coalesced
        return given / max(1, given + self.misses + self.bypassed)


class Cache:
    """What is kept, and what is on its way. level: shared with other gateways, None for none. finders: see Finder.

    shelf: what this process keeps; finders may keep theirs on it.
    """

    def __init__(self, clock: Clock, heads: AnswerHeads, dialects: Mapping[str, Dialect]) -> None:
        self.level: CacheLevel | None = None
        self.finders: list[Finder] = []
        self.shelf = Shelf()
        self._clock = clock
        self._heads = heads
        self._dialects = dialects
        self._flights: dict[FlightKey, tuple[Flight, Exchange]] = {}
        self._tasks = Tasks()
        self._stats = CacheStats()

    async def serve(self, exchange: Exchange, planned: Plan, ask: Asks) -> None:
        """Answer the exchange, by `ask` only if nobody knows the answer. Raises what `ask` raises."""
        wanted = wish(exchange.ask.cache_control)
        question = digest(exchange.call, exchange.ask.workspace) if not objection(exchange.call) else None
        if question is None or not wanted.writes:
            exchange.cache = "bypass"
            self._stats.bypassed += 1
            await ask(exchange, planned)
            return
        keys = _keys(question, planned)
        if not wanted.reads:
            exchange.cache = "bypass"
            self._stats.bypassed += 1
            await self._lead(exchange, planned, keys, ask, None)
            return
        flight_key: FlightKey = ()
        while True:
            if found := self._on_shelf(planned, keys, wanted):
                await self._replay(exchange, *found)
                return
            flight_key = flight_key or _flight_key(question, exchange, planned)
            flight, leader = self._flights.get(flight_key, (None, None))
            if flight is None or leader is None or not flight.is_open:
                exchange.cache = "miss"
                await self._lead(exchange, planned, keys, ask, flight_key)
                return
            exchange.cache = "coalesced"
            if await flight.follow(exchange.down, lambda head: self._heads.shared(exchange, head)):
                self._stats.coalesced += 1
                self._note(exchange, *leader.answer)
                return

    async def _lead(
        self,
        exchange: Exchange,
        planned: Plan,
        keys: Keys,
        ask: Asks,
        flight_key: FlightKey | None,
    ) -> None:
        """Have it answered for all who ask the same meanwhile. flight_key: None if nobody may read along."""
        down, rule = exchange.down, exchange.snapshot.cache
        room = max(LEAST_FLIGHT_BYTES, rule.size_bytes // (len(self._flights) + 1))
        flight = Flight(
            down,
            # Of a batch of embeddings each item is kept by itself, so its length says nothing of theirs.
            bound_bytes=room if exchange.call.kind == "embedding" else min(rule.answer_bytes, room),
            tasks=self._tasks,
            error_event=self._dialects[exchange.call.dialect].encode_error_event,
        )
        exchange.down = flight
        if flight_key is not None:
            self._flights[flight_key] = (flight, exchange)
        try:
            found = None if flight_key is None else await self._elsewhere(exchange, planned, keys)
            if found is not None:
                await self._replay(exchange, *found)
            else:
                self._stats.misses += flight_key is not None
                await ask(exchange, planned)
                self._keep(exchange, planned, keys, flight)
        finally:
            if flight_key is not None and self._flights.get(flight_key, (None, None))[0] is flight:
                del self._flights[flight_key]
            flight.end(_failure(sys.exception()))
            exchange.down = down
        await flight.settle()

    # ── what is kept ──

    def _on_shelf(self, planned: Plan, keys: Keys, wanted: Wish) -> tuple[Choice, Kept] | None:
        now = self._clock.now()
        max_age_s = min(planned.terms.cache_s, wanted.max_age_s)
        for choice, key in keys.values():
            if (kept := self.shelf.get(key, now, max_age_s)) is not None:
                return choice, kept
        return None

    async def _elsewhere(self, exchange: Exchange, planned: Plan, keys: Keys) -> tuple[Choice, Kept] | None:
        """Return what other gateways or the finders know."""
        if self.level is not None:
            wanted = wish(exchange.ask.cache_control)
            held = await self.level.get([key for _, key in keys.values()])
            now, wall = self._clock.now(), self._clock.wall()
            for (choice, key), data in zip(keys.values(), held, strict=False):
                kept = None if data is None else unpack(data, now, wall)
                if kept is None or kept.workspace != exchange.ask.workspace:
                    continue
                self.shelf.put(key, kept, now, exchange.snapshot.cache.size_bytes)
                if now - kept.at < min(kept.ttl_s, planned.terms.cache_s, wanted.max_age_s):
                    return choice, kept
        for finder in self.finders:
            if (found := await finder.find(exchange, planned)) is not None:
                return found
        return None

    def _keep(self, exchange: Exchange, planned: Plan, keys: Keys, flight: Flight) -> None:
        """Keep the answer that was just given, if it may be given again."""
        rule, call, body = exchange.snapshot.cache, exchange.call, flight.body
        choice, cost_nano_usd = exchange.answer
        _, key = keys.get(choice.candidate.key, (None, None)) if choice is not None else (None, None)
        is_of_one = exchange.parts is None or exchange.parts.earlier is None
        if key is None or body is None or not is_of_one or flaw(call, body, rule.safe_tools, exchange.finish_reason):
            self._stats.unkept += 1
            return
        now = self._clock.now()
        kept = kept_of(call, body, now, planned.terms.cache_s, cost_nano_usd, exchange.ask.workspace)
        if call.kind != "embedding":  # of those each input is kept by itself: gateway/embedding_cache.py
            self._put(key, kept, now, rule.size_bytes)
        for finder in self.finders:
            finder.learn(exchange, planned, kept)

    def _put(self, key: bytes, kept: Kept, now: float, room_bytes: int) -> None:
        """Hold an answer, here and where other gateways find it."""
        self.shelf.put(key, kept, now, room_bytes)
        if self.level is not None:
            data = pack(kept, now, self._clock.wall())
            self._tasks.start(self.level.put(key, data, kept.ttl_s), "share an answer")

    async def _replay(self, exchange: Exchange, choice: Choice, kept: Kept) -> None:
        """Give an answer again."""
        exchange.cache = "hit"
        self._stats.hits += 1
        self._note(exchange, choice, kept.cost_nano_usd)
        down, body = exchange.down, kept.body
        age_s = max(0, int(self._clock.now() - kept.at))
        content = SSE_HEADERS if exchange.call.stream else JSON_HEADERS
        head = self._heads.again(exchange, choice, content, age_s)
        if not exchange.call.stream:
            down.answer(200, head, body)
            return
        down.start(200, head)
        for at in range(0, len(body), PIECE_BYTES):
            if down.is_paused:
                await down.drain()
            down.write(body[at : at + PIECE_BYTES])
        down.finish()

    def _note(self, exchange: Exchange, choice: Choice | None, cost_nano_usd: int) -> None:
        """An answer was given that nobody was asked for: whose it is, and what it saved."""
        exchange.answered = choice
        exchange.saved_nano_usd = cost_nano_usd
        self._stats.saved_calls += 1
        self._stats.saved_nano_usd += cost_nano_usd

    # ── what is told ──

    def stats(self) -> CacheStats:
        """Return what there is, and what came of it since the start. O(1)."""
        stats, shelf = self._stats, self.shelf
        stats.entries, stats.size_bytes, stats.evicted = len(shelf), shelf.size_bytes, shelf.evicted
        stats.flights = len(self._flights)
        for finder in self.finders:
            finder.tell(stats)
        return msgspec.structs.replace(stats)

    async def clear(self, workspace: str | None = None) -> int:
        """Forget one workspace's answers, or all (then the shared ones too); return how many of ours. O(answers)."""
        gone = self.shelf.clear(workspace) + sum(finder.clear(workspace) for finder in self.finders)
        if workspace is None and self.level is not None:
            await self.level.clear()
        return gone

    async def stop(self) -> None:
        """Wait for what is being shared. No request is under way any more."""
        await self._tasks.ended()
        for finder in self.finders:
            await finder.stop()


def own_choices(planned: Plan) -> list[Choice]:
    """Return whose answers would do, in order: the plan's own arm, and where a model is named, that model alone."""
    named = planned.target.removeprefix("model ") if planned.target.startswith("model ") else ""
    return [
        choice
        for choice in planned.choices
        if choice.arm == planned.arm and (not named or choice.candidate.model.name == named)
    ]


def _keys(question: bytes, planned: Plan) -> Keys:
    return {choice.candidate.key: (choice, shelf_key(question, choice.candidate)) for choice in own_choices(planned)}


def _flight_key(question: bytes, exchange: Exchange, planned: Plan) -> FlightKey:
    """Return what two requests must have in common to be one call: the question, and how it would be treated."""
    ask = exchange.ask
    candidates = frozenset([choice.candidate.key for choice in planned.choices])
    treated = (planned.target, planned.task, planned.arm, candidates, ask.priority, ask.timeout_s, ask.by)
    return question, *treated, is_virtual(ask.key_id)


def _failure(error: BaseException | None) -> GatewayError | None:
    """Return what the followers are told of what ended their leader; None if it is the leader's own affair."""
    if error is None or isinstance(error, ClientDisconnected):
        return None
    if isinstance(error, GatewayError):
        return error
    if isinstance(error, asyncio.CancelledError):
        return GatewayStopping() if error.args[:1] == (GatewayStopping.code,) else None
    return InternalError("a bug in Turnout")

"""Lets requests in, or refuses them, by the limits of who asks; frees what a request took when it ends.

All or nothing over every name that a limit is about (core/limiting.py), before anything else is done for a request; a
refusal costs nothing. Where several gateways share the books they share the limits too (gateway/shared_limits.py).
Cost: about 1 µs, and 1 µs for each name, of which a request with a key, a user and a limit over all has three.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import ceil, inf
from typing import Final

from turnout.core.catalog import Snapshot
from turnout.core.limit_names import Meters
from turnout.core.limit_view import LimitView, unused, view
from turnout.core.limiting import Denied, Meter, Room, What, charge, deny, settle, tightest
from turnout.core.principal import Who
from turnout.core.quota_window import Slot
from turnout.core.rules import Limit
from turnout.errors import RateLimited
from turnout.gateway.clock import Clock
from turnout.gateway.downstream import Head
from turnout.gateway.shared_limits import SharedLimits
from turnout.stores import Database

_WORDS: Final = {
    "requests": "requests in any 60 seconds",
    "tokens": "tokens in any 60 seconds",
    "at_once": "requests at once",
}


class Held:
    """What one request took: a place, a request and tokens, of each name. `end` gives back what it did not use."""

    __slots__ = ("_limiter", "_meters", "_reserved", "_slots")

    def __init__(self, limiter: Limiter, meters: Sequence[Meter], slots: Sequence[Slot], reserved: int) -> None:
        self._limiter = limiter
        self._meters = meters
        self._slots = slots
        self._reserved = reserved

    def headers(self) -> Head:
        """Return what the answer says of limits, in OpenAI's words: of the name that has the smallest part left."""
        return headers_of(self._meters, self._limiter.now())

    def end(self, tokens: int) -> None:
        """The request is over, and used so many tokens. Safe to say twice; never raises."""
        meters, self._meters = self._meters, ()
        if meters:
            self._limiter.end(meters, self._slots, self._reserved, tokens)


class Limiter:
    """The limits of one gateway. writer: its name in the books. database: None for one that shares with nobody.

    refused: how many requests each kind of limit has refused, by scope and what was used up.
    """

    def __init__(self, database: Database | None, writer: str, clock: Clock) -> None:
        self.refused: dict[tuple[str, What], int] = {}
        self.now = clock.now
        self._meters = Meters()
        self._shared = None if database is None else SharedLimits(database, writer, clock, self._meters)

    def install(self, snapshot: Snapshot, limits: Iterable[Limit] = ()) -> None:
        """Obey these from now on; what was used stays. limits: those that were given to people and keys, which replace the
        config's of the same name.
        """
        self._meters.install((*snapshot.limits, *limits), snapshot.tiers.values())
        if self._shared is not None:
            self._shared.changed()

    async def start(self) -> None:
        """Look who shares the books; after they were opened. Never raises."""
        if self._shared is not None:
            await self._shared.start()

    async def stop(self) -> None:
        """Leave what we hold to the others; before the books are closed. Never raises."""
        if self._shared is not None:
            await self._shared.stop()

    @property
    def others(self) -> int:
        """How many other gateways share these limits."""
        return 0 if self._shared is None else self._shared.others

    def __len__(self) -> int:
        """How many names are counted."""
        return len(self._meters)

    def meters(self) -> Iterator[Meter]:
        """Every name that is counted."""
        return iter(self._meters)

    def views(self, wall: float) -> Iterator[LimitView]:
        """Yield where the limit of every name stands that is counted, or that a limit names. wall: now, Unix seconds. 3 µs each."""
        now = self.now()
        for meter in self._meters:
            yield view(meter, now, wall)
        for name, rates in self._meters.unused():
            yield unused(name, rates)

    # ── a request ──

    async def admit(self, who: Who, tokens: int) -> Held:
        """Count a request for all that limits it, or raise RateLimited: then nothing is counted.

        tokens: what it may use at most, input and output. Does not suspend unless this gateway holds too little of a limit
        that it shares, and even then no longer than a second.
        """
        now = self.now()
        meters = self._meters.of(who, now)
        if (self._shared is None or now < self._shared.sure_until) and deny(meters, tokens, now) is None:
            return Held(self, meters, charge(meters, tokens, now), tokens)
        return await self._admit_slowly(who, tokens)

    async def _admit_slowly(self, who: Who, tokens: int) -> Held:
        round_ = 0
        while True:
            if self._shared is not None:
                await self._shared.be_sure()
            now = self.now()
            meters = self._meters.of(who, now)  # anew: while it waited, meters may have been forgotten
            denied = deny(meters, tokens, now)
            if denied is None:
                return Held(self, meters, charge(meters, tokens, now), tokens)
            if self._shared is None or denied.is_final or not await self._shared.more(meters, tokens, round_):
                raise self._refusal(denied, meters, tokens)
            round_ += 1

    def end(self, meters: Sequence[Meter], slots: Sequence[Slot], reserved: int, tokens: int) -> None:
        """See Held.end."""
        settle(meters, slots, reserved, tokens, self.now())
        if tokens > reserved and self._shared is not None:
            for meter in meters:
                self._shared.used_more(meter)

    def _refusal(self, denied: Denied, meters: Sequence[Meter], tokens: int) -> RateLimited:
        meter, what = denied.meter, denied.what
        kind, _, name = meter.name.partition(":")
        self.refused[kind, what] = self.refused.get((kind, what), 0) + 1
        limit = {
            "requests": meter.limit.requests_minute,
            "tokens": meter.limit.tokens_minute,
            "at_once": meter.limit.at_once,
        }
        whose = f"{kind} {name!r}" if name else "all requests together"
        told = headers_of(meters, self.now())
        if denied.wait_s == inf:
            error = RateLimited(
                f"The limit of {whose} is {limit[what]:,} {_WORDS[what]}, and this request alone may use {tokens:,}. Ask for "
                "a shorter answer (max_tokens), or send less."
            )
            error.headers = (*told, (b"x-should-retry", b"false"))
            return error
        needs = f", and this request may use {tokens:,}" if what == "tokens" else ""
        error = RateLimited(
            f"The limit of {whose} is {limit[what]:,} {_WORDS[what]}; it is used up{needs}. "
            f"Send this again in {ceil(denied.wait_s):,} s.",
            retry_after_s=denied.wait_s,
        )
        error.headers = tuple(told)
        return error


def headers_of(meters: Sequence[Meter], now: float) -> Head:
    """Return how limits stand, as OpenAI's headers say it. [] where none of requests or tokens holds."""
    found: list[tuple[bytes, bytes]] = []
    for kind, room in zip((b"requests", b"tokens"), tightest(meters, now), strict=True):
        if room is not None:
            found += _of_room(kind, room)
    return found


def _of_room(kind: bytes, room: Room) -> Head:
    return (
        (b"x-ratelimit-limit-" + kind, b"%d" % room.limit),
        (b"x-ratelimit-remaining-" + kind, b"%d" % room.left),
        (b"x-ratelimit-reset-" + kind, _duration(room.reset_s)),
    )


def _duration(seconds: float) -> bytes:
    """As OpenAI writes it: 1m0.5s, 59.5s, 0s; rounded up to milliseconds."""
    minutes, milliseconds = divmod(ceil(seconds * 1000), 60_000)
    rest = b"%gs" % (milliseconds / 1000)
    return b"%dm" % minutes + rest if minutes else rest

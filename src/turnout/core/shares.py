"""Keeps what one gateway of several used of a quota they share, and the share of it that it may use alone.

The rest of a quota is a pool in a shared store. A share is taken out of the pool in advance, so that a gateway which cannot
reach the store may go on and all of them together never use more than the quota: of a minute a window of its own, of a
day an amount that only shrinks, of "at once" some places. What was used of either is remembered for as long as it
counts, to tell a store that returns empty. Pure: `now` is monotonic seconds, `wall` Unix seconds.
Sources: RELIABILITY E2 (a lease deducted before), T61, T63, T65.
"""

from __future__ import annotations

from datetime import tzinfo
from math import inf
from typing import TypeAlias

import msgspec

from turnout.core.catalog import Quota
from turnout.core.quota_window import Slot, Window
from turnout.core.vendor_day import day_at, zone

ALONE_S = 600.0
"""How long a share may be used without word from the store. After that it may have been given to others."""

TOKENS_LEAST = 4000
"""The least share of tokens that is wanted: one usual call's. Source: FACTS §3, conversations with tools."""

PLACE_S = 1.0
"""When to look again for what only somebody's end can free."""


class Amounts(msgspec.Struct, array_like=True):
    """One number for each limit that a quota can have."""

    requests_minute: int = 0
    tokens_minute: int = 0
    requests_day: int = 0
    tokens_day: int = 0
    at_once: int = 0


class Answer(msgspec.Struct, array_like=True):
    """To `take`, `change` and `leave`. word: yes, no, join (tell us what you used first), late. number: seconds."""

    word: str
    number: float


class Given(msgspec.Struct, array_like=True):
    """Of one quota, to a beat. more: of its share. goal: what it should hold at most. used: by all, shares not counted."""

    name: str
    more: Amounts
    goal: Amounts
    used: Amounts


class Welcome(msgspec.Struct, array_like=True):
    """To a beat. word: yes, seed (tell what you used), late. opens_s: until the pool serves."""

    word: str
    members: list[str]
    given: list[Given]
    opens_s: float


Seed: TypeAlias = tuple[str, float, list[tuple[float, int, int]], list[int], list[int]]
"""What is told of a quota: its name, the day's end, [seconds since, requests, tokens] of the minute oldest first, requests and
tokens of the day, and the most that is known of the day."""


def limits_of(quota: Quota, tokens: int = 0) -> Amounts:
    """Return what may be used, margin taken off; 0: no limit. tokens: of a call, which may go alone if it is larger."""

    def usable(limit: int, least: int) -> int:
        return max(int(limit * (1 - quota.margin) + 1e-9), min(least, limit)) if limit else 0

    return Amounts(
        usable(quota.requests_minute, 1),
        usable(quota.tokens_minute, tokens),
        usable(quota.requests_day, 1),
        usable(quota.tokens_day, tokens),
        quota.at_once,
    )


class Use:
    """What one call used of one quota. slot: where its minute counts it; day: the end of its day.

    is_alone: by the share, not from the pool. has_place: its place at once is of the share, which a call that is counted in the
    pool may bring along: else places that nobody else may use would keep back calls for which the pool has room.
    """

    __slots__ = ("day", "has_ended", "has_place", "is_alone", "requests", "slot", "tokens")

    def __init__(self, slot: Slot, day: float, requests: int, tokens: int, *, is_alone: bool, has_place: bool) -> None:
        self.slot = slot
        self.day = day
        self.requests = requests
        self.tokens = tokens
        self.is_alone = is_alone
        self.has_place = has_place
        self.has_ended = False


class OwnUse:
    """One gateway's use of one quota. Not thread-safe. O(1) amortised, `wait_s` O(240).

    share: what it holds: windows for a minute, what is left for a day, places at once. spent: [requests, tokens] of today's
    day by the share, pooled: the same from the pool. known: the most that is known to have been used today, by all.
    under_way: in places of the share. most_at_once: calls under way together, at most, since `wanted` was asked last.
    """

    def __init__(self, quota: Quota, now: float, wall: float) -> None:
        self.share = Amounts()
        self.pool = Window()
        self.alone = Window()
        self.day = 0.0
        self.pooled = [0, 0]
        self.spent = [0, 0]
        self.known = [0, 0]
        self.under_way = 0
        self.most_at_once = 0
        self._in_all = 0
        self._largest = 0
        self.configure(quota)
        self.turn(now, wall)

    def configure(self, quota: Quota) -> None:
        """Obey another configuration; what was used stays."""
        self.quota = quota
        self._zone: tzinfo | None = zone(quota.day_zone) if quota.requests_day or quota.tokens_day else None

    def turn(self, now: float, wall: float) -> None:
        """Forget what is over. The share of a day stays what it is: it is for whatever day comes."""
        self.pool.expire(now)
        self.alone.expire(now)
        if self._zone is None:
            self.day = 0.0
        elif wall >= self.day:
            self.day = day_at(self._zone, self.quota.day_starts_s, wall).end
            self.pooled, self.spent, self.known = [0, 0], [0, 0], [0, 0]

    # ── alone ──

    def wait_s(self, requests: int, tokens: int, now: float) -> float:
        """Return the seconds until the share has room, 0.0 for now, inf for a share that is too small. `turn` first."""
        limits, share = limits_of(self.quota, tokens), self.share
        over = [0, 0]
        for at, (limit, most, used, need) in enumerate(
            (
                (limits.requests_minute, share.requests_minute, self.alone.requests, requests),
                (limits.tokens_minute, share.tokens_minute, self.alone.tokens, tokens),
            )
        ):
            if limit:
                if need > most:
                    return inf
                over[at] = max(0, used + need - most)
        if (limits.requests_day and requests > share.requests_day) or (limits.tokens_day and tokens > share.tokens_day):
            return inf
        if limits.at_once and self.under_way >= share.at_once:
            return PLACE_S if share.at_once else inf
        return max(0.0, self.alone.free_at(*over) - now) if any(over) else 0.0

    # ── either way ──

    def take_place(self) -> bool:
        """Take a place of the share, if one is free, to bring it along to the pool. A call that uses none is to `leave_place`."""
        if self.under_way >= self.share.at_once:
            return False
        self.under_way += 1
        return True

    def leave_place(self) -> None:
        """A place that was taken is free."""
        self.under_way -= 1

    def take(self, requests: int, tokens: int, now: float, *, is_alone: bool, has_place: bool) -> Use:
        """Count a call: by the share if `is_alone` (`wait_s` is 0.0), else one that the pool granted. `turn` first.

        has_place: `take_place` was true for it.
        """
        window = self.alone if is_alone else self.pool
        slot = window.add(now, requests, tokens)
        use = Use(slot, self.day, requests, tokens, is_alone=is_alone, has_place=has_place)
        self._count_day(use, requests, tokens)
        self._in_all += 1
        self.most_at_once = max(self.most_at_once, self._in_all)
        self._largest = max(self._largest, tokens)
        return use

    def _count_day(self, use: Use, requests: int, tokens: int) -> None:
        if use.is_alone and self.quota.requests_day:
            self.share.requests_day -= requests
        if use.is_alone and self.quota.tokens_day:
            self.share.tokens_day -= tokens
        if use.day == self.day:
            counts = self.spent if use.is_alone else self.pooled
            counts[0] += requests
            counts[1] += tokens

    # ── what became of a call ──

    def sent(self, use: Use, now: float) -> None:
        """It was sent only now."""
        window = self.alone if use.is_alone else self.pool
        window.expire(now)
        window.take_back(use.slot, use.requests, use.tokens)
        use.slot = window.add(now, use.requests, use.tokens)

    def settle(self, use: Use, tokens: int, now: float) -> None:
        """Count what it really used: less as if it had never been taken, more as of now."""
        window = self.alone if use.is_alone else self.pool
        window.expire(now)
        more = tokens - use.tokens
        if more < 0:
            window.take_back(use.slot, 0, -more)
        elif more:
            window.add(now, 0, more)
        self._count_day(use, 0, more)
        use.tokens = tokens

    def end(self, use: Use) -> None:
        """It is over: its place is free. Safe to say twice."""
        if not use.has_ended:
            use.has_ended = True
            self._in_all -= 1
            if use.has_place:
                self.leave_place()

    def give_back(self, use: Use, now: float) -> None:
        """It was never sent. After `end` it does nothing."""
        if not use.has_ended:
            self.end(use)
            window = self.alone if use.is_alone else self.pool
            window.expire(now)
            window.take_back(use.slot, use.requests, use.tokens)
            self._count_day(use, -use.requests, -use.tokens)

    # ── the share ──

    def wanted(self) -> Amounts:
        """Return how much of each limit this gateway could use alone in a minute, and begin to count anew."""
        minute = max(1, self.pool.requests + self.alone.requests)
        tokens = max(TOKENS_LEAST, self._largest, self.pool.tokens + self.alone.tokens)
        at_once, self.most_at_once = max(1, self.most_at_once), self._in_all
        return Amounts(minute, tokens, 0, 0, at_once)

    def granted(self, more: Amounts, goal: Amounts) -> None:
        """Take what the store gave, and let go what is over the goal and not in use."""
        share = self.share
        in_use = Amounts(self.alone.requests, self.alone.tokens, 0, 0, self.under_way)
        for name in Amounts.__struct_fields__:
            has = getattr(share, name) + getattr(more, name)
            setattr(share, name, min(has, max(getattr(goal, name), getattr(in_use, name))))

    def seed(self, name: str, now: float, *, is_last: bool) -> Seed:
        """Return what was used from the pool and still counts; `is_last`: and by the share. `turn` first."""
        slots = [*self.pool.slots(), *(self.alone.slots() if is_last else ())]
        ages = sorted(((now - slot.ends, slot.requests, slot.tokens) for slot in slots), reverse=True)
        day = [pooled + spent * is_last for pooled, spent in zip(self.pooled, self.spent, strict=True)]
        return name, self.day, ages, day, self.known

    def lost(self) -> None:
        """The share may be somebody else's by now."""
        self.share = Amounts()

"""Spreads a day's allowance over the day: how much may be used by now, and what the rest of the day will ask for.

Rules. A share is reserved for high priority. It stays whole for the first half of a usual day's demand and then shrinks
with what is still to come, to nothing, since nobody can use it tomorrow. High priority is never held back while anything
is left. The others are held back only when the rest of the day is known to ask for a good tenth more than is left; then
what may be used by a moment follows the demand of a usual day, and a tenth of what is still to come (at least a minute's
worth) may be used ahead. Who has waited for long was promised a turn and is held back by the reserve alone. Jobs that can
wait take what is expected to be left over: of the demand that is to come, and of the reserve, whichever is more.

Demand is what was asked for, not what was granted (a day that refused everything after noon would otherwise be taken for
one that asked for nothing): 24 hourly averages over the days, kept over restarts. An hour that was never seen holds nobody
back who waits for an answer; for jobs it counts as an even share of the day.
Positions are hours since the reset, in [0, 24]; on days of 23 and 25 hours they are a little shorter and longer.
Pure: this file does not read the clock. Sources: the weights are ours, found by `turnout drill free-tier`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf, sqrt
from typing import Literal

import msgspec

HOURS = 24
AHEAD = 0.1
"""The share of what is still to come that may be used ahead of time."""

RELEASE = 0.5
"""The last part of a day's demand, over which the reserve is given to all: high priority may come later than others do."""

NEWEST = 0.3
"""The weight of today in an hour's average: a change of habits is half learned in two days, one odd day is not a habit."""

INSTANT = 1e-6
"""In hours: what is free from a position on is free at that position, however fractions are rounded. 4 ms."""

SPREAD = 2.0
"""How many standard deviations more than expected jobs leave to others, whose calls come about as a Poisson process does."""

SEEN = 0.25
"""The least part of an hour that must have been watched for it to say anything about that hour."""

Claim = Literal["high", "due", "usual", "spare"]
"""What a call may use: everything; all but the reserve; that, as the day is paced; what would be left over."""


class Demand:
    """How much is asked for, by the hour of the vendor's day. hours: averages, None where never seen. Not thread-safe.

    Times are "hours": 24 * the day's number + the position, so that they only grow; one in the past counts as the latest.
    O(1) per call, O(24) when an hour ends.
    """

    __slots__ = ("_count", "_hour", "_known", "_mean", "_rest", "_since", "_unseen", "hours")

    def __init__(self, at: float, hours: Sequence[float | None] = ()) -> None:
        self.hours: list[float | None] = list(hours) if len(hours) == HOURS else [None] * HOURS
        self._hour = int(at)
        self._since = at
        self._count = 0.0
        self._prepare()

    def asked(self, at: float, count: float = 1) -> None:
        """`count` more calls are wanted."""
        self.tick(at)
        self._count += count

    def more(self) -> None:
        """One more call is wanted, a moment after the last that was `asked` for: an hour that ended meanwhile may have it."""
        self._count += 1

    def tick(self, at: float) -> None:
        """Close the hours that have ended. An hour without a call is one in which nothing was asked for."""
        hour = int(at)
        if hour <= self._hour:
            return
        seen = self._hour + 1 - self._since
        if seen >= SEEN:
            self._close(self._hour, self._count / seen)
        for passed in range(max(self._hour + 1, hour - HOURS), hour):
            self._close(passed, 0.0)
        self._hour, self._since, self._count = hour, float(hour), 0.0
        self._prepare()

    def rest(self, position: float) -> float | None:
        """Return how many calls the day from `position` on will ask for; None while nothing is known."""
        if self._mean is None:
            return None
        hour = min(int(position), HOURS - 1)
        return self._rest[hour + 1] + (hour + 1 - position) * (self._rest[hour] - self._rest[hour + 1])

    def known(self, position: float, unseen: float = 0.0) -> float:
        """Return how many calls the hours that were seen before ask for from `position` on. unseen: for each other hour."""
        hour = min(int(position), HOURS - 1)
        later = self._known[hour + 1] + unseen * self._unseen[hour + 1]
        now = self._known[hour] + unseen * self._unseen[hour] - later
        return later + (hour + 1 - position) * now

    def passed(self, position: float) -> float:
        """Return the share of a usual day's demand that comes before `position`, in [0, 1]."""
        rest = self.rest(position)
        if rest is None or not self._rest[0]:
            return position / HOURS
        return 1 - rest / self._rest[0]

    def position_of(self, share: float) -> float:
        """Return the position before which `share` of a usual day's demand comes, in [0, 24]. O(24)."""
        if not 0 < share < 1:
            return HOURS * min(max(share, 0.0), 1.0)
        if not self._rest[0]:
            return share * HOURS
        rest = (1 - share) * self._rest[0]
        to_come = self._rest
        hour = next(hour for hour in range(HOURS) if to_come[hour + 1] <= rest and to_come[hour + 1] < to_come[hour])
        asked = self._rest[hour] - self._rest[hour + 1]
        return hour + 1 - ((rest - self._rest[hour + 1]) / asked if asked else 0.0)

    def used_up_at(self, position: float, left: float) -> float | None:
        """Return the position at which usual demand has used `left` from `position` on, None if it will not today. O(24)."""
        rest = self.rest(position)
        if rest is None or rest <= left:
            return None
        return self.position_of(1 - (rest - left) / self._rest[0])

    def _close(self, hour: int, count: float) -> None:
        known = self.hours[hour % HOURS]
        self.hours[hour % HOURS] = count if known is None else known + NEWEST * (count - known)

    def _prepare(self) -> None:
        """Sum up what each hour leaves to come; an hour that was never seen is an average one."""
        known = [count for count in self.hours if count is not None]
        self._mean = sum(known) / len(known) if known else None
        self._rest = [0.0] * (HOURS + 1)
        self._known = [0.0] * (HOURS + 1)
        self._unseen = [0] * (HOURS + 1)
        for hour in range(HOURS - 1, -1, -1):
            count = self.hours[hour]
            self._rest[hour] = self._rest[hour + 1] + ((self._mean or 0.0) if count is None else count)
            self._known[hour] = self._known[hour + 1] + (count or 0.0)
            self._unseen[hour] = self._unseen[hour + 1] + (count is None)


def reserved(limit: int, reserve: float, demand: Demand, position: float) -> int:
    """Return how much of a day's `limit` is for high priority alone at `position`. reserve: its share, in [0, 1)."""
    return int(limit * reserve * min(1.0, (1 - demand.passed(position)) / RELEASE) + 1e-9)


class Allowance(msgspec.Struct, frozen=True):
    """Where one of a day's allowances stands. limit: what we use of it in a day. used: so far today, by all.

    position: in the day, in [0, 24]. reserve: the share for high priority, in [0, 1). ahead: how much may at least be used
    ahead of time. each: how much of it a call uses, on average, since demand is counted in calls.
    """

    limit: int
    used: int
    position: float
    reserve: float = 0.0
    ahead: int = 0
    each: float = 1.0


def free_at(demand: Demand, of: Allowance, wanted: int, claim: Claim) -> float:
    """Return the position from which `wanted` (1 or more) may be used: the present one for now, inf for not today.

    As far as known: what others use in between is not foreseen. O(1) when it is now, else O(24). Never raises.
    """
    limit, position = of.limit, of.position
    left = limit - of.used
    if wanted > left:
        return inf
    if claim == "high":
        return position
    if claim == "spare":
        return _left_over_at(demand, of, left - wanted)
    kept = reserved(limit, of.reserve, demand, position)
    if wanted > left - kept:
        # The reserve has shrunk enough once limit * reserve * (what is to come) / RELEASE is below left - wanted + 1.
        to_come = RELEASE * (left - wanted + 1) / (limit * of.reserve)
        return max(position, demand.position_of(1 - to_come)) + INSTANT
    if claim == "due":
        return position
    return _in_pace_at(demand, of, left, wanted)


def _in_pace_at(demand: Demand, of: Allowance, left: int, wanted: int) -> float:
    """Return the position from which a call keeps the day's pace, or what is short of the rest of the day is less than a tenth."""
    head = min(max(AHEAD, of.ahead / of.limit), 1.0)
    share = (of.used + wanted) / of.limit
    if share <= head + demand.passed(of.position) * (1 - head):
        return of.position
    on_plan = demand.position_of((share - head) / (1 - head)) + INSTANT
    return min(max(of.position, on_plan), _first(of, lambda at: demand.known(at) * of.each * (1 - AHEAD) <= left))


def _left_over_at(demand: Demand, of: Allowance, left: int) -> float:
    """Return the position from which `left` is enough for all that is still to be expected."""
    even = of.limit / (HOURS * of.each)

    def is_enough(position: float) -> bool:
        calls = demand.known(position, even)
        expected = int((calls + SPREAD * sqrt(calls)) * of.each)
        return left >= max(expected, reserved(of.limit, of.reserve, demand, position))

    return _first(of, is_enough)


def _first(of: Allowance, is_so: Callable[[float], bool]) -> float:
    """Return the first position of the rest of the day at which `is_so`, as it is from then on."""
    if is_so(of.position):
        return of.position
    early, late = of.position, float(HOURS)
    while late - early > INSTANT:
        middle = (early + late) / 2
        early, late = (early, middle) if is_so(middle) else (middle, late)
    return late

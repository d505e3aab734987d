"""Judges how a day against a quota went, from two records: what the clients saw, and what the vendor's witness saw.

It knows nothing of the scheduler that it judges: not its classes, its reserve or its forecasts. What could have been done
is found by trying: a call that was not served could have been if one more call fits beside everything that the vendor took,
at some moment while it was wanted, within what is safe a minute, a day and at once. So a gap that was left, for whatever
reason, counts against whoever left it, and so does what was wasted on refusals; hindsight is allowed. Every call that fits
is added to the record before the next is tried: ten refusals do not share one gap.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Literal

import msgspec

MINUTE_S = 60.0
DAY_S = 86_400.0

How = Literal["answered", "refused", "gave up", "failed", "waiting"]


class Asked(msgspec.Struct, frozen=True):
    """One call as its client saw it. Instants in seconds.

    until: how long its answer was of use. sent: when the vendor got it (the last time, if it was tried again), None if
    it never did. how: answered; refused (somebody said no); gave up (its time was over); failed (the vendor's fault);
    waiting (the record ends before it does).
    """

    priority: str
    at: float
    until: float
    how: How
    sent: float | None = None


class Sent(msgspec.Struct, frozen=True):
    """One call as the vendor's witness saw it, from `at` to `until`."""

    at: float
    until: float
    status: int = 200


class Safe(msgspec.Struct, frozen=True):
    """What may be asked of the vendor: calls in any minute, a day, at once. days_begin: the instant at which the first day began."""

    per_minute: int
    per_day: int
    at_once: int
    days_begin: float = 0.0

    def day_of(self, at: float) -> int:
        """The number of the day that holds `at`."""
        return int((at - self.days_begin) // DAY_S)


class Waits(msgspec.Struct, frozen=True):
    """Of one priority: how many calls were wanted and answered, and how long those waited before they were sent."""

    wanted: int
    answered: int
    p50_s: float
    p95_s: float


class Verdict(msgspec.Struct, frozen=True):
    """What came of a day.

    used: calls that the vendor took (refused ones count against its quota, and are no use). usable: how many it could at
    least have taken, safely. throttled: the vendor's 429s. most_a_minute, most_a_day, most_at_once: of all
    calls that it received. starved: took a place in the line and got no turn. refused_wrongly: refused, and would have fitted.
    late: sent, and the client's time was over before the answer. failed: through the vendor's fault.
    """

    used: int
    usable: int
    throttled: int
    most_a_minute: int
    most_a_day: int
    most_at_once: int
    starved: int
    refused: int
    refused_wrongly: int
    late: int
    failed: int
    waiting: int
    waits: dict[str, Waits]

    @property
    def share(self) -> float:
        """The part of the safe quota that was used while there was demand for it."""
        return self.used / self.usable if self.usable else 1.0


def judge(asked: Sequence[Asked], sent: Sequence[Sent], safe: Safe, end: float) -> Verdict:
    """Return the verdict over the time up to `end`. O(calls log calls) where most is served; never raises."""
    taken = [one for one in sent if one.status != 429]
    room = _Room(taken, safe)
    length_s = median(one.until - one.at for one in taken) if taken else 0.0
    fitted: dict[How, int] = {}
    for how in ("refused", "gave up", "waiting"):
        unserved = [one for one in asked if one.how == how and one.sent is None]
        for one in sorted(unserved, key=lambda one: one.until):
            fitted[how] = fitted.get(how, 0) + room.fits(one.at, min(one.until, end) - length_s, length_s)
    used = len(taken)
    counts = {how: sum(1 for one in asked if one.how == how) for how in ("refused", "failed", "waiting")}
    days = [safe.day_of(one.at) for one in sent]
    most_safely = safe.per_day * -int(-(end - safe.days_begin) // DAY_S)
    return Verdict(
        used=used,
        usable=min(used + sum(fitted.values()), most_safely),
        throttled=len(sent) - used,
        most_a_minute=most_within([one.at for one in sent], MINUTE_S),
        most_a_day=max((days.count(day) for day in set(days)), default=0),
        most_at_once=_most_at_once(sent),
        starved=sum(1 for one in asked if one.how == "gave up" and one.sent is None),
        late=sum(1 for one in asked if one.how == "gave up" and one.sent is not None),
        refused_wrongly=fitted.get("refused", 0),
        waits={
            priority: _waits([one for one in asked if one.priority == priority])
            for priority in ("high", "medium", "low")
        },
        **counts,
    )


def most_within(times: Iterable[float], window_s: float) -> int:
    """Return the most instants that lie within any half-open window of that length. O(n log n)."""
    ordered = sorted(times)
    return max((place - bisect_right(ordered, at - window_s) + 1 for place, at in enumerate(ordered)), default=0)


def _most_at_once(sent: Iterable[Sent]) -> int:
    """Return the most calls that were under way together; one that ends as another begins does not meet it."""
    changes = sorted(
        [(one.at, 1) for one in sent if one.until > one.at] + [(one.until, -1) for one in sent if one.until > one.at]
    )
    now = most = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most


def _waits(asked: Sequence[Asked]) -> Waits:
    waited = sorted(one.sent - one.at for one in asked if one.how == "answered" and one.sent is not None)
    return Waits(
        len(asked), sum(1 for one in asked if one.how == "answered"), _quantile(waited, 0.5), _quantile(waited, 0.95)
    )


def _quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of them do not exceed; 0 of none."""
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)] if ordered else 0.0


class _Room:
    """Where one more call fits."""

    def __init__(self, sent: Sequence[Sent], safe: Safe) -> None:
        self._safe = safe
        self._at = sorted(one.at for one in sent)
        self._spans = sorted((one.at, one.until) for one in sent)
        self._longest_s = max((one.until - one.at for one in sent), default=0.0)
        self._days: dict[int, int] = {}
        for at in self._at:
            self._days[safe.day_of(at)] = self._days.get(safe.day_of(at), 0) + 1
        self._moments = sorted({at + MINUTE_S for at in self._at} | {one.until for one in sent})
        """Room can only become free when a minute is over for some call, when one ends, or at a day's beginning."""

    def fits(self, begin: float, end: float, length_s: float) -> bool:
        """Whether a call of `length_s` fits with its beginning in [begin, end]; if so it is there from now on."""
        at = begin
        while at <= end:
            day = self._safe.day_of(at)
            if self._days.get(day, 0) >= self._safe.per_day:
                at = self._safe.days_begin + (day + 1) * DAY_S
            elif self._has_minute(at) and self._has_place(at, length_s):
                self._take(at, length_s)
                return True
            else:
                place = bisect_right(self._moments, at)
                if place == len(self._moments):
                    return False
                at = self._moments[place]
        return False

    def _has_minute(self, at: float) -> bool:
        """Whether every minute that holds `at` may hold one more."""
        most = self._safe.per_minute
        near = self._at[bisect_right(self._at, at - MINUTE_S) : bisect_left(self._at, at + MINUTE_S)]
        place = bisect_left(near, at)
        near.insert(place, at)
        return all(
            near[first + most] - near[first] >= MINUTE_S
            for first in range(max(0, place - most), min(place, len(near) - most - 1) + 1)
        )

    def _has_place(self, at: float, length_s: float) -> bool:
        """Whether it stays below what is safe at once for all of its length."""
        first = bisect_left(self._spans, (at - self._longest_s, 0.0))
        last = bisect_left(self._spans, (at + length_s, 0.0))
        beside = [Sent(max(begin, at), min(end, at + length_s)) for begin, end in self._spans[first:last] if end > at]
        return _most_at_once(beside) < self._safe.at_once

    def _take(self, at: float, length_s: float) -> None:
        insort(self._at, at)
        insort(self._spans, (at, at + length_s))
        insort(self._moments, at + MINUTE_S)
        insort(self._moments, at + length_s)
        self._longest_s = max(self._longest_s, length_s)
        day = self._safe.day_of(at)
        self._days[day] = self._days.get(day, 0) + 1

"""Counts what an account may still ask of the free models: so many a minute, so many a day, failures included.

One allowance per account over *all* free models, in fixed windows that begin with the world's first request; an attempt
that is refused counts as well. Sources: FACTS §3 (16 a minute, 50 or 1,000 a day, failed attempts count);
OpenRouter's limits page (account-wide for ids that end in ":free").
"""

from __future__ import annotations

import msgspec

MINUTE_S = 60.0
DAY_S = 86_400.0
_ACCOUNTS = 10_000


class Refused(msgspec.Struct, frozen=True):
    """Over the allowance. window: "min" or "day". reset_in_s: world seconds until the window ends."""

    window: str
    limit: int
    reset_in_s: float


class _Count(msgspec.Struct):
    minute: int = -1
    day: int = -1
    in_minute: int = 0
    in_day: int = 0


class FreeQuota:
    """per_minute, per_day: attempts; 0 for no limit. Keeps the newest 10,000 accounts."""

    def __init__(self, per_minute: int, per_day: int) -> None:
        self.per_minute = per_minute
        self.per_day = per_day
        self._counts: dict[str, _Count] = {}

    def charge(self, account: str, at_s: float) -> Refused | None:
        """Count one attempt at world time `at_s` (seconds, >= 0). Returns why it is refused, or None. O(1)."""
        count = self._counts.get(account)
        if count is None:
            if len(self._counts) >= _ACCOUNTS:
                del self._counts[next(iter(self._counts))]
            count = self._counts[account] = _Count()
        minute, day = int(at_s // MINUTE_S), int(at_s // DAY_S)
        if minute != count.minute:
            count.minute, count.in_minute = minute, 0
        if day != count.day:
            count.day, count.in_day = day, 0
        count.in_minute += 1
        count.in_day += 1
        if self.per_day and count.in_day > self.per_day:
            return Refused("day", self.per_day, (day + 1) * DAY_S - at_s)
        if self.per_minute and count.in_minute > self.per_minute:
            return Refused("min", self.per_minute, (minute + 1) * MINUTE_S - at_s)
        return None

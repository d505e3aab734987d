"""Decides when a second candidate is asked beside a slow first one, and how often that may be.

A hedge is worth its price for the slowest few answers only: it goes out when the first candidate has been silent for
longer than its own 95th percentile, so at most one request in twenty asks for one. `HedgeBudget` holds that share even
when the percentile is wrong, as it is at first and while a vendor turns slow.

`FirstContents` keeps the percentile in buckets that grow by a tenth (an error of 5 %), and halves all counts when there
are KEPT samples, so that a vendor's bad hour is forgotten after a few hundred answers.
Pure; seconds. Sources: Dean and Barroso, "The Tail at Scale" (CACM 2013: hedge after the 95th percentile, about 5 % more
load); tower `hedge` (a rotating histogram).
"""

from __future__ import annotations

import math

FEWEST = 20
"""Samples before a percentile means anything: below it there is no hedge."""

KEPT = 1000
"""Samples after which all counts are halved."""

PERCENTILE = 0.95
SOONEST_S = 0.05
"""A hedge never goes out sooner: a person does not notice what it would save, and where all answers come within
milliseconds the slowest twentieth is chance, on which the budget would be spent."""

SHARE = 0.05
"""Of the requests: at most 5 % more upstream calls."""

MOST_SAVED = 5.0
"""Hedges that a quiet hour may save up for a bad minute."""

_LEAST_S = 0.001
_GROWTH = math.log(1.1)
_BUCKETS = 1 + math.ceil(math.log(600.0 / _LEAST_S) / _GROWTH)  # the last holds everything beyond 600 s


class FirstContents:
    """How long one candidate takes to its first content. `add` is O(1), `percentile_s` O(buckets): 140."""

    __slots__ = ("_counts", "_known", "_total")

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS
        self._total = 0
        self._known: float | None = None

    def add(self, seconds: float) -> None:
        """Note one answer; one that was given up counts with the time that it had taken by then."""
        bucket = 0 if seconds <= _LEAST_S else min(_BUCKETS - 1, math.ceil(math.log(seconds / _LEAST_S) / _GROWTH))
        self._counts[bucket] += 1
        self._total += 1
        self._known = None
        if self._total >= KEPT:
            self._counts = [count >> 1 for count in self._counts]
            self._total = sum(self._counts)

    def patience_s(self) -> float | None:
        """Return after how long a hedge goes out, at least SOONEST_S; None while too few answers were seen."""
        percentile_s = self.percentile_s()
        return None if percentile_s is None else max(SOONEST_S, percentile_s)

    def percentile_s(self) -> float | None:
        """Return the 95th percentile, up to 10 % too high; None while too few answers were seen."""
        if self._total < FEWEST:
            return None
        if self._known is None:
            left = self._total * PERCENTILE
            bucket = -1
            while left > 0:
                bucket += 1
                left -= self._counts[bucket]
            self._known = _LEAST_S * math.exp(bucket * _GROWTH)
        return self._known


class HedgeBudget:
    """How many hedges the requests so far have earned: a twentieth each. O(1)."""

    __slots__ = ("_earned",)

    def __init__(self) -> None:
        self._earned = 0.0

    def arrived(self) -> None:
        """One more request that may be hedged."""
        self._earned = min(MOST_SAVED, self._earned + SHARE)

    def spend(self) -> bool:
        """Take a hedge, if one is earned; return whether it was."""
        if self._earned < 1.0:
            return False
        self._earned -= 1.0
        return True

"""Decides whether a shared store is asked: one failure ends it for everybody, steady answers to a probe begin it again.

A request must never wait for a store twice, so the first failure is believed; the others do without it from then on. One
probe a second asks on. A store that answers and fails in turns would cost a request its patience every second, so each
time that it fails soon after it came back it must answer more probes in a row: 1, 2, 4, at most 5, which is still
"normal within 10 s". Pure: `now` is monotonic seconds. Sources: RELIABILITY R6, E1, E3, T60, T65.
"""

from __future__ import annotations

PROBE_S = 1.0
"""Between two probes. Source: E3, at most one a second."""

SOON_S = 30.0
"""A failure within this of its return says that it had not really returned."""

MOST_PROBES = 5


class Contact:
    """With one store. Not thread-safe; O(1). It begins without. since: when the present state began."""

    __slots__ = ("_good", "_needed", "is_up", "since")

    def __init__(self, now: float) -> None:
        self.is_up = False
        self.since = now
        self._good = 0
        self._needed = 1

    def failed(self, now: float) -> bool:
        """It did not answer as it should, whoever asked. Return whether that ends what was."""
        self._good = 0
        if not self.is_up:
            return False
        self._needed = min(self._needed * 2, MOST_PROBES) if now - self.since < SOON_S else 1
        self.is_up, self.since = False, now
        return True

    def answered(self, now: float) -> bool:
        """It answered a probe. Return whether it is asked again from now on."""
        if self.is_up:
            return False
        self._good += 1
        if self._good < self._needed:
            return False
        self.is_up, self.since = True, now
        return True

"""Keeps what is known about every candidate: its breaker and its load, by key ("model@account").

The engine owns one Health and tells it what happens; the plan and the policies read it as a HealthView. Keys come from
the config and, for names such as `openrouter/vendor/model`, from requests, so their number is bounded here
(RELIABILITY T81): the oldest that is idle goes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Protocol

from turnout.core.breaker import Breaker
from turnout.core.catalog import BreakerRule
from turnout.core.contracts import Load
from turnout.core.load import ended, started

LIMIT_KEYS = 4096
"""About 2 MB; far more models than a config has, few enough for a hostile client."""

_IDLE = Load()


class HealthView(Protocol):
    """What deciding needs to know about candidates. Every look is O(1)."""

    def resting_until(self, key: str) -> float:
        """Return the monotonic instant until which it rests; one not after now (0.0) means well."""
        ...

    def is_throttled(self, key: str) -> bool:
        """Return whether its rest, if any, is a cool-down whose end the vendor named."""
        ...

    def is_failing(self, key: str) -> bool:
        """Return whether its latest attempt failed."""
        ...

    def loads(self) -> Mapping[str, Load]:
        """Return the load by key; a missing one is idle. Read, not kept."""
        ...


class Health:
    """Breakers and loads by candidate key. Not thread-safe; every call is O(1) (a new key beyond the bound looks for an idle one)
    and none raises.

    Per attempt: `begin`, then at most one of `succeeded`, `failed`, `throttled`, then always `ended`.
    rule: the breaker's; the engine replaces it when the config changes, and what was seen of candidates stays.
    """

    def __init__(self, rule: BreakerRule) -> None:
        self.rule = rule
        self._breakers: dict[str, Breaker] = {}
        self._loads: dict[str, Load] = {}
        self._view = MappingProxyType(self._loads)

    def resting_until(self, key: str) -> float:
        """See HealthView."""
        breaker = self._breakers.get(key)
        return 0.0 if breaker is None else breaker.resting_until

    def is_throttled(self, key: str) -> bool:
        """See HealthView."""
        breaker = self._breakers.get(key)
        return breaker is not None and breaker.is_throttled

    def is_failing(self, key: str) -> bool:
        """See HealthView."""
        breaker = self._breakers.get(key)
        return breaker is not None and breaker.is_failing

    def loads(self) -> Mapping[str, Load]:
        """See HealthView: a live, read-only view."""
        return self._view

    def resting(self, now: float) -> Iterator[tuple[str, float]]:
        """Yield (key, seconds left) of whatever rests now, for the metrics and `status`. O(keys)."""
        for key, breaker in self._breakers.items():
            if breaker.resting_until > now:
                yield key, breaker.resting_until - now

    def begin(self, key: str, now: float) -> None:
        """An attempt starts."""
        self._breaker(key).begin(now, self.rule)
        self._loads[key] = started(self._loads.get(key, _IDLE))

    def succeeded(self, key: str) -> None:
        """It answered as it should."""
        self._breaker(key).succeeded()

    def failed(self, key: str, now: float) -> None:
        """It failed in a way that says something about its health (not: a rejected request, a client that left)."""
        self._breaker(key).failed(now, self.rule)

    def throttled(self, key: str, now: float, hint_s: float | None, draw: float) -> None:
        """Its vendor said "not now". hint_s: for how long, None if it did not say."""
        self._breaker(key).throttled(now, hint_s, draw)

    def ended(self, key: str, latency_s: float | None) -> None:
        """The attempt is over, however. latency_s: seconds to the first content, None if there was none."""
        self._loads[key] = ended(self._loads.get(key, _IDLE), latency_s)

    def _breaker(self, key: str) -> Breaker:
        breaker = self._breakers.get(key)
        if breaker is None:
            if len(self._breakers) >= LIMIT_KEYS:
                self._forget_one()
            breaker = self._breakers[key] = Breaker()
        return breaker

    def _forget_one(self) -> None:
        """Drop the oldest that nothing is asked of. If all are busy, nothing: then memory is bounded by connections."""
        for key in self._breakers:
            if self._loads.get(key, _IDLE).in_flight == 0:
                del self._breakers[key]
                self._loads.pop(key, None)
                return

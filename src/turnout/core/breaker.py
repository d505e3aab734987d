"""Decides when a candidate rests: after failures in a row (the breaker), or when its vendor says "not now" (a cool-down).

Two different things that both mean "not now". A failure is a mark against health: five in a row open the breaker for
30 s, then 60, 90 … at most 300; one attempt per rest is let through as a probe, and a success closes it. A refusal for
rate is none: the vendor is well and has named its price, so the candidate cools down for as long as the vendor said.
The breaker never refuses: it says until when a candidate rests. The plan moves it behind others and, when nothing else
is left, tries it all the same ("never eject the last").
Times are monotonic seconds, given as `now`; nothing here reads a clock.
Sources: Envoy's outlier detection (consecutive failures, rest growing by its base); RELIABILITY A2, A3, T11, T14, T17.
"""

from __future__ import annotations

from turnout.core.catalog import BreakerRule

COOL_BASE_S = 0.5
COOL_TOP_S = 8.0
"""Without a hint: 0.5, 1, 2, 4, 8 s. Source: RELIABILITY T14."""

COOL_LIMIT_S = 3600.0
"""No cool-down is longer, whatever a provider reads out of a reply. Ours read at most 300 s (core/hints.py)."""

JITTER = 0.1
"""Added, never taken away: coming back before the vendor's own instant is a refusal that counts against the quota."""


class Breaker:
    """The health of one candidate. Not thread-safe; every method is O(1) and never raises.

    failures: in a row. rests: rest periods in a row, 0 while closed. The rule is an argument: it changes with the config,
    what was seen of a candidate does not.
    """

    __slots__ = ("_cool_until", "_is_hinted", "_is_probing", "_open_until", "_throttles", "failures", "rests")

    def __init__(self) -> None:
        self.failures = 0
        self.rests = 0
        self._open_until = 0.0
        self._is_probing = False
        self._cool_until = 0.0
        self._is_hinted = False
        self._throttles = 0

    @property
    def resting_until(self) -> float:
        """The instant until which it rests: 0.0, or any instant not after now, means well."""
        return max(self._open_until, self._cool_until)

    @property
    def is_failing(self) -> bool:
        """Whether the latest outcome that says something about health was a failure."""
        return self.failures > 0

    @property
    def is_throttled(self) -> bool:
        """Whether its rest, if it rests, is a cool-down whose end the vendor named."""
        return self._is_hinted and self._cool_until >= self._open_until

    def begin(self, now: float, rule: BreakerRule) -> None:
        """An attempt starts. After a rest it is the probe: the rest begins anew for everybody else.

        A probe whose outcome never comes (the client left) thus costs one more rest, not a candidate that is never
        probed again.
        """
        if self.rests and now >= self._open_until:
            self._is_probing = True
            self._open_until = now + self._rest_s(rule)

    def succeeded(self) -> None:
        """It answered: closed. A cool-down stands: what was asked before it says nothing about the quota now."""
        self.failures = 0
        self.rests = 0
        self._open_until = 0.0
        self._is_probing = False
        self._throttles = 0

    def failed(self, now: float, rule: BreakerRule) -> None:
        """It failed. While it rests only the probe's failure lengthens the rest; late news of older attempts do not."""
        self.failures += 1
        if self.rests:
            if self._is_probing:
                self._rest(now, rule)
        elif self.failures >= rule.failures:
            self._rest(now, rule)

    def throttled(self, now: float, hint_s: float | None, draw: float) -> None:
        """Its vendor said "not now". hint_s: seconds, None if it did not say for how long. draw: in [0, 1).

        A hint in the past or absurdly far away is bounded here; reading it is the provider's `classify`.
        """
        self._throttles += 1
        self._is_probing = False
        self._is_hinted = hint_s is not None
        if hint_s is None:
            wait_s = min(COOL_TOP_S, COOL_BASE_S * 2 ** min(self._throttles - 1, 10))
        else:
            wait_s = min(COOL_LIMIT_S, max(0.0, hint_s))
        self._cool_until = now + wait_s * (1 + JITTER * draw)

    def _rest(self, now: float, rule: BreakerRule) -> None:
        self.rests += 1
        self._is_probing = False
        self._open_until = now + self._rest_s(rule)

    def _rest_s(self, rule: BreakerRule) -> float:
        return min(rule.max_rest_s, rule.rest_s * self.rests)

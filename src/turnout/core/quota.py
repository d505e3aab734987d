"""Keeps the books of what vendors allow us, and says when a call may go: the scheduler asks, this file never waits.

    books = Quotas(snapshot.quotas, now, wall)
    books.wanted(names, now)                            # once per request that comes to the line: for the forecast
    books.wait_s(names, need, now)                      # 0.0: may go now
    taken = books.take(names, need, now)                # None: not now
    books.told(names, headers, status, now)       # whatever the vendor answered
    books.settle(taken, tokens, now)                    # what was really used
    books.end(taken, now)                               # always, unless given back

Rules. All or nothing over all names: a call that one quota refuses changes no other. Every attempt counts, failed ones
too. Names that config does not know (any more) allow everything. All times are arguments: `now` is monotonic seconds,
`wall` Unix seconds; the wall is read at the start only and goes on by the monotonic clock, so that setting a machine's
clock does no harm. core/quota_meter.py counts one quota, core/quota_window.py its minute, core/pacing.py spreads its day.
Sources: FACTS §3; RELIABILITY C6, F4, F20, T21, T24, T66.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

import msgspec

from turnout.core.catalog import Quota
from turnout.core.pacing import Claim
from turnout.core.quota_headers import read, vendor_clock
from turnout.core.quota_meter import EASY_CALLS, Meter, Share
from turnout.core.quota_state import dump, load
from turnout.core.quota_view import QuotaView, view

REFUSALS = frozenset({429, 529})
"""Statuses that say "not now"."""


class Need(msgspec.Struct, frozen=True):
    """What a call wants. tokens: as far as known before, input and expected output.

    is_high: it may use the day's reserve. is_spare: it can wait, and takes only what the day would leave over.
    is_due: it has waited long enough, and is not held back to spread the day.
    held: further calls, of a tool conversation, for which there must be room as well; they are not counted.
    """

    tokens: int = 0
    is_high: bool = False
    held: int = 0
    is_spare: bool = False
    is_due: bool = False


class Taken:
    """What one call took. Only `Quotas` looks inside; keep it until the call ended."""

    __slots__ = ("at", "has_ended", "shares")

    def __init__(self, at: float, shares: list[Share]) -> None:
        self.at = at
        self.shares = shares
        self.has_ended = False


def counted(quotas: Mapping[str, Quota], account: str, model_id: str) -> tuple[str, ...]:
    """Return the names of the quotas that a call counts against. model_id: the vendor's. O(quotas); once per candidate."""
    return tuple(
        name
        for name, quota in quotas.items()
        if quota.account == account and fnmatchcase(model_id.lower(), quota.models.lower())
    )


class Quotas:
    """Every quota's use. Not thread-safe. Every call is O(names), amortised, but `wait_s` for what must wait: O(240 * names)."""

    def __init__(self, quotas: Mapping[str, Quota], now: float, wall: float) -> None:
        self._offset = wall - now
        self._meters: dict[str, Meter] = {}
        self._retired: dict[str, Meter] = {}
        self.install(quotas, now)

    def install(self, quotas: Mapping[str, Quota], now: float) -> None:
        """Obey another configuration. What was used stays, also that of a quota which is gone and comes back."""
        known = {**self._retired, **self._meters}
        self._meters = {}
        for name, quota in quotas.items():
            meter = known.pop(name, None)
            if meter is None:
                meter = Meter(quota, now, self._offset)
            else:
                meter.configure(quota, now)
            self._meters[name] = meter
        self._retired = {name: meter for name, meter in known.items() if meter.is_in_use(now)}

    def wanted(self, names: Sequence[str], now: float) -> None:
        """A request has come that would count against these, whether it will go or not."""
        for name in names:
            meter = self._meters.get(name)
            if meter is not None:
                meter.wanted(now)

    def wait_s(self, names: Sequence[str], need: Need, now: float, *, ahead: int = 0) -> float:
        """Return 0.0 if a call may go now, else the seconds to the earliest moment that is known, if `ahead` like it go first.

        inf: never, it is too large. Where only an attempt's end frees a place (`at_once`), the time is a guess from how long
        attempts take. Never raises.
        """
        claim: Claim = "high" if need.is_high else "due" if need.is_due else "spare" if need.is_spare else "usual"
        wait = 0.0
        for name in names:
            meter = self._meters.get(name)
            if meter is not None:
                wait = max(wait, meter.wait_s(1 + meter.room(need.held), need.tokens, claim, now, ahead))
        return wait

    def take(self, names: Sequence[str], need: Need, now: float) -> Taken | None:
        """Count a call against all of these and return what it took; None, and nothing is counted, unless `wait_s` is 0.0."""
        if self.wait_s(names, need, now) > 0.0:
            return None
        meters = self._meters
        shares = [meters[name].charge(need.tokens, now) for name in names if name in meters]
        return Taken(now, shares)

    def take_easily(self, names: Sequence[str], tokens: int, now: float) -> Taken | None:
        """Count a call against all of these, wanted and taken in one, if there is plenty of room; None says nothing.

        For a request that goes at its first chance, at whatever priority: a fifth of the work of `wanted` and `take`.
        """
        meters = [meter for name in names if (meter := self._meters.get(name)) is not None]
        for meter in meters:
            if not meter.is_easy(tokens, now):
                return None
        return Taken(now, [meter.charge_easy(tokens, now) for meter in meters])

    def look_ahead(self, names: Sequence[str], tokens: int, now: float, calls: int = EASY_CALLS) -> None:
        """A call like this has just gone: see whether the next ones may go easily, `calls` of them."""
        for name in names:
            meter = self._meters.get(name)
            if meter is not None:
                meter.look_ahead(tokens, now, calls)

    def sent(self, taken: Taken, now: float) -> None:
        """It was sent only now, since it had to connect first: count it as of now. Not needed within TRAVEL_S of `take`."""
        for share in taken.shares:
            share.meter.move(share, now)

    def settle(self, taken: Taken, tokens: int, now: float) -> None:
        """Count the tokens that were really used, in and out: once, when they are known."""
        for share in taken.shares:
            share.meter.settle(share, tokens, now)

    def end(self, taken: Taken, now: float) -> None:
        """The attempt is over, however: its place among those at once is free. What it used stays counted. Safe to say twice."""
        if not taken.has_ended:
            taken.has_ended = True
            for share in taken.shares:
                share.meter.end(now - taken.at)

    def give_back(self, taken: Taken, now: float) -> None:
        """Nothing was sent: everything back, its place too. Safe to say twice, and after `end` does nothing."""
        if not taken.has_ended:
            taken.has_ended = True
            for share in taken.shares:
                share.meter.give_back(share, now)

    def is_curious(self, names: Sequence[str], now: float) -> bool:
        """Return whether `told` would learn from an answer without a word about limits."""
        meters = self._meters
        return any(name in meters and meters[name].is_curious(now) for name in names)

    def told(self, names: Sequence[str], headers: Mapping[str, str], status: int, now: float) -> None:
        """A vendor answered. headers: names in lower case. What it says of its limits repairs our books downward.

        Instants that it names are read by its own clock, if it says what that shows. 2 µs if it says nothing.
        """
        is_refusal = status in REFUSALS
        for name in names:
            meter = self._meters.get(name)
            if meter is not None:
                clock = vendor_clock(headers) if is_refusal or meter.is_clock_due(now) else None
                meter.synchronise(clock, now)
                self._offset = meter.offset  # what is new in the next config begins with what was found out
                meter.answered(read(headers, meter.wall(now) if clock is None else clock), now, is_refusal=is_refusal)

    def used_by_all(self, name: str, requests: int, tokens: int, now: float) -> None:
        """Other gateways share this quota: of today so much was used by all together, this one included."""
        meter = self._meters.get(name)
        if meter is not None:
            meter.today.at_least(requests, tokens, meter.wall(now))

    def refused(self, names: Sequence[str], retry_after_s: float | None, now: float) -> None:
        """A vendor said "not now" (429). retry_after_s: for how long, None if it did not say.

        One refusal may concern one model only, and its candidate rests anyway (core/breaker.py); a second one without an
        answer between closes the quota: for as long as the vendor said, else 2, 4 … 60 s.
        """
        for name in names:
            meter = self._meters.get(name)
            if meter is not None:
                meter.refused(retry_after_s, now)

    def views(self, now: float, wall: float) -> list[QuotaView]:
        """Return where every quota stands, for people; instants as the machine's clock, `wall` now, will show them. O(quotas)."""
        return [view(name, meter, now, wall) for name, meter in self._meters.items()]

    def dump(self, now: float, wall: float) -> bytes:
        """Return everything that must survive a restart: about 1 kB a quota."""
        return dump({**self._retired, **self._meters}, now, wall)

    def load(self, state: bytes, now: float, wall: float) -> None:
        """Add what a `dump` of an earlier run says was used; once, before the first `take`.

        Raises ValueError, and changes nothing, if `state` is no dump.
        """
        load(state, self._meters, now, wall)

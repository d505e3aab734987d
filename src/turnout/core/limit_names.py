"""Finds the meters that a request is counted on: one for each name that a limit is about.

A limit for a name stands instead of the one for "*" of its scope, and a user's limit of either kind instead of the rates of
the tier; limits of different scopes all hold. A meter is made when its name is first met, and forgotten once nothing counts
on it: each new name looks at two old ones, so nothing ever walks over all of them while a request waits.
Names are those of core/rules.Scope with what they are about: "user:anna", "model:gpt-5-mini", "all". No clock is read here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from operator import attrgetter
from typing import Final

from turnout.core.books.loading import clean
from turnout.core.leasing import Lease
from turnout.core.limiting import Meter
from turnout.core.principal import Who
from turnout.core.quota_window import SLOT_S, SPAN_S
from turnout.core.rules import SCOPES, Limit, Rates, Scope, Tier

MOST_NAMES: Final = 100_000
"""Names that are counted at the same time, about 1 kB each. Whoever comes on top of that shares one meter a scope: a name
may be anything that a request says."""

LOOKS: Final = 2
"""Old names that a new one looks at: so there are never more than twice as many as count."""


class _Scope:
    """What holds for one scope. meters: by what the request says."""

    __slots__ = ("each", "meters", "name", "named", "tiers")

    def __init__(self, name: Scope) -> None:
        self.name = name
        self.named: dict[str, Rates] = {}
        self.each: Rates | None = None
        self.tiers: Mapping[str, Rates] = {}
        self.meters: dict[str, Meter] = {}

    def rates(self, value: str, tier: str) -> Rates | None:
        """What limits `value`, None if nothing does."""
        found = self.named.get(value, self.each)
        return self.tiers.get(tier) if found is None else found


class Meters:
    """All meters, by name. Not thread-safe; `now` is monotonic seconds.

    is_shared: new ones hold nothing of their limit until it is given to them. forgotten: names that held something.
    """

    def __init__(self) -> None:
        self.is_shared = False
        self.forgotten: list[str] = []
        self._limits: tuple[tuple[Limit, ...], tuple[Tier, ...]] = ((), ())
        self._scopes: list[tuple[attrgetter[str] | None, _Scope]] = []
        self._names: dict[str, tuple[Meter, _Scope, str]] = {}
        self._old: Iterator[str] = iter(())
        self._left: dict[str, tuple[float, Rates]] = {}

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[Meter]:
        return iter([meter for meter, _, _ in self._names.values()])

    def install(self, limits: Iterable[Limit], tiers: Iterable[Tier]) -> None:
        """Count by these from now on; what was used stays. A later limit of the same name replaces an earlier one. O(meters)
        where they differ from before.
        """
        told = (tuple(limits), tuple(tiers))
        if told == self._limits:
            return
        self._limits = told
        scopes = {name: _Scope(name) for name in SCOPES}
        for limit in told[0]:
            scope = scopes[limit.scope]
            if limit.match == "*" and limit.scope != "all":
                scope.each = limit.rates
            else:
                scope.named["all" if limit.scope == "all" else limit.match] = limit.rates
        scopes["user"].tiers = {tier.name: tier.rates for tier in told[1] if tier.rates != Rates()}
        active = [scope for scope in scopes.values() if scope.named or scope.each or scope.tiers]
        self._scopes = [(None if one.name == "all" else attrgetter(one.name), one) for one in active]
        for name, (meter, old, value) in list(self._names.items()):
            scope = scopes[old.name]
            rates = scope.rates(value, meter.tier)
            if rates is None:
                self._forget(name)
            else:
                self._names[name] = (meter, scope, value)
                scope.meters[value] = meter
                _obey(meter, rates)

    def of(self, who: Who, now: float) -> list[Meter]:
        """Return what a request of `who` is counted on. O(scopes that limits speak of), 0.2 µs each."""
        found = []
        count = len(self._names)
        for get, scope in self._scopes:
            value = "all" if get is None else get(who)
            if value:
                meter = scope.meters.get(value)
                if meter is None or (meter.tier != who.tier and scope.tiers):
                    meter = self._find(scope, value, who.tier)
                    if meter is None:
                        continue
                found.append(meter)
        for _ in range((len(self._names) - count) * LOOKS):
            self._look_at_an_old_one(found, now)
        return found

    def get(self, name: str) -> Meter | None:
        """Return the meter of a name as the books have it ("user:anna"), None if nothing counts on it."""
        known = self._names.get(name)
        return None if known is None else known[0]

    def unused(self) -> Iterator[tuple[str, Rates]]:
        """Yield each name that a limit names and nothing counts on, with that limit. O(limits)."""
        for get, scope in self._scopes:
            for value, rates in scope.named.items():
                name = value if get is None else f"{scope.name}:{value}"
                if name not in self._names:
                    yield name, rates

    def inherit(self, name: str, used: Rates, now: float) -> None:
        """Count what somebody used who is gone, as of now: also on a meter that is only made later."""
        meter = self.get(name)
        if meter is None:
            self._left[name] = (now, used)
        else:
            meter.window.expire(now)
            meter.window.add(now, used.requests_minute, used.tokens_minute)
            if meter.lease is not None:
                meter.lease.inherit(used)

    def expire(self, now: float) -> None:
        """Forget what was inherited and has run out, without a meter having been made. O(that)."""
        for name, (at, _) in list(self._left.items()):
            if now >= at + SLOT_S + SPAN_S:
                del self._left[name]
                if self.is_shared:
                    self.forgotten.append(name)

    def _find(self, scope: _Scope, value: str, tier: str) -> Meter | None:
        """Return a meter that is new, or whose user is of another tier than before, or whose name cannot be written."""
        rates = scope.rates(value, tier)
        if rates is None:
            return None
        value = str(clean((value,))[0])
        if value not in scope.meters and len(self._names) >= MOST_NAMES:
            value = "*"
        name = "all" if scope.name == "all" else f"{scope.name}:{value}"
        known = self._names.get(name)
        meter = self._make(name, rates) if known is None else known[0]
        self._names[name] = (meter, scope, value)
        scope.meters[value] = meter
        meter.tier = tier
        _obey(meter, rates)
        return meter

    def _make(self, name: str, rates: Rates) -> Meter:
        meter = Meter(name, rates)
        at, used = self._left.pop(name, (0.0, Rates()))
        if used != Rates():
            meter.window.add(at, used.requests_minute, used.tokens_minute)
        if self.is_shared:
            meter.lease = Lease(Rates())
            meter.lease.inherit(used)
        return meter

    def _look_at_an_old_one(self, found: list[Meter], now: float) -> None:
        """Forget it if nothing counts on it, unless it was `found` for the request that is to be counted now."""
        name = next(self._old, None)
        if name is None:
            self._old = iter(list(self._names))
        elif name in self._names:
            meter = self._names[name][0]
            if meter.is_idle(now) and meter not in found:
                self._forget(name)

    def _forget(self, name: str) -> None:
        meter, scope, value = self._names.pop(name)
        scope.meters.pop(value, None)
        if meter.lease is not None and meter.lease.is_in_books:
            self.forgotten.append(name)


def _obey(meter: Meter, rates: Rates) -> None:
    if meter.lease is not None and rates != meter.limit:
        meter.lease.is_sure = False  # others may hold what a lower limit does not have
    meter.limit = rates
    meter.may(rates if meter.lease is None else meter.lease.usable(rates))

"""Decides about budgets: which bind a request, which period it falls into, how much of one a writer may hold.

A period is half-open, [starts_at, ends_at), in Unix seconds, computed from the calendar of the budget's zone: a day of
23 or 25 hours is one day, and nothing is reset an offset late (RELIABILITY F20). No clock is read here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta, tzinfo
from typing import TypeAlias

import msgspec

from turnout.core.books.entry import Charge
from turnout.core.books.loading import clean
from turnout.core.principal import Who
from turnout.core.rules import SCOPES, Budget, Period, Tier
from turnout.core.vendor_day import zone

DAYS_30_S = 30 * 86400

LITTLE = 1000
"""A budget with less left than this many times what is needed is taken by the request: nobody holds what another may want."""

SHARE = 64
"""Else a lease is one part in so many of what is left: 64 writers never leave another with nothing, and what one of them
holds idle is 1.6 % of the limit at most."""


class Window(msgspec.Struct, frozen=True):
    """One period: from starts_at on, until before ends_at. Unix seconds; ends_at None: never."""

    starts_at: int
    ends_at: int | None

    def has(self, wall: float) -> bool:
        """Whether an instant falls into it."""
        return self.starts_at <= wall and (self.ends_at is None or wall < self.ends_at)


class Account(msgspec.Struct, frozen=True):
    """One budget of one caller in one period: what money is taken from.

    rule: the Budget's name. who: whose it is, "" for everybody's.
    """

    charge: Charge
    ends_at: int | None
    rule: str
    scope: str
    who: str
    limit_nano_usd: int
    is_hard: bool


def window(period: Period, zone_name: str, starts_at: int, wall: float) -> Window:
    """Return the period that `wall` (Unix seconds) falls into.

    zone_name: of the tz database; where its midnight does not exist, a day begins when the clocks jump over it, and where there
    are two, at the first. starts_at: Unix seconds that 30 days count from, back as well; and what is for life begins then.
    About 10 µs for a calendar's period.
    """
    if period == "life":
        return Window(starts_at, None)
    if period == "30d":
        begin = starts_at + int((wall - starts_at) // DAYS_30_S) * DAYS_30_S
        return Window(begin, begin + DAYS_30_S)
    tz = zone(zone_name)
    day = first_day(period, datetime.fromtimestamp(wall, tz).date())
    while wall < _midnight(day, tz):  # clocks went back over midnight: by the date it is the day before again
        day = first_day(period, day - timedelta(days=1))
    after = _next(period, day)
    while wall >= _midnight(after, tz):  # a day that a zone left out has no instant
        day, after = after, _next(period, after)
    return Window(_midnight(day, tz), _midnight(after, tz))


def windows(budgets: Iterable[Budget], wall: float) -> dict[str, Window]:
    """Return the period of now of each budget, by its name. Many have the same: 0.3 µs for each but the first."""
    known: dict[tuple[Period, str, int], Window] = {}
    found = {}
    for budget in budgets:
        key = (budget.period, budget.zone, budget.starts_at)
        if key not in known:
            known[key] = window(*key, wall)
        found[budget.name] = known[key]
    return found


def first_day(period: Period, day: date) -> date:
    """Return the first day of the day's, week's or month's period that `day` is in. A week begins on Monday."""
    if period == "month":
        return day.replace(day=1)
    if period == "week":
        return day - timedelta(days=day.weekday())
    return day


def _next(period: Period, first: date) -> date:
    if period == "month":
        return (first.replace(day=28) + timedelta(days=4)).replace(day=1)
    return first + timedelta(days=7 if period == "week" else 1)


def _midnight(day: date, tz: tzinfo) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=tz).timestamp())


# ── which budgets ──


class Binding(msgspec.Struct, frozen=True):
    """A budget that binds somebody. name: the budget's, and with "*" whose it is too. who: "" for everybody."""

    budget: Budget
    name: str
    who: str


Named: TypeAlias = Mapping[tuple[str, str], Sequence[Budget]]
"""Budgets by whom they are about: (scope, match)."""


def by_name(budgets: Iterable[Budget]) -> Named:
    """Return budgets so that those of somebody are found at once, however many there are. O(budgets)."""
    named: dict[tuple[str, str], list[Budget]] = {}
    for budget in budgets:
        named.setdefault((budget.scope, budget.match), []).append(budget)
    return named


def binding(named: Named, tiers: Mapping[str, Tier], who: Who) -> list[Binding]:
    """Return what binds `who`, by name.

    A budget for a name stands instead of the one for "*" with the same scope and period, and a user's of either kind
    instead of the tier's. Others add up: all of them must have room. O(scopes).
    """
    found = [Binding(budget, budget.name, "") for budget in named.get(("all", "*"), ())]
    for scope in SCOPES[1:]:
        (text,) = clean((getattr(who, scope),))
        name = str(text)  # as a database will say it
        if not name:
            continue
        own = named.get((scope, name), ()) if name != "*" else ()
        found += [Binding(budget, budget.name, name) for budget in own]
        taken = {budget.period for budget in own}
        for budgets in (named.get((scope, "*"), ()), _of_tier(tiers, who) if scope == "user" else ()):
            found += [
                Binding(budget, f"{budget.name}/{name}", name) for budget in budgets if budget.period not in taken
            ]
            taken |= {budget.period for budget in budgets}
    return sorted(found, key=lambda one: one.name)


def _of_tier(tiers: Mapping[str, Tier], who: Who) -> Sequence[Budget]:
    tier = tiers.get(who.tier)
    return () if tier is None or tier.budget is None else (tier.budget,)


def account(one: Binding, at: Window) -> Account:
    """Return where the money of a budget is taken from, in one of its periods."""
    budget = one.budget
    charge = Charge(one.name, at.starts_at)
    return Account(charge, at.ends_at, budget.name, budget.scope, one.who, budget.limit_nano_usd, budget.is_hard)


# ── how much ──


class Room(msgspec.Struct):
    """How a period stands, as a database says. own: what the asking writer holds (None: nothing ever), others: the rest."""

    limit_nano_usd: int
    spent_nano_usd: int = 0
    own_nano_usd: int | None = None
    others_nano_usd: int = 0
    recalls: int = 0

    @property
    def left_nano_usd(self) -> int:
        """What nobody has spent or holds. An own lease below nothing is in what was spent: taking more makes it up first."""
        return self.limit_nano_usd - self.spent_nano_usd - self.others_nano_usd - (self.own_nano_usd or 0)


class Granted(msgspec.Struct, frozen=True):
    """What a writer got. refused: per request the position of the account that has no room, None for a request that has
    all it needs. leased: per account, those requests' part of it included. rooms: as they stood before. recalled: positions
    of accounts where others hold what a refused request lacks.
    """

    refused: tuple[int | None, ...]
    leased: tuple[int, ...]
    rooms: tuple[Room, ...]
    recalled: frozenset[int]


def grant(is_hard: Sequence[bool], rooms: Sequence[Room], asks: Sequence[Sequence[tuple[int, int]]]) -> Granted:
    """Decide who gets what he asks for, in order, each all of it or nothing; and how much more their writer takes with it.

    A request that does not fit takes nothing, and a smaller one after it may fit. O(what is asked).
    """
    left = [room.left_nano_usd for room in rooms]
    leased = [0] * len(rooms)
    largest = [0] * len(rooms)
    refused: list[int | None] = []
    recalled: set[int] = set()
    for ask in asks:
        full = next((at for at, need in ask if is_hard[at] and need > left[at]), None)
        refused.append(full)
        if full is None:
            for at, need in ask:
                left[at] -= need
                leased[at] += need
                largest[at] = max(largest[at], need)
        elif all(need <= left[at] + rooms[at].others_nano_usd for at, need in ask if is_hard[at]):
            recalled.update(at for at, need in ask if is_hard[at] and need > left[at])
    for at, room in enumerate(rooms):
        if is_hard[at] and leased[at] and room.left_nano_usd >= LITTLE * largest[at]:
            leased[at] += min(left[at], max(0, room.left_nano_usd // SHARE - leased[at]))
    return Granted(tuple(refused), tuple(leased), tuple(rooms), frozenset(recalled))


def reached(budget: Budget, spent_nano_usd: int) -> list[tuple[str, int]]:
    """Return the marks that an alert is due at, as (name, nano-dollars), the lowest first: "80%" of the limit, "soft"."""
    marks = [(f"{share * 100:g}%", round(budget.limit_nano_usd * share)) for share in budget.alerts]
    if budget.soft_nano_usd is not None:
        marks.append(("soft", budget.soft_nano_usd))
    return sorted((mark for mark in marks if spent_nano_usd >= mark[1]), key=lambda mark: (mark[1], mark[0]))

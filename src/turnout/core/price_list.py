"""Reads a list of vendors' prices: which entry a model's id belongs to, and what it costs at an instant.

An entry's patterns are plain ids, or `abc*`, `*abc`, `*abc*`, or `/regular expression/`; several in a row must all fit. An
entry whose pattern is the plain id wins, then the first in the list's order. Letters' case does not count.
A price may hold from a day on (UTC), or in a part of every day (DeepSeek's cheap hours); of those that hold, the last in the list counts.
This file reads no clock and no file: config/prices.py has the list, and what time it is.
Source of the shapes: genai-prices' data, by scripts/build_prices.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime

import msgspec

from turnout.core.catalog import Price

DAY_S = 86_400


class Dated(msgspec.Struct, frozen=True, omit_defaults=True):
    """A price and when it holds. since: its first day, None for always. daily: first and last second of the day, half open;
    where the second is not above the first, over midnight.
    """

    price: Price
    since: date | None = None
    daily: tuple[int, int] | None = None


class Listed(msgspec.Struct, frozen=True):
    """One model. id: as the list names it. ids: its patterns, any of which fits. prices: in the list's order, at least one."""

    id: str
    ids: tuple[str | tuple[str, ...], ...]
    prices: tuple[Dated, ...]


class PriceList(msgspec.Struct, frozen=True):
    """source, date: of the data. vendors: by our name. like: vendors that sell others' models, and whose."""

    source: str
    date: date
    vendors: Mapping[str, tuple[Listed, ...]]
    like: Mapping[str, tuple[str, ...]] = {}

    def find(self, vendor: str, id_: str) -> Listed | None:
        """Return the entry of a vendor's model, None if there is none. O(entries), 50 µs for a vendor of 900."""
        text = id_.lower()
        for name in (vendor, *self.like.get(vendor, ())):
            entries = self.vendors.get(name, ())
            found = _first(entry for entry in entries if text in entry.ids)
            found = found or _first(entry for entry in entries if any(_fits(text, one) for one in entry.ids))
            if found is not None:
                return found
        return None


def price_at(prices: Sequence[Dated], wall: float) -> Price:
    """Return what holds at `wall`, Unix seconds; the first where none does. O(prices)."""
    for one in reversed(prices):
        if _holds(one, wall):
            return one.price
    return prices[0].price


def changes_at(prices: Sequence[Dated], wall: float) -> float | None:
    """Return the first instant after `wall` at which another price may hold, None if never. O(prices)."""
    instants = [edge for one in prices for edge in _edges(one, wall) if edge > wall]
    return min(instants, default=None)


def _first(entries: Iterable[Listed]) -> Listed | None:
    return next(iter(entries), None)


def _fits(text: str, pattern: str | tuple[str, ...]) -> bool:
    if isinstance(pattern, tuple):
        return all(_fits(text, one) for one in pattern)
    if len(pattern) > 1 and pattern[0] == pattern[-1] == "/":
        return re.search(pattern[1:-1], text) is not None
    inner = pattern.strip("*")
    if pattern.startswith("*"):
        return inner in text if pattern.endswith("*") else text.endswith(inner)
    return text.startswith(inner) if pattern.endswith("*") else text == inner


def _holds(one: Dated, wall: float) -> bool:
    if one.since is not None and wall < _midnight(one.since):
        return False
    if one.daily is None:
        return True
    second, (begins, ends) = wall % DAY_S, one.daily
    return begins <= second < ends if begins < ends else second >= begins or second < ends


def _edges(one: Dated, wall: float) -> list[float]:
    """When a price begins or ends to hold: its first day, and the edges of today's and tomorrow's part of the day."""
    edges = [] if one.since is None else [_midnight(one.since)]
    if one.daily is not None:
        today = wall - wall % DAY_S
        edges += [day + second for day in (today, today + DAY_S) for second in one.daily]
    return edges


def _midnight(day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()

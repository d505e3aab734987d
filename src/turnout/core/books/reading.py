"""Reads what the books keep as JSON: what a key is narrowed to, and the limits and budgets that somebody was given.

A row that cannot be read (a disk, a hand, another version) is never taken for one that narrows or limits nothing: whom it is
about opens no door until it is written anew (gateway/following.py says which row it is), and nobody else notices.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_network
from typing import Final

import msgspec

from turnout.core.books.statements import Row
from turnout.core.principal import Grant
from turnout.core.rules import Budget, Limit
from turnout.core.vendor_day import zone

UNREADABLE: Final = Grant(expires_at=0.0)
"""What stands for a grant that cannot be read: it ended long ago, so it grants nothing."""

_GRANT: Final = msgspec.json.Decoder(Grant)
_LIMIT: Final = msgspec.json.Decoder(Limit)
_BUDGET: Final = msgspec.json.Decoder(Budget)


class Broken(msgspec.Struct, frozen=True):
    """A row of table `rule` that cannot be read: whom it is about, and its kind ("limit", or "budget/" and a period)."""

    scope: str
    name: str
    kind: str


class RulesRead(msgspec.Struct, frozen=True):
    """The limits and budgets of some rows, and which of the rows cannot be read."""

    limits: list[Limit]
    budgets: list[Budget]
    broken: list[Broken]


def grant_in(text: object) -> Grant:
    """Return the grant of a column; UNREADABLE if it has none. 1 µs, and 3 µs for each address."""
    try:
        grant = _GRANT.decode(str(text))
        for address in grant.addresses:
            ip_network(address, strict=False)
    except (ValueError, RecursionError):
        return UNREADABLE
    return grant


def rules_in(rows: Iterable[Row]) -> RulesRead:
    """Return what rows of (scope, name, kind, body) say. 1 µs a row."""
    found = RulesRead([], [], [])
    for scope, name, kind, body in rows:
        try:
            if kind == "limit":
                found.limits.append(_LIMIT.decode(str(body)))
            else:
                budget = _BUDGET.decode(str(body))
                zone(budget.zone)
                found.budgets.append(budget)
        except (ValueError, RecursionError, KeyError, OSError):  # the last two: no such zone on this machine
            found.broken.append(Broken(str(scope), str(name), str(kind)))
    return found

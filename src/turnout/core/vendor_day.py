"""Finds the vendor's day that an instant falls in: from one reset of its allowances to the next.

A reset is a time on a clock on a wall somewhere ("midnight in Los Angeles"), so days of 23 and 25 hours exist. Where a
change of the clocks skips that time, the reset is as long after midnight as the clock would have shown without the
change; where it comes twice, the first counts. Everything here is computed from instants; nothing reads a clock.
Sources: PEP 495 (fold), the tz database through `zoneinfo`; RELIABILITY F20, T66.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import msgspec


class Day(msgspec.Struct, frozen=True):
    """number: of days since year 1, in the vendor's zone. start, end: Unix seconds, half open."""

    number: int
    start: float
    end: float


def zone(name: str) -> tzinfo:
    """Return a zone of the tz database. Raises ValueError or KeyError (ZoneInfoNotFoundError) for one that is not there.

    "UTC" is always there, on machines without the database too. Reads a file once per zone.
    """
    return UTC if name == "UTC" else ZoneInfo(name)


def day_at(where: tzinfo, starts_s: int, wall: float) -> Day:
    """Return the day that holds `wall`, Unix seconds. starts_s: when days begin, in seconds after midnight. O(1), 10 µs."""
    local = datetime.fromtimestamp(wall, where).replace(tzinfo=None)
    day = (local - timedelta(seconds=starts_s)).date()
    start, end = _reset(where, starts_s, day), _reset(where, starts_s, day + timedelta(days=1))
    while wall >= end:  # in the repeated hour of an autumn night the local time runs behind the reset
        day += timedelta(days=1)
        start, end = end, _reset(where, starts_s, day + timedelta(days=1))
    while wall < start:  # and in a skipped one before it
        day -= timedelta(days=1)
        start, end = _reset(where, starts_s, day), start
    return Day(day.toordinal(), start, end)


def _reset(where: tzinfo, starts_s: int, day: date) -> float:
    midnight = datetime(day.year, day.month, day.day)  # noqa: DTZ001 - the zone follows once the time of day is added
    return (midnight + timedelta(seconds=starts_s)).replace(tzinfo=where).timestamp()

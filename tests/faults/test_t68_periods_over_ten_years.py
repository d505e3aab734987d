"""T68: a budget's days, weeks and months begin and end at its zone's own midnights, over ten years of leap days and changed clocks.

The oracle asks zoneinfo, quarter by quarter of an hour, which date people there have: the latest they have had so far, as a date that
comes twice is one day.
"""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from turnout.core.budgeting import Window, window

ZONES = (
    *("Asia/Tokyo", "America/New_York", "Europe/Copenhagen", "UTC", "Australia/Lord_Howe", "Asia/Kathmandu"),
    *("America/Havana", "Asia/Beirut", "America/Asuncion", "Africa/Cairo", "America/Nuuk", "Pacific/Chatham"),
)
STEP_S = 900
BEGINS = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp())
DAY_S = 86400


def names(day):
    """What the day, the week and the month are called that a date is in."""
    return {"day": day, "week": tuple(day.isocalendar())[:2], "month": (day.year, day.month)}


@pytest.mark.parametrize("zone", ZONES)
def test_t68_periods_are_the_calendars(zone, size, proof):
    """Each instant is in the window that has all instants of its date, week and month, and no other."""
    days = size(420, 3653)
    where = ZoneInfo(zone)
    instants = range(BEGINS - 40 * DAY_S, BEGINS + days * DAY_S, STEP_S)
    latest = None
    begun: dict[str, list[int]] = {"day": [], "week": [], "month": []}
    current: dict[str, object] = {}
    for instant in instants:
        date = datetime.fromtimestamp(instant, where).date()
        latest = date if latest is None else max(latest, date)
        for period, name in names(latest).items():
            if current.get(period) != name:
                current[period] = name
                begun[period].append(instant)
    compared = 0
    for period, starts in begun.items():
        windows = [Window(*each) for each in pairwise(starts[1:])]
        for expected in windows:
            for instant in (
                expected.starts_at,
                expected.starts_at + 1,
                expected.ends_at - STEP_S,
                expected.ends_at - 1,
            ):
                assert expected == window(period, zone, 0, instant), (zone, period, instant)
                compared += 1
    proof(
        f"{zone}: {compared:,} instants at the edges of {days / 365.25:.0f} years of days, weeks and months, 0 mismatches"
    )

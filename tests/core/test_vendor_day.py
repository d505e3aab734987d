"""core/vendor_day.py: from one reset of a vendor's allowances to the next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.vendor_day import Day, day_at, zone

HOUR = 3600.0
ZONES = ["UTC", "America/Los_Angeles", "Europe/Copenhagen", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia"]


def at(text: str, where: str = "UTC", fold: int = 0) -> float:
    """Unix seconds of a local time."""
    return datetime.fromisoformat(text).replace(tzinfo=zone(where), fold=fold).timestamp()


def test_a_day_in_utc():
    """Half open: the reset itself belongs to the new day."""
    day = Day(739_941, at("2026-11-21"), at("2026-11-22"))
    number = datetime(2026, 11, 21).toordinal()
    assert Day(number, day.start, day.end) == day_at(UTC, 0, day.start)
    assert Day(number, day.start, day.end) == day_at(UTC, 0, day.end - 0.001)
    assert number + 1 == day_at(UTC, 0, day.end).number


def test_a_day_may_begin_at_any_time():
    """At 08:00 in Tokyo: what is earlier belongs to the day before."""
    day = day_at(ZoneInfo("Asia/Tokyo"), 8 * 3600, at("2026-11-21T07:59", "Asia/Tokyo"))
    assert (at("2026-11-20T08:00", "Asia/Tokyo"), at("2026-11-21T08:00", "Asia/Tokyo")) == (day.start, day.end)
    assert datetime(2026, 11, 20).toordinal() == day.number


@pytest.mark.parametrize(
    ("noon", "hours"), [("2026-03-08T12:00", 23), ("2026-11-01T12:00", 25), ("2026-06-01T12:00", 24)]
)
def test_days_are_as_long_as_the_clocks_make_them(noon, hours):
    """Los Angeles changes its clocks at 02:00."""
    day = day_at(zone("America/Los_Angeles"), 0, at(noon, "America/Los_Angeles"))
    assert hours * HOUR == day.end - day.start


def test_a_reset_in_the_repeated_hour_comes_once():
    """01:30 comes twice on 1 November; the first counts, and the second is in the middle of the day that it began."""
    where = zone("America/Los_Angeles")
    first, second = (at("2026-11-01T01:30", "America/Los_Angeles", fold) for fold in (0, 1))
    number = datetime(2026, 11, 1).toordinal()
    assert (number - 1, first) == (day_at(where, 5400, first - 1).number, day_at(where, 5400, first - 1).end)
    for instant in (first, first + 1800, second - 600, second, second + 600):
        assert (number, first) == (day_at(where, 5400, instant).number, day_at(where, 5400, instant).start)


def test_a_reset_in_the_skipped_hour_comes_as_the_clock_would_have_shown_it():
    """02:30 does not exist on 8 March: two and a half hours after midnight, which is 03:30."""
    where, reset = zone("America/Los_Angeles"), at("2026-03-08T03:30", "America/Los_Angeles")
    assert reset == day_at(where, 9000, reset - 1).end
    assert reset == day_at(where, 9000, reset).start
    assert reset == day_at(where, 9000, reset + 60).start


@given(st.sampled_from(ZONES), st.integers(0, 86_399), st.floats(at("2010-01-01"), at("2038-01-20"), allow_nan=False))
def test_every_instant_is_in_one_day_and_days_follow_each_other(name, starts_s, wall):
    """Without a gap, each about a day long, each reset at its time of day unless the clocks say otherwise."""
    where = zone(name)
    day = day_at(where, starts_s, wall)
    assert day.start <= wall < day.end
    assert day == day_at(where, starts_s, day.start)
    later = day_at(where, starts_s, day.end)
    assert day.end == later.start
    assert later.number > day.number
    assert 23 * HOUR <= day.end - day.start <= 25 * HOUR
    shown = datetime.fromtimestamp(day.start, where)
    wanted = timedelta(seconds=starts_s)
    if shown.utcoffset() == datetime.fromtimestamp(day.start - HOUR * 2, where).utcoffset():
        assert wanted == timedelta(hours=shown.hour, minutes=shown.minute, seconds=shown.second)


def test_a_zone_is_found_or_refused():
    """UTC needs no database."""
    assert UTC is zone("UTC")
    assert ZoneInfo("Asia/Tokyo") is zone("Asia/Tokyo")
    with pytest.raises(ZoneInfoNotFoundError):
        zone("Mars/Olympus")
    with pytest.raises(ValueError):
        zone("../etc/passwd")

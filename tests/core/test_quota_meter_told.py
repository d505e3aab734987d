"""core/quota_meter.py: what the vendor says, in headers, refusals and dates."""

from __future__ import annotations

import pytest

from turnout.core.catalog import Quota
from turnout.core.quota_day import SKEW_S
from turnout.core.quota_headers import Told
from turnout.core.quota_meter import CLOCK_EVERY_S, Meter

NOON = 1_800_014_400.0  # 12:00 UTC
NOW = 5000.0
HOUR = 3600.0
FREE = Quota("free", "stub", requests_minute=16, margin=0.25)


def made(wall: float = NOON, **options) -> Meter:
    """A meter that begins at NOW, when the wall shows `wall`."""
    return Meter(Quota("free", "stub", **options), NOW, wall - NOW)


def wait(meter: Meter, now: float = NOW, *, calls: int = 1, tokens: int = 0, ahead: int = 0, claim="usual") -> float:
    """How long a call waits."""
    return meter.wait_s(calls, tokens, claim, now, ahead)


def used(meter: Meter, count: int, now: float = NOW, tokens: int = 0) -> None:
    """`count` calls came and went."""
    for _ in range(count):
        meter.charge(tokens, now)
        meter.end(1.0)


def test_a_limit_that_config_does_not_know_is_learned():
    """A minute's or a day's, by its reset; with our margin; until something else is said."""
    meter = made(margin=0.25)
    meter.answered([Told("requests", 16, 16, 20.0), Told("tokens", 1000, 1000, 5 * HOUR)], NOW, is_refusal=False)
    assert (12, 0, 0, 750) == (meter.requests_minute, meter.requests_day, meter.tokens_minute, meter.tokens_day)
    meter.answered([Told("requests", 20, 20, 20.0)], NOW, is_refusal=False)
    assert 15 == meter.requests_minute


@pytest.mark.parametrize("reset_s", [None, 62.0, 3600.0])
def test_what_may_be_a_minutes_or_a_days_is_not_learned(reset_s):
    """A wrong guess would keep us waiting for a day."""
    meter = made()
    meter.answered([Told("requests", 20, 15, reset_s)], NOW, is_refusal=False)
    assert ({}, 0) == (meter.learned, meter.window.requests)


def test_a_learned_limit_never_widens_a_known_one():
    """And narrows it."""
    meter = made(requests_minute=16)
    meter.answered([Told("requests", 100, 100, 10.0)], NOW, is_refusal=False)
    assert 16 == meter.requests_minute
    meter.answered([Told("requests", 8, 8, 10.0)], NOW, is_refusal=False)
    assert 8 == meter.requests_minute


def test_what_the_vendor_counted_and_we_did_not_counts():
    """Somebody else uses the account too. What it counted less is not believed."""
    meter = made(requests_minute=16, requests_day=1000, tokens_minute=500, tokens_day=9000)
    used(meter, 3, tokens=10)
    meter.answered(
        [
            Told("requests", 16, 10, None),
            Told("requests", 1000, 900, None),
            Told("tokens", 500, 100, None),
            Told("tokens", 9000, 1000, None),
        ],
        NOW,
        is_refusal=False,
    )
    assert (6, 100, 400, 8000) == (meter.window.requests, meter.today.requests, meter.window.tokens, meter.today.tokens)
    meter.answered(
        [Told("requests", 16, 15, None), Told("requests", 1000, 999, None), Told("tokens", 500, 499, None)],
        NOW,
        is_refusal=False,
    )
    assert (6, 100, 400) == (meter.window.requests, meter.today.requests, meter.window.tokens)


def test_equal_numbers_are_told_apart_by_their_reset():
    """16 a minute and 16 a day."""
    meter = made(requests_minute=16, requests_day=16)
    meter.answered([Told("requests", 16, 10, 30.0)], NOW, is_refusal=False)
    assert (6, 0) == (meter.window.requests, meter.today.requests)
    meter.answered([Told("requests", 16, 8, 9 * HOUR)], NOW, is_refusal=False)
    assert (6, 8) == (meter.window.requests, meter.today.requests)


def test_used_up_is_closed_until_the_vendors_reset():
    """Whoever else used it; but no longer than the day lasts (or a minute, next to its end)."""
    meter = made(requests_minute=16, requests_day=1000)
    meter.answered([Told("requests", 16, 0, 42.0)], NOW, is_refusal=True)
    assert 42.0 == wait(meter, claim="high")
    assert 0.0 == wait(meter, NOW + 42, claim="high")
    meter.answered([Told("requests", 1000, 0, 20 * HOUR)], NOW, is_refusal=True)
    assert 12 * HOUR + SKEW_S == wait(meter, claim="high")
    other = made(NOON + 12 * HOUR - 5, requests_minute=16)
    other.answered([Told("requests", 16, 0, 50.0)], NOW, is_refusal=True)
    assert 50.0 == wait(other)


def test_one_refusal_rests_its_candidate_and_a_second_one_in_a_row_closes_the_quota():
    """For as long as the vendor said."""
    meter = made()
    meter.refused(7.0, NOW)
    assert 0.0 == wait(meter)
    meter.refused(7.0, NOW)
    assert 7.0 == wait(meter)
    meter.refused(2.0, NOW)
    assert 7.0 == wait(meter)


def test_refusals_without_a_time_close_it_for_longer_and_longer():
    """Up to a minute; an answer begins the count anew, a refusal's own headers do not."""
    meter, waits = made(), []
    for _ in range(9):
        meter.refused(None, NOW)
        meter.answered([], NOW, is_refusal=True)
        waits.append(wait(meter))
    assert [0.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0] == waits
    meter.answered([], NOW, is_refusal=False)
    meter.refused(None, NOW + 60)
    assert 0.0 == wait(meter, NOW + 60)
    meter.refused(-5.0, NOW + 60)
    assert 0.0 == wait(meter, NOW + 60)


def test_the_vendors_clock_is_followed_once_two_looks_agree():
    """Our machine slept for eight hours: the vendor's day began in the meantime, and with it our new one."""
    meter = made(requests_day=5)
    used(meter, 5)
    slept = NOON + 13 * HOUR
    assert meter.is_clock_due(NOW)
    meter.synchronise(slept, NOW)
    assert not meter.is_clock_due(NOW + 1)
    assert wait(meter, claim="high") > 0
    meter.synchronise(slept + CLOCK_EVERY_S, NOW + CLOCK_EVERY_S)
    assert 0.0 == wait(meter, NOW + CLOCK_EVERY_S, claim="high")


@pytest.mark.parametrize("off_s", [-2.0, 0.0, 2.0])
def test_a_little_difference_between_clocks_is_none(off_s):
    """Answers travel, dates are cut to seconds."""
    meter = made()
    for look in range(3):
        meter.synchronise(NOON + look + off_s, NOW + look)
    assert NOON == meter.wall(NOW)


def test_two_odd_looks_that_differ_change_nothing():
    """One machine of the vendor's many may be wrong."""
    meter = made()
    for off_s in (HOUR, -HOUR, HOUR, 5 * HOUR):
        meter.synchronise(NOON + off_s, NOW)
    assert NOON == meter.wall(NOW)


def test_a_clock_that_was_a_day_ahead_gets_back_what_it_forgot():
    """It took the next day to have begun; what was used before counts again, and so does what was used since."""
    meter = made(NOON - 13 * HOUR, requests_day=10)
    used(meter, 4)
    meter.synchronise(NOON, NOW)
    meter.synchronise(NOON, NOW)
    used(meter, 3)
    assert 3 == meter.today.requests
    meter.synchronise(NOON - 13 * HOUR, NOW)
    meter.synchronise(NOON - 13 * HOUR, NOW)
    assert 7 == meter.today.requests
    used(meter, 1)
    meter.synchronise(NOON - 40 * HOUR, NOW)
    meter.synchronise(NOON - 40 * HOUR, NOW)
    assert 8 == meter.today.requests

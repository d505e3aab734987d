"""core/quota_state.py: the books of quotas, over a restart."""

from __future__ import annotations

import msgspec
import pytest

from turnout.core.catalog import Quota
from turnout.core.quota_headers import Told
from turnout.core.quota_meter import Meter
from turnout.core.quota_state import dump, load
from turnout.core.quota_window import SPAN_S

NOON = 1_800_014_400.0
NOW = 5000.0
QUOTA = Quota("free", "stub", requests_minute=3, requests_day=100)


def made(now: float = NOW, wall: float = NOON, quota: Quota = QUOTA) -> dict[str, Meter]:
    """One meter, by name."""
    return {"free": Meter(quota, now, wall - now)}


def test_everything_that_counts_comes_back():
    """Minute, day, demand, what was learned, and how long it stays closed; what was under way is not."""
    old = made()
    meter = old["free"]
    for tokens in (5, 0):
        meter.settle(meter.charge(3, NOW - 10), tokens, NOW - 10)
    meter.demand.hours[7] = 12.5
    meter.answered([Told("requests", 2, 0, 30.0)], NOW, is_refusal=True)
    state = dump(old, NOW, NOON)

    new = made(NOW + 4, NOON + 4)
    load(state, new, NOW + 4, NOON + 4)
    again = new["free"]
    assert (2, 5, 2, 5) == (again.today.requests, again.today.tokens, again.window.requests, again.window.tokens)
    assert [slot.ends for slot in meter.window.slots()] == [slot.ends for slot in again.window.slots()]
    assert meter.demand.hours == again.demand.hours
    assert ({"requests_minute": 2}, 2) == (again.learned, again.requests_minute)
    assert (NOW + 30, 5.0, 0) == (again.closed_until, again.tokens_each, again.in_flight)
    assert meter.took_s == again.took_s


@pytest.mark.parametrize(
    ("now", "wall", "away_s"),
    [
        (NOW + 20, NOON + 20, 20),  # the same boot
        (NOW + 20, NOON + 3620, 20),  # the wall was set an hour ahead
        (NOW + 20, NOON - 3580, 0),  # or back
        (7.0, NOON + 20, 0),  # the machine began anew: its monotonic clock says nothing
        (NOW + 9000, NOON + 20, 20),
    ],
)
def test_how_long_it_was_away_is_what_both_clocks_allow(now, wall, away_s):
    """What is not certain counts as used."""
    old = made()
    for _ in range(3):
        old["free"].charge(0, NOW)
    state = dump(old, NOW, NOON)
    new = made(now, wall)
    load(state, new, now, wall)
    assert pytest.approx(0.25 + SPAN_S - away_s) == new["free"].wait_s(1, 0, "high", now, 0)


def test_a_day_that_is_over_does_not_come_back():
    """Nor one of another quota, nor a minute that has passed."""
    old = made()
    old["free"].charge(0, NOW)
    old["gone"] = Meter(QUOTA, NOW, NOON - NOW)
    state = dump(old, NOW, NOON)
    later = made(NOW + 86_400, NOON + 86_400)
    load(state, later, NOW + 86_400, NOON + 86_400)
    assert (0, 0) == (later["free"].today.requests, later["free"].window.requests)
    assert ["free"] == list(later)


@pytest.mark.parametrize("state", [b"", b"{}", b"null", b'{"now": 1, "wall": 2, "quotas": {"free": 3}}', b"\xff"])
def test_what_is_no_state_is_refused(state):
    """And changes nothing."""
    meters = made()
    with pytest.raises(ValueError):
        load(state, meters, NOW, NOON)
    assert 0.0 == meters["free"].wait_s(1, 0, "high", NOW, 0)


def test_it_is_small():
    """However busy the minute: below 20 kB, about 1 kB with a free tier's few calls."""
    old = made(quota=Quota("free", "stub"))
    for number in range(6000):
        old["free"].window.expire(NOW + number / 100)
        old["free"].charge(100, NOW + number / 100)
    assert len(dump(old, NOW + 60, NOON + 60)) < 20_000
    assert msgspec.json.decode(dump(old, NOW + 60, NOON + 60))["quotas"]["free"]["today"]["requests"] == 6000

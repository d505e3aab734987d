"""core/quota_view.py: where a quota stands, for people."""

from __future__ import annotations

from turnout.core.catalog import Quota
from turnout.core.quota_headers import Told
from turnout.core.quota_meter import Meter
from turnout.core.quota_view import Gauge, QuotaView, view

NOON = 1_800_014_400.0
MIDNIGHT = NOON + 12 * 3600
NOW = 5000.0


def made(**options) -> Meter:
    """A meter that begins at noon."""
    return Meter(Quota("free", "stub", "*:free", **options), NOW, NOON - NOW)


def test_a_quota_without_limits_has_nothing_to_show():
    """Only that it is there."""
    assert QuotaView("free", "stub", "*:free", 0.0, ()) == view("free", made(), NOW, NOON)


def test_every_limit_has_its_gauge():
    """Used, left, what the vendor allows and what we use of that; when it is free again."""
    meter = made(
        requests_minute=16,
        tokens_minute=1000,
        requests_day=1000,
        tokens_day=20_000,
        at_once=2,
        margin=0.25,
        reserve=0.1,
    )
    meter.charge(300, NOW)
    meter.charge(500, NOW + 10)
    shown = view("free", meter, NOW + 10, NOON + 10)
    assert 0.25 == shown.margin
    assert [
        Gauge("requests_minute", 2, 10, 12, 16, resets_at=NOON + 60.5),
        Gauge("tokens_minute", 800, 0, 750, 1000, resets_at=NOON + 60.5),
        Gauge("requests_day", 2, 748, 750, 1000, reserved=meter.reserved(NOW + 10), resets_at=MIDNIGHT),
        Gauge("tokens_day", 800, 14_200, 15_000, 20_000, resets_at=MIDNIGHT),
        Gauge("at_once", 2, 0, 2, 2),
    ] == list(shown.gauges)


def test_what_has_passed_is_not_shown():
    """A minute later, and a day later."""
    meter = made(requests_minute=16, requests_day=1000)
    meter.charge(0, NOW)
    assert [0, 1] == [gauge.used for gauge in view("free", meter, NOW + 70, NOON + 70).gauges]
    assert [None, MIDNIGHT] == [gauge.resets_at for gauge in view("free", meter, NOW + 70, NOON + 70).gauges]
    assert [0, 0] == [gauge.used for gauge in view("free", meter, NOW + 50_000, NOON + 50_000).gauges]


def test_the_reserve_is_never_more_than_what_is_left():
    """High priority may have used it."""
    meter = made(requests_day=100, reserve=0.5)
    for _ in range(80):
        meter.charge(0, NOW)
    (gauge,) = view("free", meter, NOW, NOON).gauges
    assert (20, 20) == (gauge.left, gauge.reserved)


def test_what_was_learned_says_so():
    """So that nobody looks for it in the config."""
    meter = made(requests_day=1000)
    meter.answered([Told("requests", 16, 16, 30.0), Told("tokens", 500, 500, 9e4)], NOW, is_refusal=False)
    shown = {gauge.what: gauge.is_learned for gauge in view("free", meter, NOW, NOON).gauges}
    assert {"requests_minute": True, "requests_day": False, "tokens_day": True} == shown


def test_when_the_day_will_run_out():
    """By the usual demand, 60 an hour: 100 left last an hour and two thirds."""
    meter = made(requests_day=100)
    for minute in range(60):
        meter.wanted(NOW + 60 * minute)
    later = NOW + 3600
    meter.wanted(later)
    (gauge,) = view("free", meter, later, NOON + 3600).gauges
    assert gauge.runs_out_at is not None
    assert abs(gauge.runs_out_at - (NOON + 3600 + 6000)) < 1


def test_instants_are_shown_as_the_machines_clock_will_show_them():
    """It goes an hour slow: midnight comes when it shows eleven."""
    meter = made(requests_minute=1, requests_day=100)
    meter.charge(0, NOW)
    for _ in range(2):
        meter.refused(30.0, NOW)
    shown = view("free", meter, NOW, NOON - 3600)
    assert NOON - 3600 + 30 == shown.closed_until
    assert [NOON - 3600 + 60.5, MIDNIGHT - 3600] == [gauge.resets_at for gauge in shown.gauges]
    assert view("free", meter, NOW + 30, NOON).closed_until is None

"""core/limit_view.py: where a limit stands, in numbers that add up."""

from __future__ import annotations

import pytest

from turnout.core.leasing import Held, Lease
from turnout.core.limit_view import LimitGauge, LimitView, unused, view
from turnout.core.limiting import Meter, charge, settle
from turnout.core.quota_window import SPAN_S
from turnout.core.rules import Rates

NOW = 1000.1
WALL = 1_800_000_000.1
ROOM_AT = 1_800_000_000.25 + SPAN_S
"""When what is counted now leaves the window: a minute after the end of its slot."""


def test_what_is_used_is_missing_until_it_leaves_the_window():
    """Requests, tokens and those under way; what the limit does not speak of is not told."""
    meter = Meter("user:anna", Rates(10, 500, 3))
    slots = charge([meter], 200, NOW)
    charge([meter], 250, NOW + 5)
    told = view(meter, NOW + 5, WALL + 5)
    assert ("user", "anna") == (told.scope, told.who)
    assert [
        ("requests_minute", 10, 2, 0, 8),
        ("tokens_minute", 500, 450, 0, 50),
        ("at_once", 3, 2, 0, 1),
    ] == [(one.what, one.limit, one.used, one.elsewhere, one.left) for one in told.gauges]
    assert [ROOM_AT, ROOM_AT, None] == [one.room_at and pytest.approx(one.room_at) for one in told.gauges]
    assert 0.1 == told.share_left
    settle([meter], slots, 200, 0, NOW + 5)
    requests, tokens, at_once = view(meter, NOW + 5, WALL + 5).gauges
    assert (2, 250, 1) == (requests.used, tokens.used, at_once.used)
    assert pytest.approx(ROOM_AT + 5) == tokens.room_at
    later = view(meter, NOW + 70, WALL + 70)
    assert [(10, None), (500, None), (2, None)] == [(one.left, one.room_at) for one in later.gauges]


def test_what_others_hold_is_not_left():
    """However much they hold: never less than nothing."""
    meter = Meter("all", Rates(10, 0, 4))
    meter.lease = Lease(Rates())
    meter.lease.took(Held(Rates(2, 0, 1), Rates(9, 7, 1), 1, wants=False, is_sure=True))
    charge([meter], 5, NOW)
    charge([meter], 5, NOW)
    told = view(meter, NOW, WALL)
    assert ("all", "", 0.0) == (told.scope, told.who, told.share_left)
    assert [(2, 9, 0), (2, 1, 1)] == [(one.used, one.elsewhere, one.left) for one in told.gauges]


def test_a_limit_that_nothing_counts_on_is_all_there():
    """And one without numbers has nothing to tell."""
    assert LimitView("key", "k_1", (LimitGauge("at_once", 5, 0, 0, 5),)) == unused("key:k_1", Rates(at_once=5))
    assert ((), 1.0) == (unused("all", Rates()).gauges, unused("all", Rates()).share_left)

"""core/breaker.py: when a candidate rests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.breaker import Breaker
from turnout.core.catalog import BreakerRule

RULE = BreakerRule()


def opened(at: float = 0.0) -> Breaker:
    """A breaker that has just opened."""
    breaker = Breaker()
    for _ in range(5):
        breaker.failed(at, RULE)
    return breaker


def test_it_begins_well():
    """Nothing known is nothing held against it."""
    breaker = Breaker()
    assert (breaker.resting_until, breaker.is_failing, breaker.is_throttled) == (0.0, False, False)


def test_five_failures_in_a_row_open_it_for_thirty_seconds():
    """Four do not, and a success begins the count anew."""
    breaker = Breaker()
    for _ in range(4):
        breaker.failed(0.0, RULE)
    breaker.succeeded()
    for at in range(4):
        breaker.failed(float(at), RULE)
    assert (breaker.resting_until, breaker.is_failing) == (0.0, True)
    breaker.failed(10.0, RULE)
    assert (breaker.resting_until, breaker.rests) == (40.0, 1)


def test_each_failed_probe_lengthens_the_rest_up_to_five_minutes():
    """30, 60, 90 … 300, 300."""
    breaker, rests = opened(), [30.0]
    for _ in range(11):
        now = breaker.resting_until
        breaker.begin(now, RULE)
        breaker.failed(now, RULE)
        rests.append(breaker.resting_until - now)
    assert [30.0 * number for number in range(1, 11)] + [300.0, 300.0] == rests


def test_one_probe_per_rest():
    """Once the probe is under way the candidate rests for everybody else, for one more rest if nobody hears of it."""
    breaker = opened()
    breaker.begin(29.9, RULE)
    assert breaker.resting_until == 30.0
    breaker.begin(31.0, RULE)
    assert breaker.resting_until == 61.0
    breaker.begin(61.0, RULE)
    assert (breaker.resting_until, breaker.rests) == (91.0, 1)


def test_a_success_closes_it_at_once():
    """Back within one probe, and the next opening begins at 30 s again."""
    breaker = opened()
    breaker.begin(30.0, RULE)
    breaker.succeeded()
    assert (breaker.resting_until, breaker.rests, breaker.is_failing) == (0.0, 0, False)
    for _ in range(5):
        breaker.failed(40.0, RULE)
    assert breaker.resting_until == 70.0


def test_late_news_does_not_lengthen_a_rest():
    """Attempts that were under way when it opened, and last resorts while it rests, are not probes."""
    breaker = opened()
    breaker.failed(5.0, RULE)
    breaker.begin(10.0, RULE)
    breaker.failed(11.0, RULE)
    assert (breaker.resting_until, breaker.rests) == (30.0, 1)


@pytest.mark.parametrize(("draw", "until"), [(0.0, 107.0), (0.5, 107.35), (0.999, 107.7)])
def test_a_throttle_is_a_cool_down_for_as_long_as_the_vendor_said(draw, until):
    """T11: 7 s, up to a tenth more, never less; no mark against health."""
    breaker = Breaker()
    breaker.throttled(100.0, 7.0, draw)
    assert until == pytest.approx(breaker.resting_until, abs=0.001)
    assert (breaker.is_throttled, breaker.is_failing, breaker.rests) == (True, False, 0)


def test_without_a_hint_the_cool_down_doubles_up_to_eight_seconds():
    """T14; its end is our guess, so it is no known instant. A success begins it anew."""
    breaker = Breaker()
    waits = []
    for _ in range(20):
        breaker.throttled(0.0, None, 0.0)
        waits.append(breaker.resting_until)
    assert waits == [0.5, 1.0, 2.0, 4.0] + [8.0] * 16
    assert not breaker.is_throttled
    breaker.succeeded()
    breaker.throttled(0.0, None, 0.0)
    assert breaker.resting_until == 0.5


@pytest.mark.parametrize(("hint_s", "wait_s"), [(-5.0, 0.0), (0.25, 0.25), (1e9, 3600.0)])
def test_a_hint_is_bounded(hint_s, wait_s):
    """A vendor's typo does not take a model away for thirty years."""
    breaker = Breaker()
    breaker.throttled(0.0, hint_s, 0.0)
    assert wait_s == breaker.resting_until


def test_a_success_does_not_end_a_cool_down():
    """What was asked before the refusal says nothing about the quota after it."""
    breaker = Breaker()
    breaker.throttled(0.0, 7.0, 0.0)
    breaker.succeeded()
    assert breaker.resting_until == 7.0


def test_the_later_end_counts():
    """An open breaker is not hidden by a short cool-down, nor the other way round."""
    breaker = opened()
    breaker.throttled(1.0, 2.0, 0.0)
    assert (breaker.resting_until, breaker.is_throttled) == (30.0, False)
    breaker.throttled(1.0, 100.0, 0.0)
    assert (breaker.resting_until, breaker.is_throttled) == (101.0, True)


def test_a_throttled_probe_leaves_it_open():
    """A refusal for rate is neither health nor illness: the next probe comes with the next rest."""
    breaker = opened()
    breaker.begin(30.0, RULE)
    breaker.throttled(30.0, None, 0.0)
    breaker.failed(31.0, RULE)
    assert (breaker.resting_until, breaker.rests) == (60.0, 1)


@given(st.lists(st.tuples(st.sampled_from(["begin", "ok", "bad", "429"]), st.floats(0, 400)), max_size=60))
def test_whatever_happens_it_comes_back(steps):
    """From any state: the rest is bounded, and after it one success makes it well."""
    breaker, now = Breaker(), 0.0
    for what, passed in steps:
        now += passed
        if what == "begin":
            breaker.begin(now, RULE)
        elif what == "ok":
            breaker.succeeded()
        elif what == "bad":
            breaker.failed(now, RULE)
        else:
            breaker.throttled(now, 10.0, 0.5)
        assert breaker.resting_until <= now + RULE.max_rest_s
    now += RULE.max_rest_s
    breaker.begin(now, RULE)
    breaker.succeeded()
    assert (breaker.resting_until <= now, breaker.is_failing) == (True, False)


def test_a_target_that_fails_for_a_minute_is_asked_seldom_and_is_back_with_the_first_probe():
    """T17: 10 requests a second, 60 s of failure, then health: 5 failures, one probe at 30 s, the next one succeeds."""
    breaker, asked = Breaker(), []
    for tick in range(2000):
        now = tick / 10
        if breaker.resting_until > now:
            continue
        breaker.begin(now, RULE)
        asked.append(now)
        if now < 60:
            breaker.failed(now, RULE)
        else:
            breaker.succeeded()
    failures = [now for now in asked if now < 60]
    assert failures == [0.0, 0.1, 0.2, 0.3, 0.4, 30.4]
    assert asked[len(failures)] == 90.4
    assert asked[len(failures) + 1] == 90.5

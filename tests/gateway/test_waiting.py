"""gateway/waiting.py: what a request that waits is for the line."""

from __future__ import annotations

from turnout.core.catalog import Account, Candidate, Model
from turnout.core.eligible import Choice
from turnout.core.queueing import JOB, JOB_LEAD_S
from turnout.gateway.waiting import Waiting, Want

ACCOUNT = Account("free", "compatible")


def choice(name, *quotas):
    return Choice(Candidate(f"{name}@free", Model(name, "free", name), ACCOUNT, name, None, quotas), "control")


def test_the_best_of_those_that_share_a_lane_is_the_one():
    """Two models of the same quotas are one lane, and the first of them is asked."""
    first, second, third = choice("a", "q"), choice("b", "q"), choice("c", "q", "r")
    one = Waiting(Want("me", "medium", 10.0), [first, second, third], 0.0)
    assert {("q",): first, ("q", "r"): third} == one.choices
    assert (("q",), ("q", "r")) == one.lanes


def test_a_job_takes_what_is_left_over_until_its_time_is_near():
    """Then it is a call like others."""
    one = Waiting(Want("me", "low", 5000.0, tokens=7, by=5000.0), [choice("a", "q")], 0.0)
    assert (JOB, True, 7) == (one.rank, one.need(0.0).is_spare, one.need(0.0).tokens)
    assert (False, True) == (one.need(0.0).is_due, one.need(5000.0 - JOB_LEAD_S).is_due)


def test_high_priority_may_use_the_reserve():
    """And others may not."""
    high = Waiting(Want("me", "high", 10.0), [choice("a", "q")], 0.0)
    low = Waiting(Want("me", "low", 10.0), [choice("a", "q")], 0.0)
    assert (True, False) == (high.need(0.0).is_high, low.need(0.0).is_high)

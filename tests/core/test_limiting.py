"""core/limiting.py: may this caller ask now?"""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from turnout.core.leasing import Held, Lease
from turnout.core.limiting import NO_LIMIT, NOTHING, PLACE_S, Denied, Meter, Room, charge, deny, settle, tightest
from turnout.core.quota_window import SLOT_S, SPAN_S, WINDOW_S
from turnout.core.rules import Rates

NOW = 1000.0
LAST = NOW + SLOT_S + SPAN_S
"""When what is counted at NOW counts no more."""


def meter(requests=0, tokens=0, at_once=0, name="user:anna"):
    return Meter(name, Rates(requests, tokens, at_once))


def state(one, now=NOW):
    """Everything that counts."""
    return one.used(now), [(slot.ends, slot.requests, slot.tokens) for slot in one.window.slots()]


def held_of(one, rates, others=NOTHING):
    """Let a meter have only a part of its limit."""
    one.lease = Lease(Rates())
    one.lease.took(Held(rates, others, 0, wants=False, is_sure=True))
    one.may(one.lease.usable(one.limit))
    return one


# ── one name ──


def test_requests_are_counted_for_a_minute():
    """So many in any 60 seconds, and it says when the next may come."""
    one = meter(requests=2)
    for _ in range(2):
        assert deny([one], 500, NOW) is None
        charge([one], 500, NOW)
    assert Denied(one, "requests", LAST - NOW, is_final=True) == deny([one], 500, NOW)
    assert deny([one], 500, LAST - 0.001) is not None
    assert deny([one], 500, LAST) is None


def test_tokens_are_taken_as_they_may_be_and_put_right_at_the_end():
    """What was not used is free at once, what was used beyond counts from then on."""
    one = meter(tokens=1000)
    slots = charge([one], 800, NOW)
    assert Denied(one, "tokens", LAST - NOW, is_final=True) == deny([one], 300, NOW)
    settle([one], slots, 800, 100, NOW + 1)
    assert deny([one], 900, NOW + 1) is None
    slots = charge([one], 0, NOW + 1)
    settle([one], slots, 0, 1900, NOW + 2)
    assert Rates(2, 2000, 0) == one.used(NOW + 2)
    assert deny([one], 0, NOW + 2) is not None
    assert deny([one], 0, NOW + 2 + SLOT_S + SPAN_S) is None


def test_what_used_exactly_what_was_taken_changes_nothing():
    """But the place it had."""
    one = meter(tokens=1000, at_once=1)
    slots = charge([one], 800, NOW)
    settle([one], slots, 800, 800, NOW)
    assert Rates(1, 800, 0) == one.used(NOW)


def test_a_request_larger_than_the_limit_may_never_go():
    """However long it waits."""
    one = meter(tokens=100)
    assert Denied(one, "tokens", inf, is_final=True) == deny([one], 101, NOW)
    assert deny([one], 100, NOW) is None


def test_places_are_free_when_a_request_ends():
    """A second is a guess: nobody knows when it does."""
    one = meter(at_once=1)
    slots = charge([one], 50, NOW)
    assert Denied(one, "at_once", PLACE_S, is_final=True) == deny([one], 50, NOW)
    settle([one], slots, 50, 50, NOW)
    assert deny([one], 50, NOW) is None


def test_a_limit_that_says_nothing_limits_nothing():
    """Zero is no number of a limit."""
    one = meter()
    for _ in range(1000):
        charge([one], 10**9, NOW)
    assert deny([one], 10**12, NOW) is None
    assert one.may_tokens == NO_LIMIT


def test_an_idle_meter_may_be_forgotten():
    """Not while something of it counts, or a request is under way."""
    one = meter(requests=1)
    assert one.is_idle(NOW)
    slots = charge([one], 5, NOW)
    assert not one.is_idle(NOW)
    settle([one], slots, 5, 5, NOW)
    assert not one.is_idle(LAST - 0.001)
    assert one.is_idle(LAST)
    charge([one], 5, LAST)
    assert not one.is_idle(LAST + 100)


# ── several names ──


def test_the_name_that_refuses_longest_is_told():
    """So that a client that waits as long as it is told gets in."""
    soon, late = meter(requests=1, name="key:k"), meter(requests=1, name="all")
    charge([soon], 0, NOW - 30)
    charge([late], 0, NOW)
    assert deny([soon, late], 0, NOW).meter is late
    assert deny([late, soon], 0, NOW).meter is late
    assert deny([late, soon], 0, NOW).wait_s == LAST - NOW


@given(st.integers(0, 3), st.sampled_from(["requests", "tokens", "at_once"]))
def test_whoever_refuses_no_other_has_counted(place, what):
    """C6: a refusal changes no counter, whichever of the names it comes from."""
    full = {"requests": Rates(1, 0, 0), "tokens": Rates(0, 100, 0), "at_once": Rates(0, 0, 1)}[what]
    meters = [Meter(f"user:{number}", full if number == place else Rates(50, 5000, 50)) for number in range(4)]
    charge(meters, 100, NOW)
    before = [state(one) for one in meters]
    assert what == deny(meters, 100, NOW).what
    assert before == [state(one) for one in meters]


# ── a part of a limit ──


def test_what_others_may_give_back_is_not_final():
    """The limit has room, this process has not: whoever holds the rest may give it."""
    one = held_of(meter(requests=10, tokens=1000, at_once=4), Rates(1, 100, 1))
    charge([one], 50, NOW)
    found = deny([one], 20, NOW)
    assert (found.what, found.is_final) == ("requests", False)
    assert found.wait_s == LAST - NOW
    one = held_of(meter(requests=10, tokens=1000, at_once=4), Rates(2, 100, 2))
    charge([one], 50, NOW)
    assert Denied(one, "tokens", PLACE_S, is_final=False) == deny([one], 120, NOW)
    one = held_of(meter(at_once=4), Rates(0, 0, 0))
    assert Denied(one, "at_once", PLACE_S, is_final=False) == deny([one], 0, NOW)
    one = held_of(meter(requests=10), Rates(0, 0, 0))
    assert Denied(one, "requests", PLACE_S, is_final=False) == deny([one], 0, NOW)


def test_a_part_is_never_more_than_the_limit():
    """Also where the limit was lowered after the part was given."""
    one = held_of(meter(requests=10, tokens=100, at_once=3), Rates(50, 5000, 50))
    assert (10, 100, 3) == (one.may_requests, one.may_tokens, one.may_at_once)


# ── what is told ──


def test_the_tightest_is_told():
    """Of requests and of tokens on their own: that name which has the smallest part of its limit left."""
    user, all_ = meter(requests=10, tokens=1000), meter(requests=1000, tokens=2000, name="all")
    charge([user, all_], 900, NOW)
    charge([all_], 800, NOW)
    assert (Room(10, 9, LAST - NOW), Room(1000, 100, LAST - NOW)) == tightest([user, all_], NOW)
    charge([all_], 200, NOW)
    assert Room(2000, 100, LAST - NOW) == tightest([all_, user], NOW)[1]


def test_nothing_is_told_of_what_has_no_limit():
    """And all is left where nothing was used."""
    assert (None, None) == tightest([meter(at_once=5)], NOW)
    assert (Room(10, 10, 0.0), None) == tightest([meter(requests=10)], NOW)


def test_what_others_hold_is_told_as_used():
    """It may be used at any moment, so nobody should count on it."""
    one = held_of(meter(requests=10), Rates(3, 0, 0), others=Rates(6, 0, 0))
    charge([one], 0, NOW)
    assert 3 == tightest([one], NOW)[0].left
    one = held_of(meter(requests=10), Rates(3, 0, 0), others=Rates(20, 0, 0))
    assert 0 == tightest([one], NOW)[0].left


# ── never too many ──


class NeverTooMany(RuleBasedStateMachine):
    """Whatever callers do, no 60 seconds see more than any of their limits: a model that keeps exact times."""

    @initialize(
        limits=st.lists(
            st.tuples(st.integers(0, 5), st.sampled_from([0, 60, 100]), st.integers(0, 3)), min_size=1, max_size=4
        )
    )
    def begin(self, limits):
        """Some limits."""
        self.now = NOW
        self.meters = [Meter(f"user:{at}", Rates(*rates)) for at, rates in enumerate(limits)]
        self.requests = {one.name: [] for one in self.meters}  # [when, tokens as far as they are known]
        self.under_way = []

    @rule(seconds=st.one_of(st.floats(0, 1), st.floats(0, 61), st.sampled_from([SLOT_S, WINDOW_S])))
    def time_passes(self, seconds):
        """As it does."""
        self.now += seconds

    @rule(data=st.data(), tokens=st.integers(0, 110))
    def ask(self, data, tokens):
        """One request, on some of the names."""
        on = data.draw(st.lists(st.sampled_from(self.meters), unique_by=lambda one: one.name, min_size=1))
        before = [state(one, self.now) for one in self.meters]
        denied = deny(on, tokens, self.now)
        assert before == [state(one, self.now) for one in self.meters]
        if denied is not None:
            assert denied.wait_s > 0
            return
        said = [[self.now, tokens] for _ in on]
        for one, request in zip(on, said, strict=True):
            self.requests[one.name].append(request)
        self.under_way.append((on, charge(on, tokens, self.now), tokens, said))

    @rule(part=st.floats(0, 1))
    def one_ends(self, part):
        """It used a part of its tokens."""
        if self.under_way:
            on, slots, tokens, said = self.under_way.pop(0)
            used = int(part * tokens)
            settle(on, slots, tokens, used, self.now)
            for request in said:
                request[1] = used

    @invariant()
    def no_minute_sees_more(self):
        """Of requests, tokens, and requests at once."""
        for one in getattr(self, "meters", ()):
            last = [request for request in self.requests[one.name] if request[0] > self.now - WINDOW_S]
            assert len(last) <= (one.limit.requests_minute or NO_LIMIT)
            assert sum(tokens for _, tokens in last) <= (one.limit.tokens_minute or NO_LIMIT)
            assert one.under_way == sum(one in on for on, *_ in self.under_way)
            assert one.under_way <= (one.limit.at_once or NO_LIMIT)


NeverTooMany.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestNeverTooMany = NeverTooMany.TestCase


@pytest.mark.parametrize("limit", [1, 7, 100])
def test_a_steady_demand_gets_nearly_all_of_it(limit):
    """The price of being exact is less than one in a hundred."""
    one, granted, minutes = meter(requests=limit), 0, 30
    for step in range(minutes * 60 * 20):
        if deny([one], 0, NOW + step / 20) is None:
            charge([one], 0, NOW + step / 20)
            granted += 1
    assert granted >= 0.99 * limit * minutes - 1

"""core/shares.py: what a gateway may use alone, and what it remembers of its use."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.catalog import Quota
from turnout.core.quota_window import SPAN_S
from turnout.core.shares import PLACE_S, TOKENS_LEAST, Amounts, OwnUse, limits_of

NOON = 1_795_435_200.0  # 2026-11-23 12:00 UTC
DAY_END = NOON + 12 * 3600
ALL = Quota("q", "a", requests_minute=10, tokens_minute=1000, requests_day=100, tokens_day=9000, at_once=4, margin=0.2)


def own_use(quota=ALL, share=None):
    own = OwnUse(quota, 0.0, NOON)
    own.share = share or Amounts(2, 100, 20, 300, 1)
    return own


def alone(own, now, tokens=10):
    """Take one call by the share, as its user does."""
    own.turn(now, NOON + now)
    assert own.wait_s(1, tokens, now) == 0.0
    place = own.take_place()
    return own.take(1, tokens, now, is_alone=True, has_place=place)


@pytest.mark.parametrize(
    ("quota", "tokens", "expected"),
    [
        (ALL, 0, Amounts(8, 800, 80, 7200, 4)),
        (ALL, 900, Amounts(8, 900, 80, 7200, 4)),
        (ALL, 5000, Amounts(8, 1000, 80, 7200, 4)),
        (Quota("q", "a"), 50, Amounts()),
        (Quota("q", "a", requests_minute=1, margin=0.9), 0, Amounts(requests_minute=1)),
    ],
)
def test_what_may_be_used_is_the_limit_less_the_margin(quota, tokens, expected):
    """At least one request; a call that is larger than what the margin leaves goes alone, never over the vendor's limit."""
    assert expected == limits_of(quota, tokens)


def test_a_share_has_room_until_its_minute_is_used_and_again_when_that_is_over():
    """Two a minute: the third waits until the first leaves the window."""
    own = own_use()
    for _ in range(2):
        own.end(alone(own, 0.0))
    own.turn(1.0, NOON + 1)
    assert 0.25 + SPAN_S - 1.0 == pytest.approx(own.wait_s(1, 10, 1.0))
    own.turn(61.0, NOON + 61)
    assert own.wait_s(1, 10, 61.0) == 0.0


@pytest.mark.parametrize(
    "share",
    [
        Amounts(0, 100, 20, 300, 1),
        Amounts(2, 9, 20, 300, 1),
        Amounts(2, 100, 0, 300, 1),
        Amounts(2, 100, 20, 9, 1),
        Amounts(2, 100, 20, 300, 0),
    ],
)
def test_a_share_that_is_too_small_never_has_room(share):
    """Each of the five limits refuses alone."""
    assert own_use(share=share).wait_s(1, 10, 0.0) == inf


def test_limits_that_the_quota_does_not_have_refuse_nothing():
    """An empty share of nothing is no obstacle."""
    own = own_use(Quota("q", "a"), Amounts())
    assert own.wait_s(1, 10**9, 0.0) == 0.0
    own.end(alone(own, 0.0, tokens=7))
    assert (Amounts(), 0.0) == (own.share, own.day)


def test_tokens_of_a_minute_are_a_window_too():
    """A hundred a minute: ninety and twenty do not go together."""
    own = own_use()
    own.end(alone(own, 0.0, tokens=90))
    assert own.wait_s(1, 20, 0.0) > 59


def test_a_place_is_free_when_its_call_ends_and_not_twice():
    """One at once; to say twice that a call ended frees one place."""
    own = own_use()
    use = alone(own, 0.0)
    assert own.wait_s(1, 10, 0.0) == PLACE_S
    assert not own.take_place()
    own.end(use)
    own.end(use)
    own.give_back(use, 0.0)
    assert (0, 0.0) == (own.under_way, own.wait_s(1, 10, 0.0))


def test_a_place_can_be_brought_to_the_pool_and_left_unused():
    """Then the pool counts the minute, and the place is the share's until the end."""
    own = own_use()
    assert own.take_place()
    own.leave_place()
    assert own.take_place()
    use = own.take(1, 10, 0.0, is_alone=False, has_place=True)
    assert (1, 0, 1) == (own.pool.requests, own.alone.requests, own.under_way)
    own.end(use)
    assert (1, 0) == (own.pool.requests, own.under_way)


def test_what_a_call_really_used_is_counted():
    """Less as if it had never been taken, more as of now; a day's share pays for both."""
    own = own_use()
    use = alone(own, 0.0, tokens=50)
    own.settle(use, 20, 1.0)
    assert (20, 280, [1, 20]) == (own.alone.tokens, own.share.tokens_day, own.spent)
    own.settle(use, 60, 2.0)
    assert (60, 240, [1, 60]) == (own.alone.tokens, own.share.tokens_day, own.spent)
    own.settle(use, 60, 3.0)
    assert (60, [1, 60]) == (own.alone.tokens, own.spent)


def test_what_was_never_sent_is_given_back_whole():
    """Minute, day, place and share, as if nothing had been."""
    own = own_use()
    own.give_back(alone(own, 0.0), 1.0)
    assert (0, 0, [0, 0], 0) == (own.alone.requests, own.alone.tokens, own.spent, own.under_way)
    assert Amounts(2, 100, 20, 300, 1) == own.share
    pooled = own.take(1, 10, 1.0, is_alone=False, has_place=False)
    own.give_back(pooled, 1.0)
    assert ([0, 0], 0) == (own.pooled, own.pool.requests)


def test_a_call_that_was_sent_late_counts_from_then():
    """As its vendor counts it."""
    own = own_use()
    use = alone(own, 0.0)
    own.sent(use, 5.0)
    own.turn(61.0, NOON + 61)
    assert 1 == own.alone.requests
    pooled = own.take(1, 10, 61.0, is_alone=False, has_place=False)
    own.sent(pooled, 64.0)
    assert [64.25] == [slot.ends for slot in own.pool.slots() if slot.requests]


def test_a_new_day_forgets_what_was_used_and_keeps_the_share():
    """The share is for whatever day comes; what ends today and began yesterday is not taken off today."""
    own = own_use()
    use = alone(own, 0.0)
    own.known = [5, 50]
    own.turn(13 * 3600.0, DAY_END + 3600)
    assert (DAY_END + 86400, [0, 0], [0, 0], [0, 0]) == (own.day, own.pooled, own.spent, own.known)
    own.give_back(use, 13 * 3600.0)
    assert ([0, 0], 20) == (own.spent, own.share.requests_day)


def test_what_is_wanted_is_what_was_used():
    """At least one call; most at once since it was asked last."""
    own = own_use()
    assert Amounts(1, TOKENS_LEAST, 0, 0, 1) == own.wanted()
    uses = [own.take(1, 3000, 0.0, is_alone=False, has_place=False) for _ in range(3)]
    for use in uses:
        own.end(use)
    assert Amounts(3, 9000, 0, 0, 3) == own.wanted()
    assert 1 == own.wanted().at_once


def test_what_the_store_gives_is_added_and_what_is_over_the_goal_let_go():
    """But not what is in use: it is let go once the minute is over, or the place free."""
    own = own_use(share=Amounts())
    own.granted(Amounts(3, 500, 30, 600, 2), Amounts(3, 500, 30, 600, 2))
    assert Amounts(3, 500, 30, 600, 2) == own.share
    uses = [alone(own, 0.0), alone(own, 0.0)]
    own.granted(Amounts(), Amounts(1, 5, 4, 3, 1))
    assert Amounts(2, 20, 4, 3, 2) == own.share
    for use in uses:
        own.end(use)
    own.turn(61.0, NOON + 61)
    own.granted(Amounts(), Amounts(1, 5, 4, 3, 1))
    assert Amounts(1, 5, 4, 3, 1) == own.share
    own.lost()
    assert Amounts() == own.share


def test_a_seed_tells_what_the_pool_counted_and_at_the_end_everything():
    """Ages oldest first. Who leaves tells what its share was used for, since nobody holds that any more."""
    own = own_use()
    own.take(1, 10, 0.0, is_alone=False, has_place=False)
    alone(own, 10.0, tokens=30)
    own.known = [7, 70]
    expected = ("q", DAY_END, [(9.75, 1, 10)], [1, 10], [7, 70])
    assert expected == own.seed("q", 10.0, is_last=False)
    last = ("q", DAY_END, [(9.75, 1, 10), (-0.25, 1, 30)], [2, 40], [7, 70])
    assert last == own.seed("q", 10.0, is_last=True)


def test_another_configuration_keeps_what_was_used():
    """A day appears, and the use of the minute stays."""
    own = own_use(Quota("q", "a", requests_minute=10), Amounts(requests_minute=5))
    alone(own, 0.0)
    own.configure(ALL)
    own.turn(1.0, NOON + 1)
    assert (1, DAY_END) == (own.alone.requests, own.day)


@given(
    st.integers(1, 5),
    st.integers(1, 400),
    st.lists(st.tuples(st.floats(0, 30), st.integers(0, 200), st.booleans()), max_size=60),
)
def test_a_share_is_never_exceeded_in_any_minute(most, tokens, calls):
    """However calls come and end: in any 60 s no more requests, nor estimated tokens, than the share holds."""
    own = own_use(share=Amounts(most, tokens, 1000, 100_000, 3))
    now, taken = 0.0, []
    for pause, need, is_back in calls:
        now += pause
        own.turn(now, NOON + now)
        if own.wait_s(1, need, now) == 0.0:
            use = alone(own, now, need)
            if is_back:
                own.give_back(use, now)
            else:
                own.end(use)
                taken.append((now, need))
    for start, _ in taken:
        inside = [need for at, need in taken if start <= at < start + 60]
        assert len(inside) <= most
        assert sum(inside) <= tokens

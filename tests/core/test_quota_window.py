"""core/quota_window.py: what was used in the last minute."""

from __future__ import annotations

from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.quota_window import SLOT_S, SLOTS, SPAN_S, TRAVEL_S, WINDOW_S, Slot, Window


def at(window: Window, now: float) -> tuple[int, int]:
    """What is in it."""
    window.expire(now)
    return window.requests, window.tokens


def test_an_entry_counts_for_a_minute_from_the_end_of_its_slot():
    """And for as long again as a call may travel longer than another."""
    window = Window()
    assert Slot(100.25, 1, 50) == window.add(100.0, 1, 50)
    assert (1, 50) == at(window, 100.25 + 60.25 - 0.001)
    assert (0, 0) == at(window, 100.25 + 60.25)
    assert [] == window.slots()


def test_entries_of_a_quarter_of_a_second_share_a_slot():
    """So that memory is bounded by the slots of a window, however many calls there are."""
    window = Window()
    slots = {id(window.add(10.0 + at_s / 100, 1, 2)) for at_s in range(25)}
    assert 1 == len(slots)
    assert [Slot(10.25, 25, 50)] == window.slots()
    window.add(10.25, 1, 0)
    assert [Slot(10.25, 25, 50), Slot(10.5, 1, 0)] == window.slots()
    for number in range(10_000):
        window.expire(11.0 + number / 20)
        window.add(11.0 + number / 20, 1, 1)
    assert len(window.slots()) <= SLOTS + 2


def test_what_is_taken_back_is_not_counted():
    """Where it was counted; once it has left the window there is nothing to take back."""
    window = Window()
    first, second = window.add(0.0, 3, 30), window.add(5.0, 1, 10)
    window.take_back(first, 2, 20)
    assert (2, 20) == at(window, 5.0)
    assert (1, 10) == at(window, 61.0)
    window.take_back(first, 1, 10)
    assert (1, 10) == at(window, 61.0)
    assert (0, 0) == at(window, 66.0)
    window.take_back(second, 1, 10)
    assert (0, 0) == at(window, 66.0)


def test_when_all_has_left():
    """With the last slot; None where nothing is counted."""
    window = Window()
    assert window.empty_at() is None
    window.add(0.0, 1, 10)
    window.add(5.1, 1, 10)
    assert 5.25 + SPAN_S == window.empty_at()
    window.expire(5.25 + SPAN_S)
    assert window.empty_at() is None


def test_when_enough_has_left():
    """Of both kinds: the later of the two."""
    window = Window()
    for now, tokens in ((0.0, 10), (1.0, 200), (2.0, 30)):
        window.add(now, 1, tokens)
    assert SLOT_S + SPAN_S == window.free_at(1, 0)
    assert 1 + SLOT_S + SPAN_S == window.free_at(1, 11)
    assert 2 + SLOT_S + SPAN_S == window.free_at(3, -5)
    with pytest.raises(AssertionError):
        window.free_at(4, 0)


def test_what_was_kept_over_a_restart_counts():
    """Also where its slots lie a little ahead: then the first call counts with them."""
    window = Window()
    window.restore([Slot(98.0, 2, 0), Slot(100.5, 1, 7)])
    assert Slot(100.5, 2, 8) == window.add(100.0, 1, 1)
    assert (4, 8) == at(window, 100.0)
    assert (2, 8) == at(window, 98.0 + SPAN_S)


@given(
    st.integers(1, 8),
    st.lists(st.tuples(st.floats(0, 20), st.integers(1, 3), st.floats(0, TRAVEL_S)), min_size=1, max_size=120),
    st.floats(0, 1e6),
)
def test_no_minute_ever_sees_more_than_the_limit(limit, asked, start):
    """Wherever the vendor begins to count, and however the calls travel: a second implementation, over exact times."""
    window, now, arrivals = Window(), start, []
    for after_s, requests, travel_s in asked:
        now += after_s / 10
        window.expire(now)
        if window.requests + requests <= limit:
            window.add(now, requests, 0)
            arrivals.append((now + travel_s, requests))
    for begin, _ in arrivals:
        assert sum(requests for at_s, requests in arrivals if begin <= at_s < begin + WINDOW_S - 1e-6) <= limit


@given(st.integers(1, 16), st.integers(1, 400))
def test_a_steady_demand_gets_nearly_all_of_it(limit, seconds):
    """The price of slots and travel: less than one in a hundred."""
    window, granted, slots = Window(), 0, (seconds + 600) * 20
    for step in range(slots):
        window.expire(step / 20)
        if window.requests < limit:
            window.add(step / 20, 1, 0)
            granted += 1
    assert granted >= 0.99 * limit * (slots / 20 / WINDOW_S) - 1


def test_counting_costs_the_same_however_much_was_counted():
    """O(1) amortised: a busy minute of 100,000 calls costs per call about what one of 1,000 does."""

    def cost(calls: int) -> float:
        window, step = Window(), 60.0 / calls
        begun = perf_counter()
        for number in range(calls):
            window.expire(number * step)
            window.add(number * step, 1, 1)
        return (perf_counter() - begun) / calls

    cost(1000)
    assert min(cost(100_000) for _ in range(3)) < 5 * min(cost(1000) for _ in range(9))

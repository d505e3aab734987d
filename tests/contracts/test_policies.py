"""Every policy, whoever wrote it: an order of all its candidates, the same for the same arguments, at the cost it says."""

from __future__ import annotations

import re
import timeit
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.catalog import FREE, Account, Candidate, Model, Price
from turnout.core.contracts import Load
from turnout.policies import POLICIES

ACCOUNT = Account("a", "compatible")


def candidate(number: int, price: Price | None = FREE) -> Candidate:
    """The candidate of this number."""
    model = Model(f"m{number}", "a", f"id{number}", price)
    return Candidate(f"m{number}@a", model, ACCOUNT, model.id, price)


@st.composite
def situations(draw):
    """Candidates of any price, with or without weights, some with a load; and a draw."""
    prices = draw(st.lists(st.none() | st.builds(Price, st.integers(0, 10**5), st.integers(0, 10**5)), max_size=12))
    candidates = [candidate(number, price) for number, price in enumerate(prices)]
    weights = [draw(st.floats(0, 1e6)) for _ in candidates] if draw(st.booleans()) else []
    loads = {
        one.key: Load(draw(st.integers(0, 1000)), draw(st.floats(0, 600))) for one in candidates if draw(st.booleans())
    }
    return candidates, weights, loads, draw(st.floats(0, 1, exclude_max=True))


@pytest.mark.parametrize("name", sorted(POLICIES))
@given(situations())
def test_an_order_is_a_permutation_and_can_be_replayed(name, situation):
    """Nobody is lost, nobody comes twice, the arguments are left alone, and the same arguments give the same order."""
    candidates, weights, loads, draw = situation
    before = (list(candidates), list(weights), dict(loads))
    ordered = list(POLICIES[name].order(candidates, weights, loads, draw))
    assert sorted(one.key for one in candidates) == sorted(one.key for one in ordered)
    assert before == (candidates, weights, loads)
    assert ordered == list(POLICIES[name].order(candidates, weights, loads, draw))


@pytest.mark.parametrize("name", sorted(set(POLICIES) - {"weighted"}))
@given(st.integers(0, 12), st.floats(0, 1, exclude_max=True))
def test_equals_stay_in_the_order_of_the_config(name, count, draw):
    """The file's order is a preference where nothing else is (only chance is free of it)."""
    candidates = [candidate(number) for number in range(count)]
    assert candidates == list(POLICIES[name].order(candidates, [], {}, draw))


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_the_docstring_tells_the_cost(name):
    """As a bound that a test can hold it to."""
    assert re.search(r"O\((1|n|n log n)\)", POLICIES[name].order.__doc__ or "")


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_the_cost_scales_as_it_says(name):
    """Ten times the candidates take at most about twenty times as long (n log n is 14 and 13), never a hundred."""
    best = []
    for count in (10, 1000, 10_000):
        candidates = [candidate(number, Price(number * 7919 % 1000, 0)) for number in range(count)]
        weights = [float(number % 7 + 1) for number in range(count)]
        loads = {one.key: Load(number * 31 % 17, 1.0 + number % 5) for number, one in enumerate(candidates)}
        order = POLICIES[name].order
        best.append(min(timeit.repeat(lambda: order(candidates, weights, loads, 0.5), number=1, repeat=7)))  # noqa: B023
    floor_s = 2e-5  # a call of ten is below what a busy machine can time
    for (small, large), factor in zip(pairwise(best), (100, 10), strict=True):
        assert large <= max(small, floor_s) * factor * 4

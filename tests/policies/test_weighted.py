"""policies/weighted.py: at random, by weight."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.worlds import candidate
from turnout.policies.weighted import POLICY

A, B, C = (candidate(name) for name in "abc")
DRAWS = [number / 10_000 for number in range(10_000)]


def shares(weights: list[float], place: int) -> dict[str, float]:
    """How often each model comes at this place."""
    found = Counter(POLICY.order([A, B, C], weights, {}, draw)[place].model.name for draw in DRAWS)
    return {name: count / len(DRAWS) for name, count in found.items()}


def test_the_first_place_is_drawn_by_weight():
    """production-chat of FACTS §2: 0.4, 0.4, 0.2, within two points."""
    assert pytest.approx(shares([0.4, 0.4, 0.2], 0), abs=0.02) == {"a": 0.4, "b": 0.4, "c": 0.2}


def test_the_second_place_is_drawn_from_those_that_are_left():
    """0.5, 0.3, 0.2: a second with .3 x .5/.7 + .2 x .5/.8, and so on."""
    expected = {
        "a": 0.3 * 0.5 / 0.7 + 0.2 * 0.5 / 0.8,
        "b": 0.5 * 0.3 / 0.5 + 0.2 * 0.3 / 0.8,
        "c": 0.5 * 0.2 / 0.5 + 0.3 * 0.2 / 0.7,
    }
    assert expected == pytest.approx(shares([0.5, 0.3, 0.2], 1), abs=0.02)


def test_no_weights_are_equal_weights():
    """A third each."""
    assert pytest.approx(shares([], 0), abs=0.02) == {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}


@given(st.floats(0, 1, exclude_max=True))
def test_a_weight_of_nothing_comes_last(draw):
    """Never first while another has a weight; those without stay as given."""
    assert list(POLICY.order([A, B, C], [0.0, 0.1, 0.0], {}, draw)) == [B, A, C]


@given(st.floats(0, 1, exclude_max=True))
def test_only_the_proportions_count(draw):
    """4, 4, 2 is 0.4, 0.4, 0.2."""
    few, many = ([0.25, 0.5, 1.0], [1.0, 2.0, 4.0])
    assert POLICY.order([A, B, C], few, {}, draw) == POLICY.order([A, B, C], many, {}, draw)

"""Draws: uniform, repeatable, and independent of what else happens."""

import math

from hypothesis import given
from hypothesis import strategies as st

from turnout.core.simulation.chance import Chance


@given(st.integers(), st.binary(max_size=40), st.integers(min_value=0, max_value=9), st.text(max_size=20))
def test_a_draw_is_a_function_of_seed_request_occurrence_and_purpose(
    seed: int, digest: bytes, occurrence: int, purpose: str
) -> None:
    """The same four give the same number, in [0, 1)."""
    first = Chance(seed, digest, occurrence).draw(purpose)
    assert first == Chance(seed, digest, occurrence).draw(purpose)
    assert 0 <= first < 1


def test_each_of_the_four_changes_the_draw() -> None:
    """A new seed, body, repetition or purpose draws anew."""
    draws = {
        Chance(1, b"a", 1).draw("x"),
        Chance(2, b"a", 1).draw("x"),
        Chance(1, b"b", 1).draw("x"),
        Chance(1, b"a", 2).draw("x"),
        Chance(1, b"a", 1).draw("y"),
    }
    assert len(draws) == 5


def test_draws_are_spread_evenly() -> None:
    """Of 4,000 draws about a tenth falls in each tenth of the range."""
    tenths = [0] * 10
    for number in range(4000):
        tenths[Chance(7, b"body", number).among("place", 10)] += 1
    assert min(tenths) > 320
    assert max(tenths) < 480


def test_around_is_log_normal() -> None:
    """Half of the draws lie under the median, and their logarithms have the spread asked for."""
    logs = [math.log(Chance(7, b"body", number).around("latency", 3.2, 0.35) / 3.2) for number in range(4000)]
    assert abs(sum(log < 0 for log in logs) - 2000) < 150
    assert abs(math.sqrt(sum(log * log for log in logs) / 4000) - 0.35) < 0.03


def test_without_spread_the_median_itself_comes() -> None:
    """An instantaneous profile stays instantaneous."""
    assert Chance(1, b"", 0).around("latency", 0.0, 0.0) == 0.0


def test_the_name_is_twenty_hex_digits() -> None:
    """Ids are made of it."""
    name = Chance(1, b"", 0).name
    assert len(name) == 20
    assert int(name, 16) > 0

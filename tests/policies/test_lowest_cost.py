"""policies/lowest_cost.py: cheapest first."""

from __future__ import annotations

from tests.core.worlds import CHEAP, DEAR, candidate
from turnout.core.catalog import FREE, Price
from turnout.policies.lowest_cost import POLICY


def test_cheapest_first_and_unknown_last():
    """Free, cheap, dear, unpriced; equals stay as given."""
    unknown, dear, cheap, free, same = (
        candidate(name, price=price) for name, price in zip("abcde", (None, DEAR, CHEAP, FREE, CHEAP), strict=True)
    )
    assert [free, cheap, same, dear, unknown] == list(POLICY.order([unknown, dear, cheap, free, same], [], {}, 0.5))


def test_input_counts_three_times():
    """A prompt is longer than its answer: 3 x 100 + 500 is cheaper than 3 x 300 + 0."""
    answers, prompts = candidate("a", price=Price(300, 0)), candidate("b", price=Price(100, 500))
    assert [prompts, answers] == list(POLICY.order([answers, prompts], [], {}, 0.5))

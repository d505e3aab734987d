"""When a second candidate is asked beside a slow first one, and how often that may be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.hedging import FEWEST, KEPT, MOST_SAVED, SHARE, SOONEST_S, FirstContents, HedgeBudget

SECONDS = st.floats(0.0011, 590.0)


@given(st.lists(SECONDS, min_size=FEWEST, max_size=KEPT - 1))
def test_the_percentile_is_right_to_a_tenth(samples):
    """Against the sorted list: never below it, at most 10 % above."""
    kept = FirstContents()
    for seconds in samples:
        kept.add(seconds)
    exact = sorted(samples)[-(-len(samples) * 95 // 100) - 1]
    assert exact <= kept.percentile_s() * 1.000001
    assert kept.percentile_s() <= exact * 1.101


def test_too_few_answers_mean_nothing():
    """No hedge before there is a percentile."""
    kept = FirstContents()
    for _ in range(FEWEST - 1):
        kept.add(1.0)
    assert kept.percentile_s() is None
    kept.add(1.0)
    assert kept.percentile_s() == pytest.approx(1.0, rel=0.1)


def test_nobody_is_hedged_within_what_a_person_does_not_notice():
    """Milliseconds are not worth a second call; half a second is."""
    quick, slow = FirstContents(), FirstContents()
    assert quick.patience_s() is None
    for _ in range(FEWEST):
        quick.add(0.002)
        slow.add(0.5)
    assert quick.patience_s() == SOONEST_S
    assert slow.patience_s() == slow.percentile_s()


def test_the_ends_of_the_scale_are_kept():
    """An answer at once, and one after more than ten minutes."""
    quick, slow = FirstContents(), FirstContents()
    for _ in range(FEWEST):
        quick.add(0.0)
        slow.add(10_000.0)
    assert quick.percentile_s() == pytest.approx(0.001)
    assert 600.0 <= slow.percentile_s() <= 660.0


def test_a_bad_hour_is_forgotten():
    """After as many good answers again, the percentile is a good one's."""
    kept = FirstContents()
    for _ in range(KEPT):
        kept.add(30.0)
    for _ in range(12 * KEPT):
        kept.add(0.5)
    assert kept.percentile_s() == pytest.approx(0.5, rel=0.1)


@given(st.lists(st.booleans(), max_size=2000))
def test_never_more_than_a_twentieth(asks):
    """However often a hedge is wanted, at most 5 % of the requests get one."""
    budget = HedgeBudget()
    hedges = 0
    for number, is_wanted in enumerate(asks, 1):
        budget.arrived()
        hedges += is_wanted and budget.spend()
        assert hedges <= SHARE * number + 1e-9


def test_a_quiet_day_saves_up_a_few_hedges_only():
    """Then the bad minute gets these, and no storm."""
    budget = HedgeBudget()
    for _ in range(100_000):
        budget.arrived()
    assert int(MOST_SAVED) == sum(budget.spend() for _ in range(100))

"""core/load.py: how busy a candidate is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from turnout.core.contracts import Load
from turnout.core.load import ended, started


def test_what_starts_is_in_flight():
    """And the value before it stays as it was."""
    idle = Load()
    assert (started(idle).in_flight, idle.in_flight) == (1, 0)


def test_the_first_latency_is_the_average():
    """Nothing to smooth yet."""
    assert Load(0, 3.0) == ended(started(Load()), 3.0)


def test_later_latencies_move_it_by_three_tenths():
    """An exponential average."""
    assert Load(0, 1.3) == ended(Load(1, 1.0), 2.0)


def test_a_failure_is_no_sample():
    """Failing fast is no recommendation."""
    assert Load(2, 1.0) == ended(Load(3, 1.0), None)


def test_more_ends_than_starts_do_no_harm():
    """Never below zero."""
    assert ended(Load(), None).in_flight == 0


@given(st.lists(st.floats(0.001, 1000), min_size=1))
def test_the_average_lies_among_its_samples(samples):
    """Whatever the order."""
    load = Load()
    for sample in samples:
        load = ended(started(load), sample)
    assert min(samples) * 0.999 <= load.latency_s <= max(samples) * 1.001
    assert load.in_flight == 0

"""policies/least_busy.py: fewest in flight first."""

from __future__ import annotations

from tests.core.worlds import candidate
from turnout.core.contracts import Load
from turnout.policies.least_busy import POLICY


def test_fewest_in_flight_first():
    """One without a load is idle; equals stay as given; latency does not matter."""
    a, b, c, d = (candidate(name) for name in "abcd")
    loads = {a.key: Load(2), b.key: Load(1, 9.0), d.key: Load(1, 0.1)}
    assert [c, b, d, a] == list(POLICY.order([a, b, c, d], [], loads, 0.5))

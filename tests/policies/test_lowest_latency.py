"""policies/lowest_latency.py: soonest first."""

from __future__ import annotations

from tests.core.worlds import candidate
from turnout.core.contracts import Load
from turnout.policies.lowest_latency import POLICY

A, B, C, D = (candidate(name) for name in "abcd")


def test_soonest_first():
    """By the moving average."""
    loads = {A.key: Load(0, 3.0), B.key: Load(0, 0.5), C.key: Load(0, 1.0)}
    assert list(POLICY.order([A, B, C], [], loads, 0.5)) == [B, C, A]


def test_a_busy_one_gives_way():
    """0.5 s with two in flight is as good as 1.5 s idle."""
    loads = {A.key: Load(2, 0.5), B.key: Load(0, 1.4)}
    assert list(POLICY.order([A, B], [], loads, 0.5)) == [B, A]


def test_the_unknown_is_measured_first_by_one_request():
    """Idle and unknown comes first, seen before or not; while it is being measured it comes last."""
    loads = {A.key: Load(0, 0.5), B.key: Load(0, 0.0), C.key: Load(1, 0.0)}
    assert list(POLICY.order([A, B, C, D], [], loads, 0.5)) == [B, D, A, C]

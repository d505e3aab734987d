"""policies/priority.py: as the config lists them."""

from __future__ import annotations

from tests.core.worlds import candidate
from turnout.core.contracts import Load
from turnout.policies.priority import POLICY


def test_as_given_whatever_the_load_and_the_draw():
    """The first is the best, the others are for its failures."""
    candidates = [candidate("a"), candidate("b"), candidate("c")]
    assert candidates == POLICY.order(candidates, [0.1, 5.0, 9.0], {"a@openrouter": Load(99, 99.0)}, 0.99)

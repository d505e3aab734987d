"""core/health.py: what is known about every candidate."""

from __future__ import annotations

from turnout.core.catalog import BreakerRule
from turnout.core.contracts import Load
from turnout.core.health import LIMIT_KEYS, Health


def test_nothing_known_is_well():
    """And asking makes nothing known."""
    health = Health(BreakerRule())
    assert (health.resting_until("a"), health.is_throttled("a"), health.is_failing("a")) == (0.0, False, False)
    assert dict(health.loads()) == {}
    assert list(health.resting(0.0)) == []


def test_each_key_has_its_own_health():
    """The same model by two paths is two candidates."""
    health = Health(BreakerRule(failures=1))
    health.failed("m@a", 10.0)
    assert (health.resting_until("m@a"), health.is_failing("m@a")) == (40.0, True)
    assert (health.resting_until("m@b"), health.is_failing("m@b")) == (0.0, False)


def test_a_throttle_cools_its_key_only():
    """RELIABILITY A3: other models of the same vendor are unaffected."""
    health = Health(BreakerRule())
    health.throttled("m@a", 10.0, 7.0, 0.0)
    assert (health.resting_until("m@a"), health.is_throttled("m@a"), health.is_failing("m@a")) == (17.0, True, False)
    assert health.resting_until("n@a") == 0.0
    assert list(health.resting(12.0)) == [("m@a", 5.0)]
    assert list(health.resting(17.0)) == []


def test_a_success_makes_it_well():
    """One is enough."""
    health = Health(BreakerRule(failures=1))
    health.failed("a", 0.0)
    health.begin("a", 30.0)
    assert health.resting_until("a") == 60.0
    health.succeeded("a")
    assert (health.resting_until("a"), health.is_failing("a")) == (0.0, False)


def test_loads_follow_attempts():
    """A live view, which nobody can write."""
    health = Health(BreakerRule())
    loads = health.loads()
    health.begin("a", 0.0)
    health.begin("a", 0.0)
    assert Load(2, 0.0) == loads["a"]
    health.ended("a", 1.5)
    assert Load(1, 1.5) == loads["a"]
    assert not hasattr(loads, "__setitem__")


def test_a_new_rule_holds_for_what_is_known_already():
    """The config may change while the gateway runs."""
    health = Health(BreakerRule())
    health.failed("a", 0.0)
    health.rule = BreakerRule(failures=2, rest_s=1.0)
    health.failed("a", 0.0)
    assert health.resting_until("a") == 1.0


def test_the_number_of_keys_is_bounded():
    """Names that come with requests (ACCOUNT/ID) push out the oldest that is idle, never one with an attempt in flight."""
    health = Health(BreakerRule(failures=1))
    health.begin("busy", 0.0)
    health.failed("busy", 0.0)
    health.failed("quiet", 0.0)
    for number in range(LIMIT_KEYS):
        health.begin(f"k{number}", 0.0)
        health.ended(f"k{number}", 1.0)
    assert (
        health.resting_until("busy"),
        health.resting_until("quiet"),
        len(health.loads()),
    ) == (30.0, 0.0, LIMIT_KEYS)


def test_if_all_are_busy_none_is_forgotten():
    """Then connections are the bound."""
    health = Health(BreakerRule())
    for number in range(LIMIT_KEYS + 1):
        health.begin(f"k{number}", 0.0)
    assert len(health.loads()) == LIMIT_KEYS + 1

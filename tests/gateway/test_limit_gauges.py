"""Prometheus is told how limits stand."""

from __future__ import annotations

import pytest

from tests.limit_lab import limit, snapshot
from turnout.core.principal import Who
from turnout.errors import RateLimited
from turnout.gateway.clock import SystemClock
from turnout.gateway.limit_gauges import limit_families
from turnout.gateway.limiter import Limiter


async def test_what_is_told_is_what_is():
    """Refusals by scope; how much is left of names that stand in the configuration, and of nobody's own."""
    limiter = Limiter(None, "w", SystemClock())
    limiter.install(
        snapshot(limit("all", requests=10, at_once=5), limit("user:*", requests=2), limit("model:m", tokens=1000))
    )
    who = Who(user="anna", model="m")
    for _ in range(2):
        (await limiter.admit(who, 300)).end(200)
    for _ in range(3):
        with pytest.raises(RateLimited):
            await limiter.admit(who, 300)
    told = {(one.name, *one.labels.values()): one.value for family in limit_families(limiter) for one in family.samples}
    assert told == {
        ("turnout_rate_limited_total", "user", "requests"): 3,
        ("turnout_limited_names",): 3,
        ("turnout_limit_sharers",): 0,
        ("turnout_limit", "all", "requests_minute"): 10,
        ("turnout_limit", "all", "at_once"): 5,
        ("turnout_limit", "model:m", "tokens_minute"): 1000,
        ("turnout_limit_left", "all", "requests_minute"): 8,
        ("turnout_limit_left", "all", "at_once"): 5,
        ("turnout_limit_left", "model:m", "tokens_minute"): 600,
    }

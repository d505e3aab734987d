"""gateway/budget_gauges.py: what Prometheus is told of budgets."""

from __future__ import annotations

from tests.gateway.lab import StillClock
from turnout.core.catalog import Server, Snapshot
from turnout.core.principal import Who
from turnout.core.rules import Budget
from turnout.gateway.alerts import Alerts
from turnout.gateway.budget_gauges import SERIES, budget_families
from turnout.gateway.budgets import Budgets
from turnout.gateway.transport import HttpTransport


def sampled(budgets, alerts):
    """Every sample, by name and labels."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in budget_families(budgets, alerts)
        for sample in family.samples
    }


async def test_budgets_refusals_and_alerts(database):
    """In dollars, of at most SERIES budgets; the most used are among them."""
    budgets, alerts = Budgets(database, "w", StillClock()), Alerts(database, StillClock(), HttpTransport())
    rules = (Budget("user:*", "user", "*", 2 * 10**9),)
    budgets.install(Snapshot("r", Server(), {}, {}, {}, {}, {}, {}, {}, budgets=rules))
    for number in range(SERIES + 5):
        (await budgets.reserve(Who(user=f"u{number}"), 0)).release()
    await budgets.reserve(Who(user="anna"), 500_000_000)
    budgets.refused["user"] = 3
    alerts.sent["mail", "taken"] = 2
    told = sampled(budgets, alerts)
    assert SERIES == sum(name == "turnout_budget_limit_usd" for name, *_ in told)
    assert (2.0, 0.0, 1.5) == tuple(
        told[f"turnout_budget_{what}_usd", "user:*/anna"] for what in ("limit", "spent", "remaining")
    )
    assert 3 == told["turnout_budget_refusals_total", "user"]
    assert 2 == told["turnout_alerts_total", "mail", "taken"]

"""Tests of config/rules.py."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from tests.config.conftest import Folder
from turnout.core.rules import SHIPPED_TIERS, Budget, Limit, Rates, Tier

USD = 10**9


def test_the_shipped_tiers(folder: Folder) -> None:
    """Those of FACTS §6, in both places; a bare file has none, and nothing else is shipped."""
    snapshot = folder.snapshot("")
    assert SHIPPED_TIERS == tuple(snapshot.tiers.values())
    assert ((), ()) == (snapshot.limits, snapshot.budgets)
    assert {} == folder.snapshot("defaults: false\n").tiers


def test_a_tier_of_the_file_replaces_the_shipped_one_whole(folder: Folder) -> None:
    """What it does not say is not limited; the others stay."""
    tiers = folder.snapshot("tiers: {default: {at_once: 3}, gold: {budget: 0.5/day}}\n").tiers
    assert Tier("default", Rates(at_once=3)) == tiers["default"]
    assert Tier("gold", Rates(), Budget("tier:gold", "user", "*", USD // 2, period="day")) == tiers["gold"]
    assert SHIPPED_TIERS[1] == tiers["premium"]


def test_a_tiers_budget_may_say_all_that_a_budget_may(folder: Folder) -> None:
    """In whose midnights it is counted, for one."""
    said = "{limit: 10, soft: 8, period: day, zone: Europe/Copenhagen, hard: false}"
    budget = folder.snapshot(f"tiers: {{gold: {{budget: {said}}}}}\n").tiers["gold"].budget
    assert Budget("tier:gold", "user", "*", 10 * USD, 8 * USD, "day", "Europe/Copenhagen", is_hard=False) == budget
    (problem,) = folder.problems("tiers: {gold: {budget: {limit: 10, soft: 11}}}\n")
    assert "tiers.gold.budget.soft: is not below the limit" in problem


def test_limits(folder: Folder) -> None:
    """Of everybody together, of each user, of one task, of a model whose name holds a colon."""
    text = """
models: {"a:b": {provider: openai, price: free}}
limits:
  all: {requests_per_minute: 10_000, tokens_per_minute: 2_000_000, at_once: 100}
  user:*: {requests_per_minute: 3, tokens_per_minute: none}
  task:chat: {at_once: 1}
  "model:a:b": {tokens_per_minute: 5}
"""
    assert (
        Limit("all", "*", Rates(10_000, 2_000_000, 100)),
        Limit("user", "*", Rates(3)),
        Limit("task", "chat", Rates(at_once=1)),
        Limit("model", "a:b", Rates(tokens_minute=5)),
    ) == folder.snapshot(text).limits


def test_budgets(folder: Folder) -> None:
    """A sum for a period is enough; a table says everything."""
    text = """
budgets:
  team:acme: 10/week
  all: {limit: 1000, soft: 800, period: 30d, zone: Europe/Copenhagen, starts: 2026-11-01, hard: false, alerts: [90 %, 0.5, 0.5]}
  key:k_1: {limit: 5, alerts: []}
"""
    starts_at = int(datetime(2026, 11, 1, tzinfo=ZoneInfo("Europe/Copenhagen")).timestamp())
    assert (
        Budget("team:acme", "team", "acme", 10 * USD, period="week"),
        Budget(
            "all",
            "all",
            "*",
            1000 * USD,
            800 * USD,
            "30d",
            "Europe/Copenhagen",
            starts_at,
            False,
            (0.5, 0.9),
        ),
        Budget("key:k_1", "key", "k_1", 5 * USD, alerts=()),
    ) == folder.snapshot(text).budgets


def test_several_budgets_of_one_scope_are_named_by_their_period(folder: Folder) -> None:
    """Alone in its list, one is named as without a list."""
    budgets = folder.snapshot("budgets: {user:*: [1/day, {limit: 10}], all: [5/month]}\n").budgets
    assert ["user:*/day", "user:*/month", "all"] == [one.name for one in budgets]
    assert [("user", "*")] * 2 == [(one.scope, one.match) for one in budgets[:2]]


def test_what_is_wrong_is_named(folder: Folder) -> None:
    """Each at its place."""
    text = """
limits:
  nobody: {at_once: 1}
  task:chatt: {at_once: 1}
  model:*: {}
  user:anna: {requests_per_minute: x}
budgets:
  model:nope: 1/day
  users: 1/day
  all: []
  team:*: [1/day, {limit: 2, period: day}, 5]
  user:*: {limit: 1, soft: 1}
  user:x: {limit: 1, starts: 2026-01-01}
  key:k:
tiers:
  mine: {budget: 5, requests_a_minute: 1}
"""
    problems = folder.problems(text)
    told = {one.split(": ")[0].split(" ")[1]: one.split(": ", 1)[1] for one in problems}
    assert {
        "limits.nobody": "'nobody' is not known here, expected all, or one of team:NAME, workspace:NAME, user:NAME, "
        "key:NAME, task:NAME, model:NAME",
        "limits.task:chatt": "unknown task 'chatt', did you mean 'chat'?",
        "limits.model:*": "limits nothing, say requests_per_minute, tokens_per_minute or at_once",
        "limits.user:anna.requests_per_minute": "'x' is no whole number, expected 1 to 1,000,000,000,000 (none: no limit)",
        "budgets.model:nope": told["budgets.model:nope"],
        "budgets.users": told["budgets.users"],
        "budgets.all": "is empty, write a budget or remove the key",
        "budgets.team:*[1]": "is a second budget for the period day, keep one of them",
        "budgets.team:*[2]": "'5' says no period, write such as 10/month (day, week, month, 30d, life)",
        "budgets.user:*.soft": "is not below the limit, lower it or leave it out",
        "budgets.user:x.starts": "has a meaning for the period 30d alone, the others begin with their day, week or month; "
        "remove it",
        "budgets.key:k": "the key 'limit' is missing",
        "tiers.mine.budget": "'5' says no period, write such as 10/month (day, week, month, 30d, life)",
        "tiers.mine.requests_a_minute": told["tiers.mine.requests_a_minute"],
    } == told
    assert told["budgets.model:nope"].startswith("unknown model 'nope', ")
    assert told["tiers.mine.requests_a_minute"].startswith("unknown key, did you mean 'requests_per_minute'")

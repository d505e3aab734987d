"""Tests of config/choices.py."""

from __future__ import annotations

from tests.config.conftest import Folder
from turnout.core.catalog import FREE, Price, Route, Task


def test_everything_about_a_route_can_be_said(folder: Folder) -> None:
    """A list is ordered by the policy, least_busy unless said."""
    text = """
routes:
  r: {policy: lowest_cost, models: [gpt-4o, gpt-4o-mini], price_ceiling: {input: 3, output: 15}, regions: [no, eu], max_retries: 0}
  s: {models: [gpt-4o]}
"""
    routes = folder.snapshot(text).routes
    assert routes["r"] == Route(
        "r", ("gpt-4o", "gpt-4o-mini"), "lowest_cost", (), Price(3000, 15_000), frozenset({"no", "eu"}), 0
    )
    assert routes["s"] == Route("s", ("gpt-4o",), "least_busy")


def test_weights_mean_weighted(folder: Folder) -> None:
    """A table of weights needs no policy; `weighted` over a list is equal shares."""
    text = "routes: {a: {models: {gpt-4o: 3, gpt-4o-mini: 0}}, b: {policy: weighted, models: [gpt-4o, gpt-4o-mini]}}\n"
    routes = folder.snapshot(text).routes
    assert routes["a"] == Route("a", ("gpt-4o", "gpt-4o-mini"), "weighted", (3.0, 0.0))
    assert routes["b"] == Route("b", ("gpt-4o", "gpt-4o-mini"), "weighted", (1.0, 1.0))


def test_everything_about_a_task_can_be_said(folder: Folder) -> None:
    """A list is an order of preference."""
    text = """
tasks:
  t: {models: [gpt-4o], because: it is good, price_ceiling: free, needs: [tools, danish], regions: [eu], max_retries: 1, timeout: 30s, hedge: true, continuation: text, priority: high, cache: 5m}
  u: {models: {gpt-4o: 1}, hedge: false, continuation: none, cache: none}
"""
    tasks = folder.snapshot(text).tasks
    assert tasks["t"] == Task(
        "t",
        ("gpt-4o",),
        "it is good",
        FREE,
        frozenset({"tools", "danish"}),
        frozenset({"eu"}),
        max_retries=1,
        total_s=30.0,
        is_hedged=True,
        is_continued=True,
        priority="high",
        cache_s=300.0,
    )
    assert tasks["u"] == Task("u", ("gpt-4o",), policy="weighted", weights=(1.0,), cache_s=0.0)


def test_shipped_tasks_keep_their_answers_for_five_minutes(folder: Folder) -> None:
    """As the first product does (FACTS §3); a task of the user's does as `cache` says until it says so itself."""
    tasks = folder.snapshot("tasks: {mine: {models: [gpt-4o]}}\n").tasks
    assert tasks.pop("mine").cache_s is None
    assert {("medium", 300.0)} == {(task.priority, task.cache_s) for task in tasks.values()}
    assert len(tasks) == 10


def test_an_alias_leads_to_where_its_chain_ends(folder: Folder) -> None:
    """To a model, a route or a task; what is kept is the end."""
    aliases = folder.snapshot("aliases: {a: b, b: gpt-4, x: chat, y: gpt-4o}\n").aliases
    assert {name: aliases[name] for name in "abxy"} == {
        "a": "production-chat",
        "b": "production-chat",
        "x": "chat",
        "y": "gpt-4o",
    }
    assert aliases["task-planning"] == "complex-reasoning"


def test_an_alias_may_replace_a_shipped_one_or_a_shipped_route(folder: Folder) -> None:
    """The user's names win; shipped aliases then lead to what the user means by that name."""
    snapshot = folder.snapshot("aliases: {gpt-4: gpt-4o, production-chat: gpt-4o-mini}\n")
    assert snapshot.aliases["gpt-4"] == "gpt-4o"
    assert snapshot.aliases["claude"] == "gpt-4o-mini"
    assert "production-chat" not in snapshot.routes


def test_a_chain_with_one_wrong_end_is_one_problem(folder: Folder) -> None:
    """The alias that names the unknown is the one to mend."""
    problems = folder.problems("aliases:\n  a: b\n  b: nope\n")
    assert [one.split(",")[0] for one in problems] == ["turnout.yaml:3:6 aliases.b: unknown name 'nope'"]


def test_every_alias_that_ends_in_a_cycle_is_told(folder: Folder) -> None:
    """Those on the circle, and those that lead into it."""
    problems = folder.problems("aliases:\n  a: b\n  b: c\n  c: b\n")
    assert [one.split(" leads")[0] for one in problems] == [
        "turnout.yaml:2:6 aliases.a:",
        "turnout.yaml:3:6 aliases.b:",
        "turnout.yaml:4:6 aliases.c:",
    ]


def test_a_change_that_breaks_a_shipped_route_is_told_there(folder: Folder) -> None:
    """A shipped route that mixes kinds after an override is named in the shipped file."""
    problems = folder.problems("models: {claude-3.5-haiku: {provider: anthropic, mode: embedding}}\n")
    assert any(one.startswith("turnout/config/defaults.yaml:") and "development-chat" in one for one in problems)

"""Small Snapshots to decide over: accounts, models, tasks and a Health, with as few words as a test needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from turnout.core.catalog import FREE, Account, BreakerRule, Candidate, Model, Price, Server, Snapshot
from turnout.core.eligible import Ask
from turnout.core.health import Health
from turnout.core.plan import Plan, plan
from turnout.core.targets import Index
from turnout.policies import POLICIES

CHEAP = Price(150, 600)
DEAR = Price(2500, 10_000)


def model(name: str, provider: str = "openrouter", price: Price | None = FREE, **more: Any) -> Model:
    """A model whose vendor calls it vendor/NAME."""
    return Model(name=name, provider=provider, id=f"vendor/{name}", price=price, **more)


def candidate(name: str = "glm", provider: str = "openrouter", price: Price | None = FREE, **more: Any) -> Candidate:
    """One model by its own account."""
    one = model(name, provider, price, **more)
    return Candidate(f"{name}@{provider}", one, Account(provider, "compatible"), one.id, price)


def snapshot(models: list[Model], by: tuple[str, ...] = ("litellm",), **more: Any) -> Snapshot:
    """A Snapshot of these models; every account named by a model or in `by` is configured, except "missing"."""
    names = dict.fromkeys([*(one.provider for one in models), *by])
    accounts = more.pop("accounts", {}) | {name: Account(name, "compatible") for name in names if name != "missing"}
    candidates = {
        (one.name, name): Candidate(f"{one.name}@{name}", one, accounts[name], one.id, one.price)
        for one in models
        for name in {one.provider, *by} & accounts.keys()
    }
    parts: dict[str, Any] = {"routes": {}, "tasks": {}, "aliases": {}, "rollouts": {}} | more
    for kind in ("routes", "tasks", "rollouts"):
        if not isinstance(parts[kind], Mapping):
            parts[kind] = {one.name: one for one in parts[kind]}
    return Snapshot("rev1", Server(), accounts, {one.name: one for one in models}, candidates=candidates, **parts)


def decided(ask: Ask, over: Snapshot, health: Health | None = None, draw: float = 0.5, now: float = 100.0) -> Any:
    """What plan() says."""
    return plan(ask, Index.of(over), POLICIES, health or Health(BreakerRule()), draw, now)


def keys(made: Plan) -> list[str]:
    """The order, as candidate keys."""
    assert isinstance(made, Plan), made
    return [choice.candidate.key for choice in made.choices]


def filtered(made: Plan) -> list[tuple[str, str]]:
    """Who was passed over, as (model, code)."""
    return [(one.model, one.code) for one in made.filtered]

"""Builds what callers are allowed: tiers, limits and budgets.

Rules. A tier of the user's file replaces the shipped one of its name whole. A scope is `all`, or kind:NAME, or kind:* for
each on its own; tasks and models must exist, people and keys live in the books and cannot be known here.
A budget is named after its scope ("user:*"), because the books know it by that name; where a scope has several, each is
named after its period too ("user:*/day").
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from turnout.config import amounts, schema
from turnout.config.draft import Draft
from turnout.config.problems import Path, suggestion
from turnout.config.settings import laid_over
from turnout.core import vendor_day
from turnout.core.rules import Budget, Limit, Period, Rates, Scope, Tier


def tiers(draft: Draft) -> dict[str, Tier]:
    """Every tier by name."""
    built = {}
    for name, table in draft.tiers.items():
        budget = None
        if table.budget is not None:
            budget = _budget(draft, ("tiers", name, "budget"), f"tier:{name}", ("user", "*"), table.budget)
        built[name] = Tier(name, _rates(table), budget)
    return built


def limits(draft: Draft) -> tuple[Limit, ...]:
    """Every limit, in the file's order."""
    built = []
    for key, table in (draft.user.table.limits or {}).items():
        path: Path = ("limits", key)
        found = _scope(draft, path, key)
        if found is None:
            continue
        rates = _rates(table)
        if rates == Rates() and not draft.has_problem(path):
            draft.wrong(path, "limits nothing, say requests_per_minute, tokens_per_minute or at_once", of_key=True)
        built.append(Limit(*found, rates))
    return tuple(built)


def budgets(draft: Draft) -> tuple[Budget, ...]:
    """Every budget, in the file's order."""
    built: list[Budget] = []
    for key, said in (draft.user.table.budgets or {}).items():
        path: Path = ("budgets", key)
        found = _scope(draft, path, key)
        if found is None:
            continue
        if not isinstance(said, list):
            built.append(_budget(draft, path, key, found, said))
            continue
        if not said:
            draft.wrong(path, "is empty, write a budget or remove the key")
        built += _several(draft, path, key, found, said)
    return tuple(built)


def _several(
    draft: Draft,
    path: Path,
    key: str,
    found: tuple[Scope, str],
    said: list[tuple[int, Period] | schema.BudgetTable | None],
) -> list[Budget]:
    """The budgets of one scope that has a list of them: one of each period."""
    built: dict[str, Budget] = {}
    for position, one in enumerate(said):
        if one is None:
            continue
        at: Path = (*path, position)
        budget = _budget(draft, at, key, found, one)
        name = key if len(said) == 1 else f"{key}/{budget.period}"
        if name in built:
            draft.wrong(at, f"is a second budget for the period {budget.period}, keep one of them")
        built[name] = msgspec.structs.replace(budget, name=name)
    return list(built.values())


def _budget(
    draft: Draft, path: Path, key: str, found: tuple[Scope, str], said: tuple[int, Period] | schema.BudgetTable
) -> Budget:
    """One budget, written as a table or as a sum for a period."""
    scope, match = found
    if isinstance(said, tuple):
        nano_usd, period = said
        return Budget(key, scope, match, nano_usd, period=period)
    budget = laid_over(
        Budget(key, scope, match, said.limit or 0), said, soft_nano_usd="soft", period="period", zone="zone"
    )
    if said.soft is not None and said.limit is not None and said.soft >= said.limit:
        draft.wrong((*path, "soft"), "is not below the limit, lower it or leave it out")
    if said.starts is not None and budget.period != "30d":
        what = "has a meaning for the period 30d alone, the others begin with their day, week or month; remove it"
        draft.wrong((*path, "starts"), what)
    elif said.starts is not None:
        begins = datetime(said.starts.year, said.starts.month, said.starts.day, tzinfo=vendor_day.zone(budget.zone))
        budget = msgspec.structs.replace(budget, starts_at=int(begins.timestamp()))
    if said.alerts is not None:
        shares = tuple(sorted({share for share in said.alerts if share is not None}))
        budget = msgspec.structs.replace(budget, alerts=shares)
    return msgspec.structs.replace(budget, is_hard=said.hard is not False)


def _rates(table: schema.RatesTable) -> Rates:
    return laid_over(
        Rates(), table, requests_minute="requests_per_minute", tokens_minute="tokens_per_minute", at_once="at_once"
    )


def _scope(draft: Draft, path: Path, key: str) -> tuple[Scope, str] | None:
    """Whom a rule is about; None if its key cannot be read (said by the reader already) or names what is not there."""
    try:
        scope, name = amounts.scope(key)
    except ValueError:
        return None
    if name != "*" and scope in ("task", "model") and draft.kinds.get(name) != f"{scope}s":
        known = [one for one, kind in draft.kinds.items() if kind == f"{scope}s"]
        draft.wrong(path, f"unknown {scope} '{name}', {suggestion(name, known, f'known {scope}s')}", of_key=True)
        return None
    return scope, name

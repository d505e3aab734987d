"""Builds the rollouts, and changes a running Snapshot where a rollout's percentage (or a local model's address) changes.

The percentage comes from the environment if that says one, else from the file. For a rollout NAME the variable is
TURNOUT_ROLLOUT_<NAME> (upper case, `-` and `.` become `_`). The rollout named `litellm` also obeys the two variables of
FACTS §4: ENABLE_LITELLM=false is 0 whatever else is said, LITELLM_ROLLOUT_PERCENTAGE sets the percentage.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from turnout.config import scalars, schema
from turnout.config.accounts import known_providers
from turnout.config.draft import Draft
from turnout.config.problems import Path, suggestion
from turnout.config.revision import revision_of
from turnout.core.catalog import Account, Candidate, Model, Quota, Rollout, Snapshot
from turnout.core.names import nearest
from turnout.core.quota import counted
from turnout.core.secret import Secret
from turnout.errors import ConfigError

_PREFIX = "TURNOUT_ROLLOUT_"
_LITELLM, _SWITCH, _SHARE = "litellm", "ENABLE_LITELLM", "LITELLM_ROLLOUT_PERCENTAGE"


def rollouts(draft: Draft, accounts: Mapping[str, Account], aliases: Mapping[str, str]) -> dict[str, Rollout]:
    """Every rollout by name."""
    tables = draft.user.table.rollouts or {}
    built = {}
    for name, table in tables.items():
        percent, origin = _percent(draft, name, table)
        provider, models = _arm(draft, name, table, accounts)
        built[name] = Rollout(
            name=name,
            percent=percent,
            tasks=_tasks(draft, name, table, aliases),
            provider=provider,
            models=models,
            include=frozenset(one for one in table.include or () if one),
            exclude=frozenset(one for one in table.exclude or () if one),
            origin=origin,
        )
    _unused_variables(draft, tables)
    return built


def candidates(
    models: Mapping[str, Model],
    accounts: Mapping[str, Account],
    rollouts: Mapping[str, Rollout],
    quotas: Mapping[str, Quota],
) -> dict[tuple[str, str], Candidate]:
    """Every pair of model and account that a plan can need: each model on its own account, each chat model on the
    account that a rollout moves to, under the name that account gives it and at the model's own price; each with the
    quotas that count its calls.
    """
    built = {}
    for model in models.values():
        own = accounts.get(model.provider)
        if own is not None:
            built[model.name, own.name] = _candidate(model, own, model.id, quotas)
    for rollout in rollouts.values():
        there = accounts.get(rollout.provider)
        for model in models.values():
            if there is not None and model.mode == "chat" and (model.name, there.name) not in built:
                called = there.names.format(provider=model.provider, id=model.id)
                built[model.name, there.name] = _candidate(model, there, called, quotas)
    return built


def _candidate(model: Model, account: Account, called: str, quotas: Mapping[str, Quota]) -> Candidate:
    key = f"{model.name}@{account.name}"
    return Candidate(key, model, account, called, model.price, counted(quotas, account.name, called))


# ── at run time ──


def with_percent(snapshot: Snapshot, name: str, percent: float, origin: str) -> Snapshot:
    """The snapshot with a rollout's percentage changed, and its revision with it. percent: 0 to 100.

    Raises ConfigError on an unknown rollout or a percentage that is none.
    """
    rollout = snapshot.rollouts.get(name)
    if rollout is None:
        known = suggestion(name, snapshot.rollouts, "known rollouts")
        raise ConfigError((f"rollouts.{name}: unknown rollout, {known}",))
    if not 0 <= percent <= 100:
        raise ConfigError((f"rollouts.{name}.percent: {percent:g} is out of range, expected 0 to 100",))
    changed = {**snapshot.rollouts, name: msgspec.structs.replace(rollout, percent=float(percent), origin=origin)}
    origins = {**snapshot.origins, f"rollouts.{name}.percent": origin}
    changed_snapshot = msgspec.structs.replace(snapshot, rollouts=changed, origins=origins)
    return msgspec.structs.replace(changed_snapshot, revision=revision_of(changed_snapshot))


def with_base_url(snapshot: Snapshot, account: str, base_url: str, api_key: Secret) -> Snapshot:
    """The snapshot with an account at another address: where the gateway started a local model, and the key that only
    the two know. The revision stays: port and key are made anew at every start, they are not the configuration's.
    """
    return with_account(
        snapshot, msgspec.structs.replace(snapshot.accounts[account], base_url=base_url, api_key=api_key)
    )


def with_account(snapshot: Snapshot, account: Account) -> Snapshot:
    """The snapshot with `account` in the place of the one of its name, by which its candidates are asked from now on."""
    changed = {
        pair: msgspec.structs.replace(one, account=account) if pair[1] == account.name else one
        for pair, one in snapshot.candidates.items()
    }
    return msgspec.structs.replace(snapshot, accounts={**snapshot.accounts, account.name: account}, candidates=changed)


# ── from the file ──


def _arm(
    draft: Draft, name: str, table: schema.RolloutTable, accounts: Mapping[str, Account]
) -> tuple[str, tuple[str, ...]]:
    """The candidate arm: an account or models."""
    path: Path = ("rollouts", name, "candidate")
    arm = table.candidate
    if arm is None:
        return "", ()
    if arm.provider is not None and arm.models is not None:
        draft.wrong(path, "names a provider and models, keep one of them", of_key=True)
    elif arm.provider is None and arm.models is None and not draft.has_problem(path):
        draft.wrong(path, "names nothing, say {provider: NAME} or {models: [NAME, …]}", of_key=True)
    if arm.provider is not None and arm.provider not in accounts and arm.provider not in draft.written_providers():
        if arm.provider in draft.vendors:
            what = f"the provider '{arm.provider}' is not configured, name it under providers"
        else:
            what = f"unknown provider '{arm.provider}', {suggestion(arm.provider, known_providers(draft), 'known providers')}"
        draft.wrong((*path, "provider"), what)
    if arm.models is None:
        return arm.provider or "", ()
    if not arm.models:
        draft.wrong((*path, "models"), "is empty, name at least one model")
    return arm.provider or "", tuple(draft.model_names(arm.models, (*path, "models"), draft.user.document))


def _tasks(draft: Draft, name: str, table: schema.RolloutTable, aliases: Mapping[str, str]) -> frozenset[str]:
    """The tasks that it concerns, empty for all."""
    if table.tasks is None or isinstance(table.tasks, str):
        return frozenset()
    path: Path = ("rollouts", name, "tasks")
    if not table.tasks:
        draft.wrong(path, "is empty, name tasks or say all")
    known = [one for one, kind in draft.kinds.items() if kind == "tasks"]
    found = set()
    for position, written in enumerate(table.tasks):
        task = aliases.get(written or "", written or "")
        if written and draft.kinds.get(task) != "tasks":
            draft.wrong((*path, position), f"unknown task '{written}', {suggestion(written, known, 'known tasks')}")
        elif written:
            found.add(task)
    return frozenset(found)


def _percent(draft: Draft, name: str, table: schema.RolloutTable) -> tuple[float, str]:
    """The percentage and where it came from."""
    key = f"rollouts.{name}.percent"
    share, source = table.percent or 0.0, draft.origins.get(key, "default")
    variables = [_variable(name)]
    if name == _LITELLM:
        variables.insert(0, _SHARE)
    for variable in variables:
        written = draft.environment.get(variable)
        if written:
            try:
                share, source = scalars.percent(written), variable
            except ValueError as error:
                draft.wrong_variable(variable, str(error))
    if name == _LITELLM and draft.environment.get(_SWITCH) and not _is_on(draft):
        share, source = 0.0, _SWITCH
    draft.origins[key] = source
    return share, source


def _variable(rollout: str) -> str:
    return _PREFIX + rollout.upper().replace("-", "_").replace(".", "_")


def _is_on(draft: Draft) -> bool:
    """What ENABLE_LITELLM says; a word that is no truth value is a problem."""
    written = draft.environment.get(_SWITCH)
    try:
        return written == "1" or (written != "0" and scalars.boolean(written))
    except ValueError as error:
        draft.wrong_variable(_SWITCH, str(error))
        return False


def _unused_variables(draft: Draft, tables: Mapping[str, schema.RolloutTable]) -> None:
    """Ours that name no rollout are a mistake; the two of FACTS §4 may stand for another program, so they are a notice."""
    known = {_variable(name): name for name in tables}
    for variable in draft.environment.beginning_with(_PREFIX):
        if variable not in known:
            near = nearest(variable, known, 1)
            guess = f"did you mean {near[0]}?" if near else f"the rollouts are: {', '.join(tables) or 'none'}"
            draft.wrong_variable(variable, f"names no rollout, {guess}")
    if _LITELLM not in tables:
        draft.notices += [
            f"{variable} is set, but there is no rollout named {_LITELLM}"
            for variable in (_SWITCH, _SHARE)
            if draft.environment.get(variable)
        ]

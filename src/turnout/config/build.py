"""Builds a Snapshot from what the files and the environment say, with every check, or names everything that is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from turnout import policies, providers
from turnout.config import accounts, books, choices, models, prices, quotas, rollouts, rules, semantic, settings
from turnout.config.draft import Draft
from turnout.config.problems import refuse
from turnout.config.revision import revision_of
from turnout.core.catalog import Account, Model, Snapshot, Timeouts


def build(draft: Draft, *, answering: Iterable[str] = ()) -> Snapshot:
    """Return the Snapshot. answering: vendors found answering on this machine. Raises ConfigError with every problem."""
    timeouts = settings.timeouts(Timeouts(), draft.user.table.timeouts)
    built_accounts = accounts.accounts(draft, providers.installed(), timeouts, answering=answering)
    built_models = models.models(draft)
    default_fallbacks = models.default_fallbacks(draft, built_models)
    built_aliases = choices.aliases(draft)
    built_rollouts = rollouts.rollouts(draft, built_accounts, built_aliases)
    known = policies.installed()
    built_routes = choices.routes(draft, built_models, known)
    built_tasks = choices.tasks(draft, built_models, known)
    server, retry, breaker = settings.server(draft), settings.retry(draft), settings.breaker(draft)
    cache = settings.cache(draft)
    tiers, limits, budgets = rules.tiers(draft), rules.limits(draft), rules.budgets(draft)
    ledger, alerts, privacy = books.ledger(draft), books.alerts(draft), books.privacy(draft)
    if accounts.is_all_simulated(draft, built_accounts):
        built_models = _simulated(built_models, built_accounts)
    built_quotas = quotas.quotas(draft, built_accounts, built_models)
    semantic.refuse_embedders(draft, built_tasks, built_models, built_accounts)
    refuse(draft.problems)
    draft.notices[:0] = accounts.notices(draft, built_accounts)
    snapshot = Snapshot(
        revision="",
        server=server,
        accounts=built_accounts,
        models=built_models,
        routes=built_routes,
        tasks=built_tasks,
        aliases=built_aliases,
        rollouts=built_rollouts,
        candidates=rollouts.candidates(built_models, built_accounts, built_rollouts, built_quotas),
        retry=retry,
        breaker=breaker,
        timeouts=timeouts,
        default_fallbacks=default_fallbacks,
        quotas=built_quotas,
        cache=cache,
        tiers=tiers,
        limits=limits,
        budgets=budgets,
        ledger=ledger,
        alerts=alerts,
        privacy=privacy,
        list_prices=prices.list_prices(draft, built_accounts),
        origins=draft.origins,
    )
    return msgspec.structs.replace(snapshot, revision=revision_of(snapshot))


def _simulated(models: Mapping[str, Model], accounts: Mapping[str, Account]) -> dict[str, Model]:
    """Every model on the one simulated account, asked for under its own id."""
    (account,) = accounts
    return {name: msgspec.structs.replace(model, provider=account) for name, model in models.items()}

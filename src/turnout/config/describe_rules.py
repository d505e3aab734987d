"""Tells tiers, limits, budgets, ledger, alerts and privacy in plain values, by the keys of turnout.yaml, for `turnout check`.

Money is dollars again. Of the webhook's address only the host is told: its path may be a key.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from urllib.parse import urlsplit

from turnout.config.amounts import NANO_PER_USD
from turnout.core import vendor_day
from turnout.core.catalog import Snapshot
from turnout.core.redact import HIDDEN
from turnout.core.rules import AlertRule, Budget, Limit, Rates, Tier


def rules(snapshot: Snapshot) -> dict[str, object]:
    """What callers are allowed, and what is kept of what they did: section by section."""
    ledger, privacy = snapshot.ledger, snapshot.privacy
    return {
        "tiers": {name: _tier(one) for name, one in snapshot.tiers.items()},
        "limits": {_scope(one): _rates(one.rates) for one in snapshot.limits},
        "budgets": _budgets(snapshot.budgets),
        "ledger": {
            "url": HIDDEN if ledger.url else None,
            "durability": ledger.durability,
            "when_full": ledger.when_full,
            "keep": f"{ledger.keep_days}d" if ledger.keep_days else "for ever",
            "archive": ledger.archive,
        },
        "alerts": _alerts(snapshot.alerts),
        "privacy": {
            "prompts": privacy.prompts,
            "keep": privacy.keep_s,
            "kinds": list(privacy.kinds) or "all",
        },
    }


def _tier(tier: Tier) -> dict[str, object]:
    budget = tier.budget
    if budget is None:
        return {**_rates(tier.rates), "budget": None}
    plain = Budget(budget.name, budget.scope, budget.match, budget.limit_nano_usd, period=budget.period)
    told = f"{_usd(budget.limit_nano_usd)}/{budget.period}" if budget == plain else _budget(budget)
    return {**_rates(tier.rates), "budget": told}


def _rates(rates: Rates) -> dict[str, object]:
    return {
        "requests_per_minute": rates.requests_minute or None,
        "tokens_per_minute": rates.tokens_minute or None,
        "at_once": rates.at_once or None,
    }


def _scope(rule: Limit | Budget) -> str:
    return rule.scope if rule.scope == "all" else f"{rule.scope}:{rule.match}"


def _budgets(budgets: Sequence[Budget]) -> dict[str, object]:
    """By scope; a list where a scope has several."""
    told: dict[str, object] = {}
    for one in budgets:
        scope, already = _scope(one), told.get(_scope(one))
        if already is None:
            told[scope] = _budget(one)
        else:
            told[scope] = [*(already if isinstance(already, list) else [already]), _budget(one)]
    return told


def _budget(budget: Budget) -> dict[str, object]:
    starts = datetime.fromtimestamp(budget.starts_at, vendor_day.zone(budget.zone)).date().isoformat()
    return {
        "limit": _usd(budget.limit_nano_usd),
        "soft": None if budget.soft_nano_usd is None else _usd(budget.soft_nano_usd),
        "period": budget.period,
        "zone": budget.zone,
        "starts": starts if budget.starts_at else None,
        "hard": budget.is_hard,
        "alerts": list(budget.alerts),
    }


def _alerts(rule: AlertRule) -> dict[str, object]:
    mail = {
        "to": list(rule.mail_to),
        "sender": rule.mail_from,
        "host": rule.smtp_host,
        "port": rule.smtp_port,
        "user": rule.smtp_user or None,
        "password": HIDDEN if rule.smtp_password else None,
        "tls": rule.smtp_tls,
    }
    parts = urlsplit(rule.webhook_url)
    webhook = {"url": f"{parts.scheme}://{parts.netloc}/{HIDDEN}", "secret": HIDDEN}
    return {"webhook": webhook if rule.webhook_url else None, "mail": mail if rule.mail_to else None}


def _usd(nano_usd: int) -> str:
    """Dollars exactly, as one would write them: 10, 0.5."""
    return f"{(Decimal(nano_usd) / NANO_PER_USD).normalize():f}"

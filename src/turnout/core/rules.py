"""Names what an operator may rule about callers and money: tiers, limits, budgets, the ledger, alerts, privacy.

Frozen values without behaviour, as in core/catalog.py: `config` builds them, `core` decides over them. A *limit* is our
allowance to a caller (a quota is a vendor's allowance to us); a *budget* is a sum of money for a period.
Units: money in nano-dollars, rates per 60 seconds, time in seconds.
Source of the shipped numbers: FACTS §6.
"""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

from turnout.core.secret import Secret

Scope = Literal["all", "team", "workspace", "user", "key", "task", "model"]
"""Whom a limit or a budget is about. "all" is everybody together."""

SCOPES: tuple[Scope, ...] = get_args(Scope)

Period = Literal["day", "week", "month", "30d", "life"]
"""How long a budget lasts: a calendar's day, week (from Monday) or month in its zone, thirty days from its start, or once."""

PERIODS: tuple[Period, ...] = get_args(Period)

ALERTS: tuple[float, ...] = (0.5, 0.8, 0.9, 1.0)


class Rates(msgspec.Struct, frozen=True):
    """What a caller may ask in any 60 seconds, and how many requests may be under way. 0: no such limit."""

    requests_minute: int = 0
    tokens_minute: int = 0
    at_once: int = 0


class Limit(msgspec.Struct, frozen=True):
    """Rates of one scope. match: a name, or "*" for each of them on its own."""

    scope: Scope
    match: str
    rates: Rates


class Budget(msgspec.Struct, frozen=True):
    """Money for a period. match: a name, or "*" for each of them on its own.

    name: unique, as in "user:*" or "key:k_4f…"; part of the books, so it does not change while its numbers may.
    soft_nano_usd: above it an alert is sent and nothing refused; None for none. is_hard: whether it refuses at its limit.
    zone: of the tz database, whose midnights begin its periods. starts_at: Unix seconds that the periods of 30 days count
    from. alerts: shares of the limit that an alert is sent at.
    """

    name: str
    scope: Scope
    match: str
    limit_nano_usd: int
    soft_nano_usd: int | None = None
    period: Period = "month"
    zone: str = "UTC"
    starts_at: int = 0
    is_hard: bool = True
    alerts: tuple[float, ...] = ALERTS


class Tier(msgspec.Struct, frozen=True):
    """What every user of a tier gets, on their own. budget: of each of them, None for none."""

    name: str
    rates: Rates = Rates()
    budget: Budget | None = None


class LedgerRule(msgspec.Struct, frozen=True):
    """Where the books are, and how much they survive.

    url: a PostgreSQL address; None for SQLite beside the other files. durability: `group` writes to the disk itself every
    10 ms (a power cut may take that long), `strict` before each vendor is asked. when_full: whether to go on without a
    journal when its disk is full: `refuse` with 503, or `continue` in memory up to a bound.
    keep_days: how long single entries are kept before they are archived; 0: for ever. archive: their format.
    """

    url: Secret | None = None
    durability: Literal["group", "strict"] = "group"
    when_full: Literal["refuse", "continue"] = "refuse"
    keep_days: int = 0
    archive: Literal["csv", "parquet"] = "csv"


class AlertRule(msgspec.Struct, frozen=True):
    """Who is told of budgets. webhook_url: "" for nobody; its secret signs what is sent. mail_to: () for nobody."""

    webhook_url: str = ""
    webhook_secret: Secret | None = None
    mail_to: tuple[str, ...] = ()
    mail_from: str = ""
    smtp_host: str = ""
    smtp_port: int = 587
    smtp_user: str = ""
    smtp_password: Secret | None = None
    smtp_tls: Literal["starttls", "tls", "none"] = "starttls"


class PrivacyRule(msgspec.Struct, frozen=True):
    """What is kept of prompts, and what is taken out of them.

    prompts: `none` (nothing is kept) or `redacted` (encrypted, without what is personal, for keep_s).
    kinds: what counts as personal (core/privacy names them), () for all.
    """

    prompts: Literal["none", "redacted"] = "none"
    keep_s: float = 7 * 86400.0
    kinds: tuple[str, ...] = ()


NO_ALERTS = AlertRule()
IN_SQLITE = LedgerRule()
NO_PROMPTS = PrivacyRule()

SHIPPED_TIERS: tuple[Tier, ...] = tuple(
    Tier(name, rates, Budget(f"tier:{name}", "user", "*", dollars * 10**9, period="30d"))
    for name, rates, dollars in (
        ("default", Rates(100, 50_000), 10),
        ("premium", Rates(500, 200_000), 50),
        ("enterprise", Rates(2_000, 500_000), 200),
    )
)

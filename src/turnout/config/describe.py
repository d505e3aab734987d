"""Tells a Snapshot in plain values and in lines, with where each came from: what `turnout check` prints.

Keys are those of turnout.yaml, money is USD per million tokens again, secrets are `***`, header values too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from turnout.config.describe_rules import rules
from turnout.core.catalog import (
    Account,
    CacheRule,
    Model,
    Price,
    Quota,
    Rollout,
    Route,
    SemanticRule,
    Snapshot,
    Task,
    Timeouts,
)
from turnout.core.redact import HIDDEN

_BY_ITEM = frozenset({"models", "routes", "tasks", "aliases", "tiers", "limits", "budgets"})
"""Sections whose entries come whole from one place: a line each is enough."""


class Line(NamedTuple):
    """One value: dotted key, the value as YAML would write it on one line, where it came from."""

    key: str
    value: str
    origin: str


def effective(snapshot: Snapshot) -> dict[str, object]:
    """The whole configuration as plain values, ready for JSON."""
    server, bounds, retry, breaker = snapshot.server, snapshot.server.bounds, snapshot.retry, snapshot.breaker
    return {
        "server": {
            "host": server.host,
            "port": server.port,
            "master_key": HIDDEN if server.master_key else None,
            "home": server.home,
            "grace": server.grace_s,
            "lame_duck": server.lame_duck_s,
            "concurrency": server.concurrency,
            "max_body": bounds.body_bytes,
            "max_header": bounds.header_bytes,
            "max_depth": bounds.json_depth,
            "max_answer": bounds.answer_bytes,
            "header_timeout": bounds.header_s,
            "body_timeout": bounds.body_s,
            "send_timeout": bounds.send_s,
            "idle_timeout": bounds.idle_s,
        },
        "traces": {"rows": server.trace_rows},
        "timeouts": _timeouts(snapshot.timeouts),
        "retry": {
            "max_retries": retry.max_retries,
            "backoff": retry.backoff_s,
            "max_backoff": retry.max_backoff_s,
            "budget": retry.budget_ratio,
            "budget_floor": retry.budget_floor,
            "ambiguous": retry.retry_ambiguous,
        },
        "breaker": {"failures": breaker.failures, "rest": breaker.rest_s, "max_rest": breaker.max_rest_s},
        "cache": _cache(snapshot.cache),
        "valkey": {"url": HIDDEN} if server.valkey_url else None,
        "providers": {
            name: _account(one, snapshot.timeouts, snapshot.quotas.get(name)) for name, one in snapshot.accounts.items()
        },
        "models": {
            name: _model(one, snapshot.quotas.get(f"{one.provider}/{name}")) for name, one in snapshot.models.items()
        },
        "fallbacks": list(snapshot.default_fallbacks),
        "routes": {name: _route(one) for name, one in snapshot.routes.items()},
        "tasks": {name: _task(one) for name, one in snapshot.tasks.items()},
        "aliases": dict(snapshot.aliases),
        "rollouts": {name: _rollout(one) for name, one in snapshot.rollouts.items()},
        **rules(snapshot),
    }


def lines(snapshot: Snapshot) -> list[Line]:
    """The configuration line by line; what is not said and has no default is left out."""
    told = []
    for section, content in effective(snapshot).items():
        if section in _BY_ITEM:
            assert isinstance(content, dict)
            told += [Line(f"{section}.{name}", _flow(_said(item)), "") for name, item in content.items()]
        else:
            told += [Line(key, _flow(value), "") for key, value in _flat(section, content)]
    return [line._replace(origin=snapshot.origins.get(line.key, "default")) for line in told]


def _cache(cache: CacheRule) -> dict[str, object]:
    return {
        "ttl": cache.ttl_s,
        "size": cache.size_bytes,
        "max_answer": cache.answer_bytes,
        "safe_tools": sorted(cache.safe_tools),
    }


def _account(account: Account, usual: Timeouts, quota: Quota | None) -> dict[str, object]:
    return {
        "kind": account.kind,
        "vendor": account.vendor or None,
        "base_url": account.base_url or None,
        "api_key": "stored" if account.is_key_stored else HIDDEN if account.api_key else None,
        "names": account.names,
        "region": account.region or None,
        "headers": dict.fromkeys((name for name, _ in account.headers), HIDDEN),
        "timeouts": None if account.timeouts == usual else _timeouts(account.timeouts),
        "proxy": account.proxy_url or None,
        "ca_file": account.ca_file or None,
        "quota": _quota(quota),
    }


def _quota(quota: Quota | None, *, is_of_model: bool = False) -> object:
    """What is known of a quota; "learn" if that is nothing. is_of_model: its pattern is the model's id, as told there."""
    if quota is None:
        return None
    day_starts = f"{quota.day_starts_s // 3600:02}:{quota.day_starts_s // 60 % 60:02} {quota.day_zone}"
    told = {
        "models": None if is_of_model or quota.models == "*" else quota.models,
        "requests_per_minute": quota.requests_minute or None,
        "requests_per_day": quota.requests_day or None,
        "tokens_per_minute": quota.tokens_minute or None,
        "tokens_per_day": quota.tokens_day or None,
        "at_once": quota.at_once or None,
        "margin": quota.margin or None,
        "day_starts": day_starts if quota.requests_day or quota.tokens_day else None,
        "reserve": quota.reserve or None,
    }
    return {key: value for key, value in told.items() if value is not None} or "learn"


def _model(model: Model, quota: Quota | None) -> dict[str, object]:
    return {
        "provider": model.provider,
        "id": model.id,
        "price": price_told(model.price),
        "context": model.context_tokens,
        "max_output": model.max_output_tokens,
        "can": None if model.can is None else sorted(model.can),
        "stream": model.streams,
        "mode": model.mode,
        "fallbacks": list(model.fallbacks),
        "context_fallbacks": list(model.context_fallbacks),
        "region": model.region or None,
        "quota": _quota(quota, is_of_model=True),
    }


def _route(route: Route) -> dict[str, object]:
    return {
        "policy": route.policy,
        "models": _models(route.models, route.weights),
        "price_ceiling": price_told(route.price_ceiling),
        "regions": sorted(route.regions),
        "max_retries": route.max_retries,
    }


def _semantic(rule: SemanticRule) -> dict[str, object]:
    return {
        "embedder": rule.embedder,
        "threshold": rule.threshold,
        "answer_threshold": rule.answer_threshold,
        "mode": rule.mode,
        "max_false_hits": rule.max_false_hits,
    }


def _task(task: Task) -> dict[str, object]:
    return {
        "policy": task.policy,
        "models": _models(task.models, task.weights),
        "because": task.because or None,
        "price_ceiling": price_told(task.price_ceiling),
        "needs": sorted(task.needs),
        "regions": sorted(task.regions),
        "max_retries": task.max_retries,
        "timeout": task.total_s,
        "hedge": task.is_hedged or None,
        "continuation": "text" if task.is_continued else None,
        "priority": task.priority,
        "cache": task.cache_s,
        "semantic": None if task.semantic is None else _semantic(task.semantic),
        "mask": "all" if "all" in task.masks else sorted(task.masks),
    }


def _rollout(rollout: Rollout) -> dict[str, object]:
    return {
        "tasks": sorted(rollout.tasks) or "all",
        "percent": rollout.percent,
        "candidate": {"provider": rollout.provider} if rollout.provider else {"models": list(rollout.models)},
        "include": sorted(rollout.include),
        "exclude": sorted(rollout.exclude),
    }


def _timeouts(timeouts: Timeouts) -> dict[str, object]:
    return {
        "connect": timeouts.connect_s,
        "first_chunk": timeouts.first_chunk_s,
        "idle": timeouts.idle_s,
        "total": timeouts.total_s,
    }


def _models(names: Sequence[str], weights: Sequence[float]) -> object:
    return dict(zip(names, weights, strict=True)) if weights else list(names)


def price_told(price: Price | None) -> object:
    """A price as the file would say it: a table, `free`, or None if it is not known."""
    if price is None:
        return None
    if price.is_free:
        return "free"
    longer = [{"above": above, **_kinds(one)} for above, one in price.longer]
    return {**_kinds(price), **({"long": longer} if longer else {})}


def _kinds(price: Price) -> dict[str, object]:
    kinds = {
        "input": price.input,
        "output": price.output,
        "cached_input": price.cache_read_input,
        "cache_write": price.cache_write_input,
        "cache_write_1h": price.cache_write_1h_input,
        "image_input": price.image_input,
        "reasoning": price.reasoning_output,
        "image_output": price.image_output,
    }
    return {name: nano / 1000 for name, nano in kinds.items() if nano is not None}


# ── lines ──


def _flat(key: str, value: object) -> Iterator[tuple[str, object]]:
    """Leaves with their dotted keys."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flat(f"{key}.{name}", inner)
    elif value is not None and value != []:
        yield key, value


def _said(item: object) -> object:
    """A table without what says nothing, or only the usual."""
    if not isinstance(item, Mapping):
        return item
    usual = (("stream", True), ("mode", "chat"), ("priority", "medium"))
    return {key: value for key, value in item.items() if value not in (None, [], {}) and (key, value) not in usual}


def _flow(value: object) -> str:
    """A value as YAML's flow style writes it, near enough to be read."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(inner)}" for key, inner in value.items() if inner is not None) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(inner) for inner in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)

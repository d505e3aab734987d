"""Builds what is not about models: server, retry, breaker, cache, timeouts. The environment wins over the file, the file over defaults.

TURNOUT_HOST, TURNOUT_PORT and TURNOUT_MASTER_KEY stand for server.host, server.port and server.master_key. A weak or
sample master key is refused here, before anything listens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from turnout.config import scalars, schema
from turnout.config.draft import Draft
from turnout.config.problems import Path
from turnout.config.secrets import is_sendable, resolve
from turnout.core.catalog import BreakerRule, CacheRule, RetryRule, Server, Timeouts
from turnout.core.secret import Secret
from turnout.core.secret_strength import weakness

T = TypeVar("T", bound=msgspec.Struct)
V = TypeVar("V")


def laid_over(under: T, table: msgspec.Struct | None, **names: str) -> T:
    """`under` with what `table` says. names: field of `under` → key of `table`."""
    said = {field: getattr(table, key) for field, key in names.items() if getattr(table, key, None) is not None}
    return msgspec.structs.replace(under, **said)


def timeouts(under: Timeouts, table: schema.TimeoutsTable | None) -> Timeouts:
    """Phases of an attempt; what is not said is as in `under`."""
    return laid_over(under, table, connect_s="connect", first_chunk_s="first_chunk", idle_s="idle", total_s="total")


def server(draft: Draft) -> Server:
    """Where we listen, for whom, and what a client may send."""
    table = draft.user.table.server
    built = laid_over(
        Server(), table, host="host", port="port", grace_s="grace", lame_duck_s="lame_duck", concurrency="concurrency"
    )
    bounds = laid_over(
        built.bounds,
        table,
        body_bytes="max_body",
        header_bytes="max_header",
        json_depth="max_depth",
        answer_bytes="max_answer",
        header_s="header_timeout",
        body_s="body_timeout",
        send_s="send_timeout",
        idle_s="idle_timeout",
    )
    if draft.environment.get("TURNOUT_HOME"):
        draft.origins["server.home"] = "TURNOUT_HOME"
    built = laid_over(built, draft.user.table.traces, trace_rows="rows")
    host = _from_variable(draft, "TURNOUT_HOST", "server.host", scalars.host)
    port = _from_variable(draft, "TURNOUT_PORT", "server.port", scalars.whole(0, 65_535))
    return msgspec.structs.replace(
        built,
        host=built.host if host is None else host,
        port=built.port if port is None else port,
        master_key=_master_key(draft, table.master_key if table else None),
        home=str(draft.environment.home),
        valkey_url=_valkey_url(draft),
        bounds=bounds,
    )


def retry(draft: Draft) -> RetryRule:
    """How failures are tried again."""
    built = laid_over(
        RetryRule(),
        draft.user.table.retry,
        max_retries="max_retries",
        backoff_s="backoff",
        max_backoff_s="max_backoff",
        budget_ratio="budget",
        budget_floor="budget_floor",
        retry_ambiguous="ambiguous",
    )
    if built.backoff_s > built.max_backoff_s:
        _crossed(draft, ("retry", "backoff"), ("retry", "max_backoff"), built.backoff_s, built.max_backoff_s)
    return built


def breaker(draft: Draft) -> BreakerRule:
    """When a candidate rests."""
    built = laid_over(
        BreakerRule(), draft.user.table.breaker, failures="failures", rest_s="rest", max_rest_s="max_rest"
    )
    if built.rest_s > built.max_rest_s:
        _crossed(draft, ("breaker", "rest"), ("breaker", "max_rest"), built.rest_s, built.max_rest_s)
    return built


def cache(draft: Draft) -> CacheRule:
    """How answers are kept."""
    table = draft.user.table.cache
    built = laid_over(CacheRule(), table, ttl_s="ttl", size_bytes="size", answer_bytes="max_answer")
    if built.answer_bytes > built.size_bytes:
        path = ("cache", "max_answer" if table is not None and table.max_answer is not None else "size")
        what = f"one answer of {built.answer_bytes:,} bytes does not fit into {built.size_bytes:,} bytes"
        draft.wrong(path, f"{what}, lower max_answer or raise size")
    return msgspec.structs.replace(built, safe_tools=frozenset(one for one in draft.safe_tools if one))


def _crossed(draft: Draft, low: Path, high: Path, low_s: float, high_s: float) -> None:
    """The first wait is longer than the longest: say so at the key that the file holds."""
    at = low if draft.user.document.has(*low) else high
    draft.wrong(at, f"{low[-1]} ({low_s:g} s) is longer than {high[-1]} ({high_s:g} s), lower it or raise {high[-1]}")


def _from_variable(draft: Draft, name: str, key: str, read: Callable[[str], V]) -> V | None:
    """What an environment variable says, None if it says nothing."""
    written = draft.environment.get(name)
    if not written:
        return None
    draft.origins[key] = name
    try:
        return read(written)
    except ValueError as error:
        draft.wrong_variable(name, str(error))
        return None


def _master_key(draft: Draft, reference: Secret | None) -> Secret | None:
    """The key that guards everything; None if the one kept in TURNOUT_HOME is to be used."""
    what = "use 32 random bytes or more, or leave it out: Turnout makes one on first start"
    name, path = "TURNOUT_MASTER_KEY", ("server", "master_key")
    if draft.environment.is_set(name):
        draft.origins["server.master_key"] = name
        key = Secret(draft.environment.get(name))
        why = _why_not(key)
        if why:
            draft.wrong_variable(name, f"the key {why}, {what}")
        return key
    if reference is None:
        return None
    try:
        found = resolve(reference, draft.environment, draft.folder)
    except ValueError as error:
        draft.wrong(path, str(error))
        return None
    draft.note(path, found)
    why = _why_not(found.secret)
    if why:
        draft.wrong(path, f"the key {why}, {what}")
    return found.secret


def _valkey_url(draft: Draft) -> Secret | None:
    """Where a Valkey is, if several gateways share one."""
    table, path = draft.user.table.valkey, ("valkey", "url")
    if table is None or table.url is None:
        return None
    try:
        found = resolve(table.url, draft.environment, draft.folder)
        scalars.valkey_address(found.secret.reveal())
    except ValueError as error:
        draft.wrong(path, str(error))
        return None
    draft.note(path, found)
    return found.secret


def _why_not(key: Secret) -> str:
    why = weakness(key.reveal())
    return why or ("" if is_sendable(key) else "holds a space or a character that a header cannot carry")

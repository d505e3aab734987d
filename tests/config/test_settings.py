"""Tests of config/settings.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.config.conftest import Folder
from turnout.core.catalog import Bounds, BreakerRule, CacheRule, RetryRule, Server, Timeouts
from turnout.core.secret import Secret

STRONG = "kJ8s2mNq0vXz4Lw7Tg5Rb1Yc"


def test_defaults_are_those_of_the_catalogue(folder: Folder) -> None:
    """A file that says nothing changes nothing."""
    snapshot = folder.snapshot("", {"TURNOUT_HOME": "/var/t"})
    assert snapshot.server == Server(home="/var/t")
    assert (snapshot.retry, snapshot.breaker, snapshot.timeouts) == (RetryRule(), BreakerRule(), Timeouts())
    assert (snapshot.cache.ttl_s, snapshot.cache.size_bytes) == (0.0, 64 * 1024 * 1024)
    assert snapshot.origins["server.home"] == "TURNOUT_HOME"


def test_every_setting_can_be_said(folder: Folder) -> None:
    """Each key reaches its field, in its unit."""
    snapshot = folder.snapshot(
        f"""
server: {{host: 0.0.0.0, port: 4001, master_key: {STRONG}, grace: 1m, lame_duck: 2s, concurrency: 7, max_body: 1MiB, max_header: 32KiB, max_depth: 32,
  max_answer: 2MiB, header_timeout: 5, body_timeout: 500ms, send_timeout: 7, idle_timeout: 2m}}
retry: {{max_retries: 3, backoff: 100ms, max_backoff: 2s, budget: 0.1, budget_floor: 1, ambiguous: no}}
breaker: {{failures: 2, rest: 60s, max_rest: 10m}}
timeouts: {{connect: 1, first_chunk: 2, idle: 3, total: 4}}
traces: {{rows: 0}}
cache: {{ttl: 1h, size: 2MiB, max_answer: 1KiB, safe_tools: [getPricing]}}
valkey: {{url: "redis://valkey:6379/1"}}
""",
        {"TURNOUT_HOME": "/t"},
    )
    assert snapshot.server == Server(
        host="0.0.0.0",
        port=4001,
        master_key=Secret(STRONG),
        home="/t",
        grace_s=60.0,
        lame_duck_s=2.0,
        concurrency=7,
        bounds=Bounds(1024**2, 32 * 1024, 32, 5.0, 0.5, 2 * 1024**2, send_s=7.0, idle_s=120.0),
        trace_rows=0,
        valkey_url=Secret("redis://valkey:6379/1"),
    )
    assert snapshot.cache == CacheRule(3600.0, 2 * 1024**2, 1024, frozenset({"getPricing"}))
    assert snapshot.retry == RetryRule(3, 0.1, 2.0, 0.1, 1, retry_ambiguous=False)
    assert snapshot.breaker == BreakerRule(2, 60.0, 600.0)
    assert snapshot.timeouts == Timeouts(1.0, 2.0, 3.0, 4.0)


def test_the_environment_wins_over_the_file(folder: Folder) -> None:
    """And the origins say so; a variable that holds nothing says nothing."""
    text = f"server: {{host: a, port: 1, master_key: {STRONG}}}\n"
    other = STRONG[::-1]
    said = {"TURNOUT_HOST": "b", "TURNOUT_PORT": "2", "TURNOUT_MASTER_KEY": other}
    snapshot = folder.snapshot(text, said)
    assert (snapshot.server.host, snapshot.server.port, snapshot.server.master_key) == ("b", 2, Secret(other))
    assert {snapshot.origins[f"server.{key}"] for key in ("host", "port", "master_key")} == set(said)
    snapshot = folder.snapshot(text, {"TURNOUT_HOST": "", "TURNOUT_PORT": ""})
    assert (snapshot.server.host, snapshot.server.port, snapshot.server.master_key) == ("a", 1, Secret(STRONG))
    assert snapshot.origins["server.port"] == "turnout.yaml:1"


def test_a_port_may_be_any_free_one(folder: Folder) -> None:
    """0 asks the system; in the environment too."""
    assert folder.snapshot("server: {port: 0}\n").server.port == 0
    assert folder.snapshot("", {"TURNOUT_PORT": "0"}).server.port == 0


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"TURNOUT_PORT": "http"}, "TURNOUT_PORT: 'http' is no whole number, expected 0 to 65,535"),
        ({"TURNOUT_HOST": "http://x"}, "TURNOUT_HOST: 'http://x' is no host"),
        ({"TURNOUT_MASTER_KEY": ""}, "TURNOUT_MASTER_KEY: the key is empty, use 32 random bytes or more"),
        ({"TURNOUT_MASTER_KEY": "changeme"}, "TURNOUT_MASTER_KEY: the key is a sample key"),
        ({"TURNOUT_MASTER_KEY": "sk-1234"}, "TURNOUT_MASTER_KEY: the key is a sample key"),
        ({"TURNOUT_MASTER_KEY": "æøå" + STRONG}, "TURNOUT_MASTER_KEY: the key holds a space or a character"),
    ],
)
def test_a_bad_variable_is_named(variables: dict[str, str], expected: str, folder: Folder) -> None:
    """RELIABILITY T96: empty, short and sample keys never start a gateway; other bad values neither."""
    (problem,) = folder.problems("", variables)
    assert problem.startswith(expected)
    assert problem.endswith("(environment variable)")


def test_a_master_key_may_come_from_a_file(folder: Folder) -> None:
    """By reference; the file is watched, the origin names it."""
    path = folder.write(STRONG + "\n", "key")
    loaded = folder.load("server: {master_key: 'file:key'}\n")
    assert loaded.snapshot.server.master_key == Secret(STRONG)
    assert loaded.snapshot.origins["server.master_key"] == f"file:{path}"
    assert loaded.watched_files == (folder.path / "turnout.yaml", Path(path))
    assert folder.problems("server: {master_key: 'file:nope'}\n")[0].startswith("turnout.yaml:1:22 server.master_key")


def test_tools_that_only_look_up_are_shipped(folder: Folder) -> None:
    """A list of the user's replaces them; `defaults: false` takes them away."""
    shipped = folder.snapshot("").cache.safe_tools
    assert {"getBusinessHours", "getServicePricing", "getCompanyInfo", "getAvailableServices"} == shipped
    assert folder.snapshot("cache: {ttl: 1m}\n").cache == CacheRule(60.0, safe_tools=shipped)
    assert folder.snapshot("cache: {safe_tools: []}\n").cache == CacheRule()
    assert folder.snapshot("defaults: false\n").cache == CacheRule()


def test_where_valkey_is_may_come_from_the_environment(folder: Folder) -> None:
    """By reference, as keys do: the address may hold a password."""
    snapshot = folder.snapshot("valkey: {url: '${V}'}\n", {"V": "rediss://:canary@valkey"})
    assert Secret("rediss://:canary@valkey") == snapshot.server.valkey_url
    assert snapshot.origins["valkey.url"] == "V"
    assert folder.snapshot("valkey:\n").server.valkey_url is None

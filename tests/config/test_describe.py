"""Tests of config/describe.py."""

from __future__ import annotations

import json

from tests.config.conftest import Folder
from tests.config.test_build import EXAMPLE, KEYS
from turnout.config.describe import Line, effective, lines
from turnout.config.schema import ConfigTable

MASTER = "kJ8s2mNq0vXz4Lw7Tg5Rb1Yc"


def test_every_line_has_its_origin(folder: Folder) -> None:
    """The file and line, the variable, or default."""
    told = {line.key: line for line in lines(folder.snapshot(EXAMPLE, {**KEYS, "TURNOUT_PORT": "4001"}))}
    assert told["server.host"] == Line("server.host", "127.0.0.1", "turnout.yaml:2")
    assert told["server.port"] == Line("server.port", "4001", "TURNOUT_PORT")
    assert told["server.grace"] == Line("server.grace", "30", "default")
    assert told["providers.openrouter.api_key"] == Line("providers.openrouter.api_key", "***", "OPENROUTER_API_KEY")
    assert told["models.gpt-4o-mini"].origin == "turnout.yaml:10"
    assert told["models.gpt-4o"].origin == "default"
    assert told["tasks.chat"].value == (
        "{policy: priority, models: [glm-4.5-air-free, gpt-oss-20b-free, gemma-3-27b-free], "
        "because: accurate, good Danish, price_ceiling: free, needs: [conversation, danish], cache: 300}"
    )
    assert told["aliases.gpt-4"] == Line("aliases.gpt-4", "production-chat", "turnout.yaml:15")
    assert told["rollouts.litellm.percent"] == Line("rollouts.litellm.percent", "10", "turnout.yaml:17")
    assert told["retry.ambiguous"].value == "true"


def test_secrets_and_header_values_are_hidden(folder: Folder) -> None:
    """Three stars for the master key, for provider keys and for what a header holds."""
    text = f"server: {{master_key: {MASTER}}}\nproviders: {{openai: {{api_key: canary, headers: {{x-a: canary}}}}}}\n"
    snapshot = folder.snapshot(text)
    told = json.dumps(effective(snapshot)) + str(lines(snapshot))
    assert "canary" not in told
    assert MASTER not in told
    assert Line("providers.openai.headers.x-a", "***", "turnout.yaml:2") in lines(snapshot)


def test_plain_values_are_those_of_the_file(folder: Folder) -> None:
    """Keys and units of turnout.yaml: money in USD per million tokens, weights as a table, `free` and `all` as words."""
    text = EXAMPLE.replace("models:\n", "models:\n  nobody-knows: {provider: stub}\n", 1) + "timeouts: {idle: 9}\n"
    config = json.loads(json.dumps(effective(folder.snapshot(text, KEYS))))
    assert set(config) <= set(ConfigTable.__struct_fields__)
    assert config["models"]["gpt-4o-mini"]["price"] == {"input": 0.15, "output": 0.6}
    assert config["models"]["gpt-4o"]["price"] == {"input": 2.5, "output": 10.0, "cached_input": 1.25}
    assert config["models"]["glm-4.5-air-free"]["price"] == "free"
    assert config["models"]["nobody-knows"]["price"] is None
    assert config["routes"]["production-chat"]["models"] == {
        "gpt-4o": 0.4,
        "claude-3.5-sonnet": 0.4,
        "gpt-4o-mini": 0.2,
    }
    assert config["rollouts"]["litellm"] == {
        "tasks": "all",
        "percent": 10.0,
        "candidate": {"provider": "litellm"},
        "include": [],
        "exclude": [],
    }
    assert config["providers"]["stub"]["timeouts"] is None
    assert config["timeouts"]["idle"] == 9.0


def test_what_is_said_apart_is_told_apart(folder: Folder) -> None:
    """Timeouts of one provider, tasks and models of a rollout."""
    text = """
providers: {stub: {kind: compatible, base_url: "http://x", timeouts: {idle: 1.5}}}
models: {e: {provider: stub, stream: false, can: []}}
rollouts: {r: {tasks: [chat], candidate: {models: [gpt-4o]}, include: [b, a]}}
"""
    told = {line.key: line.value for line in lines(folder.snapshot(text))}
    assert told["providers.stub.timeouts.idle"] == "1.5"
    assert told["models.e"] == "{provider: stub, id: e, stream: false}"
    assert told["rollouts.r.candidate.models"] == "[gpt-4o]"
    assert told["rollouts.r.tasks"] == "[chat]"
    assert told["rollouts.r.include"] == "[a, b]"


def test_quotas_and_cache_are_told(folder: Folder) -> None:
    """Shipped ones as `default`, numbers only where there are some, `learn` where there are none; no address of Valkey."""
    text = """
providers:
  openrouter: {quota: {requests_per_day: 50}}
  stub: {kind: compatible, base_url: "http://x", quota: learn}
  plain: {kind: compatible, base_url: "http://x"}
models:
  m: {provider: stub, quota: {tokens_per_minute: 5000, margin: 10 %}}
cache: {ttl: 2m}
valkey: {url: "redis://:canary@x"}
tasks: {t: {models: [m], priority: low, cache: none}}
"""
    snapshot = folder.snapshot(text, KEYS)
    told = {line.key: line for line in lines(snapshot)}
    before = "providers.openrouter.quota."
    assert Line(f"{before}requests_per_day", "50", "turnout.yaml:3") == told[f"{before}requests_per_day"]
    assert Line(f"{before}requests_per_minute", "16", "default") == told[f"{before}requests_per_minute"]
    assert {"models": "*:free", "at_once": "2", "margin": "0.25", "day_starts": "00:00 UTC", "reserve": "0.2"} == {
        key: told[before + key].value for key in ("models", "at_once", "margin", "day_starts", "reserve")
    }
    assert told["providers.stub.quota"].value == "learn"
    assert not any(key.startswith("providers.plain.quota") for key in told)
    assert told["models.m"].value == "{provider: stub, id: m, quota: {tokens_per_minute: 5000, margin: 0.1}}"
    assert told["tasks.t"].value == "{policy: priority, models: [m], priority: low, cache: 0}"
    assert (told["cache.ttl"].value, told["cache.size"].origin) == ("120", "default")
    assert told["valkey.url"] == Line("valkey.url", "***", "turnout.yaml:9")
    assert "canary" not in json.dumps(effective(snapshot))

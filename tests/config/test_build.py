"""Tests of config/build.py: the whole Snapshot. What it refuses stands in test_build_broken.py."""

from __future__ import annotations

import msgspec

from tests.config.conftest import Folder
from turnout.core.plan import Index
from turnout.core.secret import Secret

EXAMPLE = """
server: {host: 127.0.0.1, port: 4000}
providers:
  openrouter: {}                                        # a known vendor
  ollama: {base_url: http://127.0.0.1:11434}
  stub: {kind: compatible, base_url: http://127.0.0.1:9100/v1, api_key: sk-x}
  litellm: {kind: compatible, base_url: http://127.0.0.1:4001/v1, api_key: "${LITELLM_MASTER_KEY}", names: "{provider}/{id}"}
models:
  glm-4.5-air-free: {provider: openrouter, id: "z-ai/glm-4.5-air:free", price: free, context: 128000, can: [tools, json]}
  gpt-4o-mini: {provider: openai, price: {input: 0.15, output: 0.60}}
routes:
  production-chat: {policy: weighted, models: {gpt-4o: 0.4, claude-3.5-sonnet: 0.4, gpt-4o-mini: 0.2}}
tasks:
  email-draft: {models: [glm-4.5-air-free, gpt-oss-20b-free, claude-3-haiku], because: professional writing, price_ceiling: free}
aliases: {gpt-4: production-chat}
rollouts:
  litellm: {tasks: all, percent: 10, candidate: {provider: litellm}}
"""
KEYS = {"OPENROUTER_API_KEY": "canary-openrouter", "LITELLM_MASTER_KEY": "canary-litellm"}


def test_the_shape_that_was_promised_is_accepted(folder: Folder) -> None:
    """The example of the issue, as it stands there."""
    snapshot = folder.snapshot(EXAMPLE, KEYS)
    assert list(snapshot.accounts) == ["openrouter", "ollama", "stub", "litellm"]
    assert snapshot.accounts["litellm"].api_key == Secret("canary-litellm")
    assert snapshot.routes["production-chat"].weights == (0.4, 0.4, 0.2)
    assert snapshot.tasks["email-draft"].models == ("glm-4.5-air-free", "gpt-oss-20b-free", "claude-3-haiku")
    assert snapshot.aliases["gpt-4"] == "production-chat"
    assert snapshot.rollouts["litellm"].percent == 10.0
    assert {account for _, account in snapshot.candidates} == {"openrouter", "ollama", "litellm"}
    assert len(snapshot.tasks) == 10


def test_a_plan_can_be_made_for_every_name(folder: Folder) -> None:
    """The planner's index takes the Snapshot whole, shipped names included."""
    index = Index.of(folder.snapshot(EXAMPLE, KEYS))
    assert {"gpt-4o", "production-chat", "email-draft"} <= set(index.names)
    assert index.finals["gpt-4"] == "production-chat"


def test_no_secret_is_in_any_printed_form(folder: Folder) -> None:
    """A Snapshot, its accounts and its candidates can be logged."""
    loaded = folder.load(EXAMPLE + "retry: {max_retries: 1}\n", KEYS)
    assert "canary" not in f"{loaded!r} {loaded} {loaded.snapshot.origins} {loaded.notices}"
    assert "***" in repr(loaded.snapshot.accounts["litellm"])


def test_a_candidate_is_a_model_at_an_account(folder: Folder) -> None:
    """Key, model, account, the vendor's id and the price are those of the two."""
    snapshot = folder.snapshot(EXAMPLE, KEYS)
    for (name, account), one in snapshot.candidates.items():
        assert one.key == f"{name}@{account}"
        assert one.model is snapshot.models[name]
        assert one.account is snapshot.accounts[account]
        assert one.price == one.model.price


def test_every_problem_of_every_part_comes_at_once(folder: Folder) -> None:
    """Text, shape, meaning and environment: no round trip for each."""
    text = """server: {port: x}
server: {}
providers: {openrouter: }
models: {m: {provider: nope}}
tasks: {t: {models: [nope]}}
routes: {r: {models: [nope]}}
aliases: {a: nope}
rollouts: {x: {candidate: {models: [nope]}}}
retry: {backoff: 60}
"""
    found = [one.split(": ")[0] for one in folder.problems(text, {"TURNOUT_PORT": "x", "TURNOUT_MASTER_KEY": ""})]
    assert found == [
        "TURNOUT_MASTER_KEY",
        "TURNOUT_PORT",
        "turnout.yaml:1:16 server.port",
        "turnout.yaml:2:1 server",
        "turnout.yaml:3:13 providers.openrouter",
        "turnout.yaml:4:24 models.m.provider",
        "turnout.yaml:5:22 tasks.t.models[0]",
        "turnout.yaml:6:23 routes.r.models[0]",
        "turnout.yaml:7:14 aliases.a",
        "turnout.yaml:8:37 rollouts.x.candidate.models[0]",
        "turnout.yaml:9:18 retry.backoff",
    ]


def test_a_snapshot_is_frozen(folder: Folder) -> None:
    """Nothing can be set on it: a request keeps what it began with."""
    snapshot = folder.snapshot("")
    for value in (snapshot, snapshot.server, next(iter(snapshot.models.values()))):
        assert value.__struct_config__.frozen
    assert isinstance(snapshot, msgspec.Struct)

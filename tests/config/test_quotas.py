"""Tests of config/quotas.py."""

from __future__ import annotations

import pytest

from tests.config.conftest import Folder
from turnout.core.catalog import Quota

KEY = {"OPENROUTER_API_KEY": "sk-or", "GROQ_API_KEY": "gsk"}
FREE_TIER = Quota(
    "openrouter", "openrouter", "*:free", requests_minute=16, requests_day=1000, at_once=2, margin=0.25, reserve=0.2
)


@pytest.mark.parametrize("text", ["", "providers: {openrouter: {}}\n", "providers: {openrouter: {region: us}}\n"])
def test_a_known_free_tier_is_shipped(text: str, folder: Folder) -> None:
    """With the account, said or found in the environment; it counts free models only."""
    snapshot = folder.snapshot(text, KEY)
    assert snapshot.quotas["openrouter"] == FREE_TIER
    assert snapshot.candidates["glm-4.5-air-free", "openrouter"].quotas == ("openrouter",)
    assert snapshot.candidates["llama-3.1-70b", "openrouter"].quotas == ()


def test_accounts_without_a_known_quota_have_none(folder: Folder) -> None:
    """Nothing is guessed: vendors with paid tiers tell their own."""
    snapshot = folder.snapshot("", {**KEY, "OPENAI_API_KEY": "sk"})
    assert set(snapshot.quotas) == {"openrouter"}
    assert folder.snapshot("").quotas == {}


def test_what_is_said_lies_over_what_is_shipped(folder: Folder) -> None:
    """One number replaces one number; `none` takes one away."""
    text = (
        "providers: {openrouter: {quota: {requests_per_day: 50, at_once: none, day_starts: 07:30 Europe/Copenhagen}}}\n"
    )
    assert folder.snapshot(text, KEY).quotas["openrouter"] == Quota(
        "openrouter",
        "openrouter",
        "*:free",
        requests_minute=16,
        requests_day=50,
        margin=0.25,
        day_zone="Europe/Copenhagen",
        day_starts_s=27_000,
        reserve=0.2,
    )


def test_other_models_take_no_shipped_number(folder: Folder) -> None:
    """Whoever names the models speaks of another quota."""
    text = "providers: {openrouter: {quota: {models: '*', requests_per_minute: 100}}}\n"
    assert folder.snapshot(text, KEY).quotas["openrouter"] == Quota("openrouter", "openrouter", requests_minute=100)


def test_elsewhere_the_shipped_quota_does_not_hold(folder: Folder) -> None:
    """Another address is somebody else; a second account at the vendor's own has the vendor's quota of its own."""
    text = """
providers:
  openrouter: {base_url: "http://127.0.0.1:9/v1", api_key: x}
  second: {kind: openrouter, api_key: y}
"""
    quotas = folder.snapshot(text).quotas
    assert [("second", "second", 16)] == [(one.name, one.account, one.requests_minute) for one in quotas.values()]


def test_none_switches_it_off_and_learn_begins_without_numbers(folder: Folder) -> None:
    """For vendors who tell in their headers what they allow."""
    text = "providers: {openrouter: {quota: none}, groq: {quota: learn}}\n"
    assert folder.snapshot(text, KEY).quotas == {"groq": Quota("groq", "groq")}
    assert folder.snapshot("providers: {openrouter: {quota: learn}}\n", KEY).quotas["openrouter"] == FREE_TIER


def test_everything_about_a_quota_can_be_said(folder: Folder) -> None:
    """Of an account, and of one model: its calls then count against both."""
    text = """
providers:
  groq:
    quota: {models: "llama*", requests_per_minute: 30, requests_per_day: 1000, tokens_per_minute: 12_000,
      tokens_per_day: 100_000, at_once: 4, margin: 10 %, day_starts: "00:00 UTC", reserve: 0.5}
models:
  llama: {provider: groq, id: llama-3.3-70b-versatile, quota: {requests_per_minute: 5}}
  other: {provider: groq, id: qwen3, quota: learn}
  off: {provider: groq, id: llama-4, quota: none}
"""
    snapshot = folder.snapshot(text, KEY)
    assert snapshot.quotas["groq"] == Quota("groq", "groq", "llama*", 30, 1000, 12_000, 100_000, 4, 0.1, "UTC", 0, 0.5)
    assert snapshot.quotas["groq/llama"] == Quota("groq/llama", "groq", "llama-3.3-70b-versatile", requests_minute=5)
    assert snapshot.quotas["groq/other"] == Quota("groq/other", "groq", "qwen3")
    assert {"openrouter", "groq", "groq/llama", "groq/other"} == set(snapshot.quotas)
    counted = {name: snapshot.candidates[name, "groq"].quotas for name in ("llama", "other", "off")}
    assert {"llama": ("groq", "groq/llama"), "other": ("groq/other",), "off": ("groq",)} == counted


def test_a_model_of_an_odd_name_counts_itself_alone(folder: Folder) -> None:
    """What is a pattern in `models` is a name in `id`."""
    text = """
models:
  odd: {provider: groq, id: "a*[b]?", quota: {at_once: 1}}
  even: {provider: groq, id: "abbb"}
"""
    candidates = folder.snapshot(text, KEY).candidates
    assert [("groq/odd",), ()] == [candidates[name, "groq"].quotas for name in ("odd", "even")]


def test_a_rollout_counts_at_the_account_that_it_moves_to(folder: Folder) -> None:
    """Under the name that the model has there; the model's own quota is its own account's."""
    text = """
providers:
  groq: {}
  proxy: {kind: compatible, base_url: "http://x", names: "{provider}/{id}", quota: {models: "groq/*", at_once: 1}}
models: {m: {provider: groq, quota: {at_once: 3}}}
rollouts: {r: {candidate: {provider: proxy}}}
"""
    candidates = folder.snapshot(text, KEY).candidates
    assert [("groq/m",), ("proxy",)] == [candidates["m", account].quotas for account in ("groq", "proxy")]


def test_a_model_without_an_account_has_no_quota(folder: Folder) -> None:
    """Its provider is not configured, so nothing is counted there; in a simulation the simulated account is."""
    text = "models: {m: {provider: openai, quota: {at_once: 1}}}\n"
    assert folder.snapshot(text + "providers: {groq: {}}\n", {"GROQ_API_KEY": "gsk"}).quotas == {}
    assert folder.snapshot(text).quotas == {"simulated/m": Quota("simulated/m", "simulated", "m", at_once=1)}


def test_a_margin_must_leave_something(folder: Folder) -> None:
    """Of the smallest number; exactly one is enough, whatever a float makes of it."""
    text = "providers: {{groq: {{quota: {{requests_per_minute: 10, requests_per_day: 1000, margin: {margin}}}}}}}\n"
    assert folder.problems(text.format(margin="90 %"), KEY) == []
    (problem,) = folder.problems(text.format(margin="95 %"), KEY)
    assert problem == "turnout.yaml:1:85 providers.groq.quota.margin: leaves nothing of 10, lower it"
    (problem,) = folder.problems("providers: {openrouter: {quota: {requests_per_day: 1}}}\n", KEY)
    assert problem.startswith("turnout.yaml:1:26 providers.openrouter.quota.margin: leaves nothing of 1")

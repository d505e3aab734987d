"""Tests of config/describe_rules.py."""

from __future__ import annotations

import json

from tests.config.conftest import Folder
from turnout.config.describe import Line, effective, lines

HOOK = "8f3b7ac1e0d94f6482aa17c3b5d9e60f"
TEXT = f"""
limits: {{"user:*": {{at_once: 2}}}}
budgets:
  all: {{limit: 1000, soft: 799.50, period: 30d, zone: Europe/Copenhagen, starts: 2026-11-01}}
  user:*: [1/day, 10/month, 0.000001/week]
ledger: {{url: "postgresql://u:canary@h/d", keep: 90d}}
alerts:
  webhook: {{url: "https://h/canary", secret: {HOOK}}}
  mail: {{to: [a@x.dk], sender: t@x.dk, host: h, user: u, password: canary}}
privacy: {{kinds: [email]}}
"""


def test_rules_are_told_in_the_words_of_the_file(folder: Folder) -> None:
    """A line each, with where it came from; nothing secret in any."""
    snapshot = folder.snapshot(TEXT)
    told = {line.key: line for line in lines(snapshot)}
    assert Line("limits.user:*", "{at_once: 2}", "turnout.yaml:2") == told["limits.user:*"]
    assert (
        "{limit: 1000, soft: 799.5, period: 30d, zone: Europe/Copenhagen, starts: 2026-11-01, hard: true, "
        "alerts: [0.5, 0.8, 0.9, 1]}"
    ) == told["budgets.all"].value
    assert "{limit: 0.000001, period: week, " in told["budgets.user:*"].value
    assert "{requests_per_minute: 100, tokens_per_minute: 50000, budget: 10/30d}" == told["tiers.default"].value
    gold = "tiers: {gold: {budget: {limit: 10, period: day, zone: Europe/Copenhagen}}}\n"
    (value,) = [line.value for line in lines(folder.snapshot(gold)) if line.key == "tiers.gold"]
    assert value.startswith("{budget: {limit: 10, period: day, zone: Europe/Copenhagen, hard: true")
    assert ("90d", "***") == (told["ledger.keep"].value, told["ledger.url"].value)
    assert "https://h/***" == told["alerts.webhook.url"].value
    assert "[a@x.dk]" == told["alerts.mail.to"].value
    assert "[email]" == told["privacy.kinds"].value
    everything = json.dumps(effective(snapshot)) + str(told)
    assert "canary" not in everything
    assert HOOK not in everything


def test_what_is_not_said(folder: Folder) -> None:
    """Nobody is told, books are kept for ever, a tier may have no budget."""
    config = effective(folder.snapshot("tiers: {free: {at_once: 1}}\n"))
    assert {"webhook": None, "mail": None} == config["alerts"]
    assert {
        "url": None,
        "durability": "group",
        "when_full": "refuse",
        "keep": "for ever",
        "archive": "csv",
    } == config["ledger"]
    assert "all" == json.loads(json.dumps(config["privacy"]))["kinds"]
    assert (
        "{at_once: 1}"
        == {line.key: line.value for line in lines(folder.snapshot("tiers: {free: {at_once: 1}}\n"))}["tiers.free"]
    )

"""Tests of config/books.py."""

from __future__ import annotations

from tests.config.conftest import Folder
from turnout.core.rules import AlertRule, LedgerRule, PrivacyRule
from turnout.core.secret import Secret

HOOK = "8f3b7ac1e0d94f6482aa17c3b5d9e60f"


def test_nothing_said(folder: Folder) -> None:
    """SQLite, nobody told, no prompts."""
    snapshot = folder.snapshot("")
    assert (LedgerRule(), AlertRule(), PrivacyRule()) == (snapshot.ledger, snapshot.alerts, snapshot.privacy)
    assert (LedgerRule(), AlertRule()) == (
        folder.snapshot("ledger: {}\n").ledger,
        folder.snapshot("alerts: {}\n").alerts,
    )


def test_everything_about_the_ledger(folder: Folder) -> None:
    """Its address comes from the environment, and says so."""
    text = 'ledger: {url: "${DB}", durability: strict, when_full: continue, keep: 90d, archive: parquet}\n'
    snapshot = folder.snapshot(text, {"DB": "postgresql://u:p@h/d"})
    assert LedgerRule(Secret("postgresql://u:p@h/d"), "strict", "continue", 90, "parquet") == snapshot.ledger
    assert "DB" == snapshot.origins["ledger.url"]


def test_everything_about_alerts(folder: Folder) -> None:
    """By webhook and by mail; the port follows the kind of TLS."""
    text = """
alerts:
  webhook: {url: "https://h/${TOKEN}", secret: "${HOOK}"}
  mail: {to: [a@x.dk, b@x.dk, a@x.dk], sender: t@x.dk, host: smtp.x.dk, user: u, password: "file:pw", tls: tls}
"""
    folder.write("hemmeligt\n", "pw")
    loaded = folder.load(text, {"HOOK": HOOK, "TOKEN": "abc"})
    assert (
        AlertRule(
            "https://h/abc",
            Secret(HOOK),
            ("a@x.dk", "b@x.dk"),
            "t@x.dk",
            "smtp.x.dk",
            465,
            "u",
            Secret("hemmeligt"),
            "tls",
        )
        == loaded.snapshot.alerts
    )
    assert "pw" == loaded.watched_files[-1].name
    plain = folder.snapshot("alerts: {mail: {to: [a@x.dk], sender: t@x.dk, host: h, port: 25, tls: none}}\n").alerts
    assert (25, "none", None) == (plain.smtp_port, plain.smtp_tls, plain.smtp_password)


def test_everything_about_privacy(folder: Folder) -> None:
    """`all` is what is meant anyway."""
    text = "privacy: {prompts: redacted, keep: 3d, kinds: [email, cpr]}\n"
    assert PrivacyRule("redacted", 259_200.0, ("email", "cpr")) == folder.snapshot(text).privacy
    assert PrivacyRule() == folder.snapshot("privacy: {kinds: all}\n").privacy


def test_what_is_wrong_is_named(folder: Folder) -> None:
    """Without a word of what is secret."""
    text = """
ledger: {url: "mysql://canary", durability: sometimes, keep: 0}
alerts:
  webhook: {url: "https://h/x", secret: canary}
  mail: {to: [], sender: t@x.dk, host: h, password: canary, tls: none}
privacy: {kinds: []}
tasks: {chat: {models: [glm-4.5-air-free], mask: []}}
"""
    problems = folder.problems(text)
    assert "canary" not in str(problems)
    told = dict(one.split(" ", 1)[1].split(": ", 1) for one in problems)
    expected = {
        "ledger.url": "is no address, it must begin with postgresql://",
        "ledger.durability": "'sometimes' is not known here",
        "ledger.keep": "'0' is no number of days",
        "alerts.webhook.secret": "the secret has 6 characters",
        "alerts.mail": "names a user or a password alone",
        "alerts.mail.to": "is empty, name at least one address",
        "alerts.mail.tls": "would send the password in the clear",
        "privacy.kinds": "is empty, name kinds",
        "tasks.chat.mask": "is empty, name kinds",
    }
    assert expected == {key: what[: len(expected.get(key, ""))] for key, what in told.items()}


def test_a_webhook_needs_its_secret(folder: Folder) -> None:
    """It is signed, or it is none; a variable that is not set is named."""
    (problem,) = folder.problems('alerts: {webhook: {url: "https://h"}}\n')
    assert problem.endswith("alerts.webhook: the key 'secret' is missing")
    (problem,) = folder.problems('alerts: {webhook: {url: "${NO}", secret: "' + HOOK + '"}}\n')
    assert problem.endswith("alerts.webhook.url: the environment variable NO is not set")

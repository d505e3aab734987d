"""`turnout budget`: what it tells of the books, with no gateway running."""

from __future__ import annotations

import json
import os
import time

import pytest

from turnout.cli import run
from turnout.cli.budget import _rounded
from turnout.cli.opened import in_books
from turnout.core.books.alerts import Alert, claim, failed, raise_alert, taken
from turnout.core.books.budgets import lease
from turnout.core.books.entry import Charge, Entry
from turnout.core.books.ledger import append
from turnout.core.books.people import Rules, set_rules
from turnout.core.budgeting import Account
from turnout.core.rules import Budget

NOW = int(time.time())
CONFIG = """
defaults: false
providers: {openai: {api_key: sk-1}}
budgets:
  all: {limit: 1000, period: life, hard: false}
  user:*: 10/life
"""


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A folder, a config with budgets, and no variable that would change it."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("TURNOUT_", "ENABLE_", "LITELLM_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TURNOUT_HOME", str(tmp_path / "home"))
    (tmp_path / "turnout.yaml").write_text(CONFIG)


def write(steps):
    """One transaction in the books."""
    return in_books(None, lambda _loaded, database: database.write(steps))


def said(capsys, *arguments, code=0):
    """What a command prints."""
    assert code == run(["budget", *arguments])
    return capsys.readouterr().out


def plain(text):
    """Lines with single spaces."""
    return [" ".join(line.split()) for line in text.splitlines()]


def book():
    """Anna has spent $2.50, and a key has a budget of its own."""
    charges = (Charge("all", 0), Charge("user:*/anna", 0))
    names = ("r1-1", "r1", NOW * 1000, "", "anna", "", "", "", "", "gpt", "openai", "gpt", "", "ok", "exact")
    yield from append("w", [Entry(*names, 1, 1, 0, 0, 0, 2_500_000_000, charges)])
    yield from set_rules("key", "k_1", Rules(None, (Budget("key:k_1", "key", "k_1", 5 * 10**9, period="life"),)))


def opened():
    """Both periods are known, as after a first request."""
    accounts = [
        Account(Charge("all", 0), None, "all", "all", "", 10**12, is_hard=False),
        Account(Charge("user:*/anna", 0), None, "user:*", "user", "anna", 10**10, is_hard=True),
    ]
    yield from lease("v", accounts, [[(1, 500_000_000)]], [0, 0], NOW, NOW + 600)


@pytest.mark.parametrize(
    ("nano_usd", "told"),
    [
        (0, "$0.00"),
        (12_500_000_000, "$12.50"),
        (15_593_942_718, "$15.5939"),
        (15_593_950_000, "$15.5940"),
        (49_999, "$0.00"),
        (50_000, "$0.0001"),
        (999_999_999, "$1.00"),
        (-400_000, "-$0.0004"),
        (-49_999, "$0.00"),
    ],
)
def test_sums_are_rounded_to_a_hundredth_of_a_cent(nano_usd, told):
    """For the eye; --json has them exactly."""
    assert told == _rounded(nano_usd)


def test_the_most_used_budget_stands_first(capsys):
    """With what is spent, held and left; those of keys are there too, and one that nobody used yet."""
    write(book)
    write(opened)
    assert [
        "budget period limit spent held left used begins anew at",
        "user:*/anna life $10.00 $2.50 $0.50 $7.00 30% never",
        "all life, soft $1000.00 $2.50 $0.00 $997.50 0% never",
        "key:k_1 life $5.00 $0.00 $0.00 $5.00 0% never",
    ] == plain(said(capsys, "status"))
    assert "The first 1 of more; see --most." == plain(said(capsys, "status", "--most", "1"))[-1]
    told = json.loads(said(capsys, "status", "--json"))["budgets"]
    assert [("user:*/anna", "2.50", "0.50", "7.00", True), ("all", "2.50", "0.00", "997.50", False)] == [
        (one["budget"], one["spent_usd"], one["held_usd"], one["left_usd"], one["hard"]) for one in told[:2]
    ]


def test_no_budget_says_how_to_give_one(capsys, tmp_path):
    """In words, and as an empty list."""
    (tmp_path / "turnout.yaml").write_text("defaults: false\nproviders: {openai: {api_key: sk-1}}\n")
    assert said(capsys, "status").startswith("No budget is used yet. Give one under `budgets:` in turnout.yaml")
    assert {"budgets": []} == json.loads(said(capsys, "status", "--json"))
    assert "No budget has reached a mark yet.\n" == said(capsys, "alerts")


def test_alerts_and_who_was_told(capsys):
    """The youngest first, with how often it was tried and what was wrong."""
    fifty = Alert("user:*/anna", 0, "50%", None, "user", "anna", 10**10, 5 * 10**9, 6 * 10**9, NOW)
    eighty = Alert("user:*/anna", 0, "80%", None, "user", "anna", 10**10, 8 * 10**9, 9 * 10**9, NOW + 60)

    def raised():
        yield from raise_alert(fifty, ["webhook"])
        (one,) = yield from claim("webhook", NOW, NOW + 60, 1)
        yield from taken(one, NOW + 1)
        yield from raise_alert(eighty, ["mail"])
        (two,) = yield from claim("mail", NOW + 60, NOW + 99, 1)
        yield from failed(two, NOW + 99, "no route")
        yield from raise_alert(Alert("all", 0, "soft", None, "all", "", 10, 5, 7, NOW - 60), [])

    write(raised)
    lines = plain(said(capsys, "alerts"))
    assert "at budget mark spent limit told by taken at tries problem" == lines[0]
    assert lines[1].endswith("user:*/anna 80% $9.00 $10.00 mail 1 no route")
    assert "user:*/anna 50% $6.00 $10.00 webhook" in lines[2]
    assert lines[2].endswith(" 1")
    assert lines[3].endswith("all soft $0.000000007 $0.000000010 nobody")
    told = json.loads(said(capsys, "alerts", "--json", "--most", "2"))["alerts"]
    assert [("80%", None, "no route"), ("50%", NOW + 1, None)] == [
        (one["mark"], one["taken_at"], one["problem"]) for one in told
    ]


def test_help_names_what_there_is(capsys):
    """For somebody who sees it for the first time."""
    assert 0 == run(["budget", "--help"])
    text = capsys.readouterr().out
    assert "status" in text
    assert "alerts" in text

"""Tests of config/amounts.py."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.config import amounts
from turnout.core.rules import PERIODS, SCOPES

NANO = amounts.NANO_PER_USD


@pytest.mark.parametrize(
    ("written", "nano_usd"),
    [
        ("10", 10 * NANO),
        ("0.50", NANO // 2),
        ("$10", 10 * NANO),
        ("$ 1_000.25", 1_000_250_000_000),
        ("10 USD", 10 * NANO),
        ("10usd", 10 * NANO),
        ("0.000000001", 1),
        ("1000000000", 10**18),
    ],
)
def test_dollars_are_exact(written: str, nano_usd: int) -> None:
    """With or without the sign, to the last nano-dollar."""
    assert nano_usd == amounts.dollars(written)


@given(st.integers(1, 10**18))
def test_no_nano_dollar_is_lost(nano_usd: int) -> None:
    """What is written out comes back."""
    assert nano_usd == amounts.dollars(f"{nano_usd // NANO}.{nano_usd % NANO:09d}")


@pytest.mark.parametrize(
    ("written", "period"), [("day", "day"), ("Monthly", "month"), ("30d", "30d"), ("LIFE", "life"), ("weekly", "week")]
)
def test_periods_by_their_name(written: str, period: str) -> None:
    """The words of the field, and those people say."""
    assert period == amounts.period(written)


def test_a_sum_for_a_period() -> None:
    """As a key's budget is given on the command line."""
    assert (10 * NANO, "month") == amounts.spend("10/month")
    assert (NANO // 2, "day") == amounts.spend("$0.50 / daily")
    assert {(NANO, one) for one in PERIODS} == {amounts.spend(f"1/{one}") for one in PERIODS}


def test_scopes() -> None:
    """Everybody, one, or each on its own; a model's name may hold colons."""
    assert ("all", "*") == amounts.scope("all")
    assert ("user", "anna@example.com") == amounts.scope("user:anna@example.com")
    assert ("team", "*") == amounts.scope("team:*")
    assert ("model", "z-ai/glm:free") == amounts.scope("model:z-ai/glm:free")
    assert set(SCOPES) == {amounts.scope("all" if one == "all" else f"{one}:x")[0] for one in SCOPES}


def test_the_rest_of_what_is_read() -> None:
    """Shares, days, spans, zones, people, addresses."""
    assert (0.8, 0.8, 1.0) == tuple(map(amounts.alert_share, ("80 %", "0.8", "1")))
    assert (90, 7, 1, 0, 0) == tuple(map(amounts.days, ("90d", "7", "1 day", "for ever", "none")))
    assert (604_800.0, 43_200.0, 90.0) == tuple(map(amounts.span, ("7d", "12h", "90")))
    assert date(2026, 11, 1) == amounts.day("2026-11-01")
    assert ["UTC", "Europe/Copenhagen"] == [amounts.zone(one) for one in ("UTC", "Europe/Copenhagen")]
    assert "ops+a@example.com" == amounts.mail_address("ops+a@example.com")
    assert "https://h/p?sig=1" == amounts.webhook_address("https://h/p?sig=1")
    address = "postgresql://u:p@h:5432/d?sslmode=require"
    assert address == amounts.postgres_address(address)
    assert "postgresql:///d?host=/run/pg" == amounts.postgres_address("postgresql:///d?host=/run/pg")


@pytest.mark.parametrize(
    ("read", "written", "what"),
    [
        (amounts.dollars, "ten", "'ten' is no sum, write US dollars such as 10 or 0.50"),
        (amounts.dollars, "-1", "is no sum"),
        (amounts.dollars, "1.0000000001", "is no sum"),
        (amounts.dollars, "1000000001", "expected 1,000,000,000 dollars at most"),
        (amounts.dollars, "0.00", "is nothing, write a sum"),
        (amounts.period, "mnth", "did you mean 'month'?"),
        (amounts.spend, "10", "says no period, write such as 10/month"),
        (amounts.spend, "10/x", "'x' is no period"),
        (amounts.scope, "everyone", "expected all, or one of team:NAME"),
        (amounts.scope, "user:", "names nobody, write user:NAME, or user:* for each"),
        (amounts.scope, "user", "names nobody"),
        (amounts.scope, "all:x", "is not known here"),
        (amounts.alert_share, "0", "is 0, every budget would be told of at once"),
        (amounts.alert_share, "150 %", "out of range"),
        (amounts.days, "0", "is no number of days, expected 1 to 36,500"),
        (amounts.days, "1h", "is no number of days"),
        (amounts.span, "1s", "expected a minute to 3,650 days"),
        (amounts.span, "9999d", "out of range"),
        (amounts.span, "soon", "is no time"),
        (amounts.day, "01.11.2026", "is no day, write such as 2026-11-01"),
        (amounts.day, "1969-01-01", "expected a day of 1971 to 2199"),
        (amounts.zone, "Mars/Olympus", "is no time zone known on this machine"),
        (amounts.zone, "../etc", "is no time zone"),
        (amounts.mail_address, "Anna <a@x>", "is no e-mail address"),
    ],
)
def test_what_does_not_fit_is_named_with_what_was_meant(read: Callable[[str], object], written: str, what: str) -> None:
    """Every reader says both."""
    with pytest.raises(ValueError, match=r".") as raised:
        read(written)
    assert what in str(raised.value)


@pytest.mark.parametrize(
    "written",
    [
        "ftp://canary",
        "http://",
        "http://h:0",
        "http://h:canary",
        "https://canary:b@h",
        "https://h/#canary",
        "https://h/ca nary",
        "https://h/\\canary",
        "https://h/canæry",
    ],
)
def test_a_webhook_that_is_none_is_not_repeated(written: str) -> None:
    """It may hold a key."""
    with pytest.raises(ValueError, match=r"is no address|holds a") as raised:
        amounts.webhook_address(written)
    assert "canary" not in str(raised.value)


@pytest.mark.parametrize("written", ["mysql://canary", "postgres://h:0/x", "postgres://h:canary", "postgres://can ary"])
def test_a_database_that_is_none_is_not_repeated(written: str) -> None:
    """It may hold a password."""
    with pytest.raises(ValueError, match=r"is no address|holds a") as raised:
        amounts.postgres_address(written)
    assert "canary" not in str(raised.value)

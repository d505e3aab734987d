"""What tools are told of a text is what the one who reads it takes."""

from __future__ import annotations

import re
from ipaddress import ip_network

import msgspec
import pytest

from turnout.api import patterns
from turnout.api.key_forms import BudgetForm, KeyForm, grant_of, sum_of
from turnout.config.secrets import is_sendable
from turnout.core.books.people import bad_name
from turnout.core.books.usage import asked
from turnout.core.secret import Secret
from turnout.errors import InvalidRequest


def fits(pattern, text):
    """As JSON Schema looks for it."""
    return re.search(pattern, text) is not None


def is_taken(read, text):
    """Whether a reader has nothing against it."""
    try:
        read(text)
    except (InvalidRequest, ValueError):
        return False
    return True


@pytest.mark.parametrize(
    "text",
    ["a", "Åse Ø.", "anna@example.com", "a b", "**", "名前", "", "*", " a", "a ", "a/b", "a\tb", "\x7f", "\u00a0a"],
)
def test_a_name_is_what_the_books_take_for_one(text):
    """Letters of every script; no slash, no spaces around, not the word for all of them."""
    assert (bad_name(text, "name") is None) == fits(patterns.NAME, text)
    assert fits(patterns.NAME_OR_NONE, text) == (not text or fits(patterns.NAME, text))


def test_a_name_of_what_cannot_be_printed_is_the_books_to_refuse():
    """No expression that every tool reads knows which signs there are in Unicode."""
    assert fits(patterns.NAME, "a\u00adb")
    assert bad_name("a\u00adb", "name") is not None


@pytest.mark.parametrize(
    "text",
    [
        *("1", "0.5", "12.50", "007", "0.000000001", "999999999.999999999", "1000000000", "1000000000.00", "1.5000000000000"),
        *("0", "0.00", "", "-1", "NaN", "0.0000000001", "1000000000.1", "1000000001", "10000000000", "$5", "5 USD"),
    ],
)  # fmt: skip
def test_a_sum_is_what_a_budget_takes(text):
    """Exactly: to the nano-dollar, and to the billion."""

    def read(said):
        sum_of(msgspec.convert({"usd": said}, BudgetForm))

    assert is_taken(read, text) == fits(patterns.SUM, text)


@pytest.mark.parametrize(
    "text",
    ["0", "0.5", "3", "0.001", "0.0010", "1000000000", "1000000000.0", "-1", "0.0001", "1000000000.001", "1 $", ""],
)
def test_a_price_is_what_a_ceiling_takes(text):
    """Nothing is a price too."""

    def read(said):
        grant_of(msgspec.convert({"price_ceiling": {"input": said, "output": "0"}}, KeyForm))

    assert is_taken(read, text) == fits(patterns.PRICE, text)


@pytest.mark.parametrize(
    "text",
    [
        *("192.0.2.7", "0.0.0.0", "255.255.255.255", "192.0.2.0/24", "192.0.2.7/0", "10.0.0.0/32", "::", "::1", "::/0"),
        *("1::", "2001:db8::7", "2001:DB8::/32", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "1::8/128"),
        *("1:2::7:8", "1:2:3:4:5:6::8", "1::3:4:5:6:7:8"),
        *("", "192.0.2", "192.0.2.256", "192.0.2.07", "192.0.2.0/33", "192.0.2.0/", "192.0.2.7 ", "example.com", "*"),
        *(":", ":::", "1:2", "1::2::3", "1:2:3:4:5:6:7:8:9", "1::2:3:4:5:6:7:8", "12345::", "g::", "::/129", "1:2:3:4:5:6:7:"),
    ],
)  # fmt: skip
def test_an_address_is_what_a_grant_takes(text):
    """Or a network, of either version."""
    assert is_taken(lambda said: ip_network(said, strict=False), text) == fits(patterns.ADDRESS, text)


@pytest.mark.parametrize("text", ["sk-1", "!", "~", "", "a b", "a\n", "ø", "\x7f"])
def test_a_key_is_of_visible_characters(text):
    """As one that can stand in a header."""
    assert (text != "" and is_sendable(Secret(text))) == fits(patterns.VISIBLE + r"(?!\n)", text)


@pytest.mark.parametrize(
    "text",
    ["1971-01-01", "1999-12-31", "2026-11-21", "2199-12-31", "1970-12-31", "2200-01-01", "2026-1-1", "x", "+2026-1-1"],
)
def test_a_day_is_of_a_year_that_is_read(text):
    """Which days a month has is its format's to say."""
    assert is_taken(lambda said: asked("", said, said, "", {}, 1_763_683_200.0), text) == fits(patterns.DAY, text)


@pytest.mark.parametrize(
    "text", ["1d", "0d", "7d", "0030d", "3700d", "3701d", "9999d", "d", "7", "-7d", "36500d", "7days"]
)
def test_so_many_days_are_counted_back(text):
    """Up to four digits."""
    assert is_taken(lambda said: asked("", said, "", "", {}, 1_763_683_200.0), text) == fits(patterns.DAYS_AGO, text)

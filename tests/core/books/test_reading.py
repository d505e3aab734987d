"""core/books/reading.py: what cannot be read is never taken for nothing."""

from __future__ import annotations

import msgspec
import pytest

from turnout.core.books.reading import UNREADABLE, Broken, grant_in, rules_in
from turnout.core.catalog import FREE
from turnout.core.principal import Grant
from turnout.core.rules import Budget, Limit, Rates

FULL = Grant(frozenset({"glm"}), frozenset({"chat"}), FREE, frozenset({"eu"}), ("10.0.0.0/8", "192.0.2.7"), 9.5)


def text(value):
    """As the books keep it."""
    return msgspec.json.encode(value).decode()


@pytest.mark.parametrize("grant", [Grant(), FULL])
def test_a_grant_is_read_as_it_was_written(grant):
    """Whatever it narrows to."""
    assert grant == grant_in(text(grant))


@pytest.mark.parametrize(
    "broken", ["", "{", "null", "[]", '{"models": 1}', '{"addresses": ["10.0.0.0/99"]}', "[" * 100_000, "{}\x00", None]
)
def test_a_grant_that_cannot_be_read_grants_nothing(broken):
    """It ended long ago."""
    assert UNREADABLE == grant_in(broken)
    assert 0.0 == UNREADABLE.expires_at


def test_rules_are_read_and_those_that_cannot_be_are_named():
    """The others are read all the same."""
    limit, budget = Limit("user", "anna", Rates(9)), Budget("user:anna/day", "user", "anna", 5, period="day")
    elsewhere = msgspec.structs.replace(budget, zone="Mars/Olympus")
    found = rules_in(
        [
            ("key", "k_1", "limit", "no JSON"),
            ("user", "anna", "limit", text(limit)),
            ("user", "anna", "budget/day", text(budget)),
            ("user", "bo", "budget/day", text(elsewhere)),
            ("team", "t", "budget/week", text(limit)),
        ]
    )
    assert ([limit], [budget]) == (found.limits, found.budgets)
    assert [Broken("key", "k_1", "limit"), Broken("user", "bo", "budget/day"), Broken("team", "t", "budget/week")] == (
        found.broken
    )

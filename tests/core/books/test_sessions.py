"""core/books/sessions.py: entries of a session, and which of them there still are, over each database that we have."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.entries import AT_MS, entry
from turnout.core.books import sessions
from turnout.core.books.ledger import Wanted, append, latest
from turnout.core.books.statements import Sql
from turnout.core.books.usage import NAMES

BOOKED = [
    entry("a-1"),
    entry("a-2", outcome="upstream_fault", cost_nano_usd=None),
    entry("b-1", session="s2", user="bo", basis="estimated", cost_nano_usd=5_000_000),
    entry("c-1", session="", at_ms=AT_MS + 1),
    entry("d-1", at_ms=AT_MS + 2, cost_nano_usd=7),
]


@pytest.fixture
async def booked(database):
    """Books with those five attempts."""
    await database.write(lambda: append("w", BOOKED))
    return database


async def test_entries_of_a_session_are_listed(booked):
    """The newest first, narrowed further by what else is wanted; of any where none is named."""

    async def listed(session, count=10, **wanted):
        found = await booked.read(lambda: latest(Wanted(session=session, **wanted), count))
        return [one.attempt_id for one in found]

    assert ["d-1", "a-2", "a-1"] == await listed("s1")
    assert ["d-1"] == await listed("s1", 1)
    assert ["a-2"] == await listed("s1", outcome="upstream_fault")
    assert [] == await listed("s2", user="anna")
    assert ["d-1", "c-1", "b-1", "a-2", "a-1"] == await listed("")


async def test_sums_are_those_of_the_entries(booked):
    """By session alone, the dearest first: calls, those that failed, are estimated and unpriced, then tokens and costs."""
    flags = (*(0 for _ in NAMES), 1)
    filters = ("",) * 2 * len(flags)

    def sums():
        return (yield Sql(sessions.GROUPED, (*flags, AT_MS, AT_MS + 10, *filters, 10)))

    rows = [tuple(row)[len(NAMES) :] for row in await booked.read(sums)]
    assert [
        ("s2", 1, 0, 1, 0, 100, 20, 10, 5, 3, 5_000_000, 5_000_000),
        ("s1", 3, 1, 0, 1, 300, 60, 30, 15, 9, 1_000_007, 0),
        ("", 1, 0, 0, 0, 100, 20, 10, 5, 3, 1_000_000, 0),
    ] == rows


def test_the_hours_that_begin_in_a_stretch():
    """Its first may be cut off at half past, its last may reach beyond."""
    at = int(datetime(2026, 11, 20, 18, 30, tzinfo=UTC).timestamp())
    assert ((at + 1800) * 1000, (at + 5400) * 1000) == sessions.hours_ms(at, at + 3600)
    assert ((at + 1800) * 1000, (at + 5400) * 1000) == sessions.hours_ms(at + 1800, at + 5400)


async def test_until_when_entries_may_be_gone(booked):
    """In whole seconds; 0 while nothing is archived."""
    assert 0 == await booked.read(sessions.archived_until)

    def archived():
        text = "INSERT INTO entry_archived (writer, entries, chain, last_at_ms) VALUES (?, ?, ?, ?)"
        yield Sql(text, ("w", 1, b"", AT_MS + 1))

    await booked.write(archived)
    assert AT_MS // 1000 + 1 == await booked.read(sessions.archived_until)

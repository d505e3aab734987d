"""core/books/usage.py: what was used by session, from the entries, over each database that we have."""

from __future__ import annotations

from datetime import date

import msgspec
import pytest

from tests.entries import AT_MS, entry
from turnout.core.books.ledger import Amounts, append, correct
from turnout.core.books.statements import Sql
from turnout.core.books.usage import NAMES, Sums, Wanted, asked, report_told, usage

DAY_MS = 86_400_000
DAY = date(2026, 11, 18)
"""Of AT_MS."""

BOOKED = [
    entry("a-1"),
    entry("a-2", outcome="upstream_fault", cost_nano_usd=None),
    entry("b-1", session="s2", user="bo", basis="estimated", cost_nano_usd=5_000_000),
    entry("c-1", session="", at_ms=AT_MS + DAY_MS),
    entry("d-1", at_ms=AT_MS + 2 * DAY_MS, cost_nano_usd=7),
]
BY_SESSION = Wanted(("session",), DAY, date(2026, 11, 30))


@pytest.fixture
async def booked(database):
    """Books with those five attempts."""
    await database.write(lambda: append("w", BOOKED))
    return database


async def test_sums_by_session_the_dearest_first(booked):
    """As the sums by hour have them, with every amount; a request without a session is one of none."""
    report = await booked.read(lambda: usage(BY_SESSION))
    assert [
        ({"session": "s2"}, Sums(1, 0, 1, 0, 100, 20, 10, 5, 3, 5_000_000, 5_000_000)),
        ({"session": "s1"}, Sums(3, 1, 0, 1, 300, 60, 30, 15, 9, 1_000_007, 0)),
        ({"session": ""}, Sums(1, 0, 0, 0, 100, 20, 10, 5, 3, 1_000_000, 0)),
    ] == [(line.names, line.sums) for line in report.lines]
    assert (5, 0) == (report.total.attempts, report.archived_until_s)
    by_hours = await booked.read(lambda: usage(msgspec.structs.replace(BY_SESSION, by=("user",))))
    assert by_hours.total == report.total


async def test_one_session_by_other_names(booked):
    """Days, users, all at once: what is told of it is what the sums would say if they knew it."""
    of_one = msgspec.structs.replace(BY_SESSION, by=("day", *NAMES), only={"session": "s1", "user": "anna"})
    report = await booked.read(lambda: usage(of_one))
    assert ["2026-11-18", "2026-11-20"] == [line.names["day"] for line in report.lines]
    assert {"anna"} == {line.names["user"] for line in report.lines}
    assert (3, 1_000_007) == (report.total.attempts, report.total.cost_nano_usd)
    nobody = msgspec.structs.replace(BY_SESSION, by=("day",), only={"session": "s' OR 1=1 --"})
    report = await booked.read(lambda: usage(nobody))
    assert ((), Sums()) == (report.lines, report.total)


@pytest.mark.parametrize("by", [("session",), ("day", "session")])
async def test_lines_that_are_too_many_are_cut(booked, by):
    """The total counts them all."""
    report = await booked.read(lambda: usage(msgspec.structs.replace(BY_SESSION, by=by), 1))
    assert (1, 5, True) == (len(report.lines), report.total.attempts, report.is_cut)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "Asia/Kathmandu"])
async def test_a_day_is_made_of_the_hours_that_begin_in_it(booked, zone):
    """As in every other report, also where midnight is at half past: both say the same of each day."""
    edges = [entry(f"e{minute}-1", at_ms=AT_MS + minute * 60_000) for minute in range(0, 24 * 60, 11)]
    await booked.write(lambda: append("w", edges))
    by_day = Wanted(("day",), DAY, date(2026, 11, 25), zone)
    sums = await booked.read(lambda: usage(by_day))
    read = await booked.read(lambda: usage(msgspec.structs.replace(by_day, by=("day", "session"))))
    told: dict[str, int] = {}
    for line in read.lines:
        told[line.names["day"]] = told.get(line.names["day"], 0) + line.sums.attempts
    assert {line.names["day"]: line.sums.attempts for line in sums.lines} == told


async def test_a_correction_is_of_its_attempts_session(booked):
    """With its difference, and without being an attempt."""
    await booked.write(lambda: correct("a-1", Amounts(cost_nano_usd=400), AT_MS + 3 * DAY_MS))
    day = msgspec.structs.replace(BY_SESSION, first=date(2026, 11, 21), last=date(2026, 11, 21))
    report = await booked.read(lambda: usage(day))
    assert [({"session": "s1"}, Sums(cost_nano_usd=-999_600))] == [(line.names, line.sums) for line in report.lines]


async def test_that_entries_are_in_the_archive_is_told_where_it_matters(booked):
    """Not of time after it."""

    def archived():
        yield Sql(
            "INSERT INTO entry_archived (writer, entries, chain, last_at_ms) VALUES (?, ?, ?, ?)",
            ("w", 1, b"", AT_MS + 1),
        )

    await booked.write(archived)
    report = await booked.read(lambda: usage(BY_SESSION))
    assert AT_MS // 1000 + 1 == report.archived_until_s
    assert report.archived_until_s == report_told(BY_SESSION, report)["archived_until_s"]
    later = msgspec.structs.replace(BY_SESSION, first=date(2026, 11, 19))
    report = await booked.read(lambda: usage(later))
    assert (0, False) == (report.archived_until_s, "archived_until_s" in report_told(later, report))


def test_more_days_than_can_be_read_are_refused():
    """Whichever way sessions are asked for; what the sums answer may take longer."""
    wall = AT_MS / 1000
    assert asked("session", "31d", "", "", {}, wall).is_of_sessions
    for by, only in (("session", {}), ("user", {"session": "s1"})):
        with pytest.raises(
            ValueError, match=r"from: .* is longer than 31 days, and sessions are told from single entries"
        ):
            asked(by, "32d", "", "", only, wall)
    assert not asked("user", "32d", "", "", {"session": ""}, wall).is_of_sessions

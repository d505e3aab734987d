"""core/books/usage.py: what was used and what it cost, over each database that we have."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import msgspec
import pytest

from turnout.core.books.entry import Entry
from turnout.core.books.ledger import Amounts, append, correct
from turnout.core.books.statements import Sql
from turnout.core.books.usage import NAMES, Span, Sums, Wanted, asked, between, report_told, spans, usage

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
FIRST = Entry(
    "r1-1", "r1", int(NOON.timestamp() * 1000), "k1", "anna", "w1", "t1", "s1", "chat", "gpt", "openai", "gpt-4o", "control",
    "ok", "exact", 100, 10, 5, 3, 2, 1_000,
)  # fmt: skip
DAY_MS = 86_400_000


def entries(*changes: dict) -> list[Entry]:
    """FIRST with each of some changes, as attempts of their own."""
    return [
        msgspec.structs.replace(FIRST, attempt_id=f"r{number}-1", **change) for number, change in enumerate(changes)
    ]


BOOKED = entries(
    {},
    {"user": "bo", "cost_nano_usd": 5_000, "basis": "estimated"},
    {"user": "bo", "key_id": "k2", "cost_nano_usd": None, "outcome": "upstream_fault"},
    {"at_ms": FIRST.at_ms - DAY_MS, "task": "", "cost_nano_usd": 7},
    {"at_ms": FIRST.at_ms - 40 * DAY_MS},
)
WANTED = Wanted(("user",), date(2026, 11, 1), date(2026, 11, 30))


@pytest.fixture
async def booked(database):
    """Books with those five attempts."""
    await database.write(lambda: append("w", BOOKED))
    return database


async def test_sums_by_a_name_the_dearest_first(booked):
    """Every amount is summed; what lies outside of the time is not in it."""
    report = await booked.read(lambda: usage(WANTED))
    assert [{"user": "bo"}, {"user": "anna"}] == [line.names for line in report.lines]
    assert Sums(2, 1, 1, 1, 200, 20, 10, 6, 4, 5_000, 5_000) == report.lines[0].sums
    assert Sums(2, 0, 0, 0, 200, 20, 10, 6, 4, 1_007, 0) == report.lines[1].sums
    assert Sums(4, 1, 1, 1, 400, 40, 20, 12, 8, 6_007, 5_000) == report.total
    assert not report.is_cut


async def test_a_report_as_json(booked):
    """What was asked for, each line with its names and amounts, money also in dollars."""
    report = await booked.read(lambda: usage(WANTED))
    told = report_told(WANTED, report)
    assert ("2026-11-01", "2026-11-30", "UTC", ["user"], False) == tuple(
        told[name] for name in ("from", "to", "zone", "by", "cut")
    )
    assert ("bo", 2, 5_000, "0.000005") == tuple(
        told["lines"][0][name] for name in ("user", "attempts", "cost_nano_usd", "cost_usd")
    )
    assert 4 == told["total"]["attempts"]


async def test_keys_are_told_with_their_names(booked):
    """Where keys are told apart, and have one; a session's too."""

    def named():
        yield Sql(
            "INSERT INTO virtual_key (id, name, person, workspace, tier, narrowed, last4, hash, old_hash, old_until, created_at,"
            " created_by, revoked_at, revision) SELECT ?, ?, '', '', '', '{}', '', ?, NULL, 0, 0, '', NULL, 0",
            ("k2", "shop", b"x" * 32),
        )

    await booked.write(named)
    for by in (("key",), ("key", "session")):
        wanted = msgspec.structs.replace(WANTED, by=by)
        report = await booked.read(lambda wanted=wanted: usage(wanted))
        assert {"k2": "shop"} == report.key_names
        told = report_told(wanted, report)["lines"]
        assert {("k1", ""), ("k2", "shop")} == {(line["key"], line["key_name"]) for line in told}
    assert {} == (await booked.read(lambda: usage(WANTED))).key_names


async def test_days_are_those_of_a_zone(booked):
    """Noon in UTC is the next day in Kiritimati; days with nothing have no line."""
    wanted = Wanted(("day", "task"), date(2026, 11, 19), date(2026, 11, 22), "Pacific/Kiritimati")
    report = await booked.read(lambda: usage(wanted))
    assert [("2026-11-21", ""), ("2026-11-22", "chat")] == [
        (line.names["day"], line.names["task"]) for line in report.lines
    ]


async def test_by_day_alone(booked):
    """A line for each day on which something was asked for."""
    report = await booked.read(lambda: usage(Wanted(("day",), date(2026, 11, 1), date(2026, 11, 30))))
    assert [("2026-11-20", 1), ("2026-11-21", 3)] == [(line.names["day"], line.sums.attempts) for line in report.lines]
    assert 4 == report.total.attempts


async def test_by_every_name_at_once(booked):
    """All names in the order in which they were asked for."""
    wanted = msgspec.structs.replace(WANTED, by=tuple(reversed(NAMES)), only={"user": "anna", "task": "chat"})
    report = await booked.read(lambda: usage(wanted))
    (line,) = report.lines
    assert list(reversed(NAMES)) == list(line.names)
    assert ["control", "gpt-4o", "openai", "gpt", "chat", "t1", "w1", "anna", "k1"] == list(line.names.values())
    assert line.sums == report.total


async def test_only_what_is_named_counts(booked):
    """In the lines and in the total; nothing is nothing."""
    wanted = msgspec.structs.replace(WANTED, only={"key": "k2"})
    report = await booked.read(lambda: usage(wanted))
    assert [1, 1] == [report.total.attempts, len(report.lines)]
    nobody = msgspec.structs.replace(WANTED, only={"key": "k2' OR 1=1 --"})
    report = await booked.read(lambda: usage(nobody))
    assert ((), Sums()) == (report.lines, report.total)


async def test_lines_that_are_too_many_are_cut(booked):
    """And said to be; the total counts them all. Also where the days before have filled the page."""
    report = await booked.read(lambda: usage(WANTED, 1))
    assert ([{"user": "bo"}], 4, True) == ([line.names for line in report.lines], report.total.attempts, report.is_cut)
    by_day = msgspec.structs.replace(WANTED, by=("day", "user"), last=date(2026, 12, 1))
    report = await booked.read(lambda: usage(by_day, 1))
    assert (["2026-11-20"], True) == ([line.names["day"] for line in report.lines], report.is_cut)


async def test_a_correction_counts_where_it_was_made(booked):
    """With its differences, and without being an attempt."""
    await booked.write(lambda: correct("r0-1", Amounts(cost_nano_usd=400), FIRST.at_ms + DAY_MS))
    day = Wanted(("user",), date(2026, 11, 22), date(2026, 11, 22))
    report = await booked.read(lambda: usage(day))
    assert Sums(cost_nano_usd=-600) == report.total


async def test_what_a_provider_was_asked_for(booked):
    """By the vendor's name, in an exact stretch of time."""
    hour = FIRST.at_ms // 1000
    assert {"gpt-4o": 3} == {
        name: sums.attempts for name, sums in (await booked.read(lambda: between(hour, hour + 3600, "openai"))).items()
    }
    assert {} == await booked.read(lambda: between(hour, hour + 3600, "anthropic"))


def test_what_a_person_asks_for():
    """Days included, the last thirty unless said; names in any writing; what is empty is not said."""
    wall = NOON.timestamp()
    assert Wanted(("day",), date(2026, 10, 23), date(2026, 11, 21)) == asked("", "", "", "", {"user": ""}, wall)
    assert Wanted(("user", "vendor_model"), date(2026, 11, 1), date(2026, 11, 2), "Asia/Tokyo", {"key": "k"}) == asked(
        "user, vendor-model,user", "2026-11-01", "2026-11-02", "Asia/Tokyo", {"key": "k"}, wall
    )
    assert date(2026, 11, 15) == asked("", "7d", "", "", {}, wall).first
    assert date(2026, 11, 21) == asked("", "0d", "", "", {}, wall).first
    assert date(2026, 11, 22) == asked("", "1d", "", "Pacific/Kiritimati", {}, wall).first


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("usr", "", "", ""), "by: 'usr' is not known here, did you mean user?"),
        (("colour", "", "", ""), "by: 'colour' is not known here, expected some of day, key"),
        (("", "1.11.2026", "", ""), "from: '1.11.2026' is no day, write such as 2026-11-01"),
        (("", "", "tomorrow", ""), "to: 'tomorrow' is no day"),
        (("", "1969-01-01", "", ""), "from: '1969-01-01' is out of range"),
        (("", "2026-11-22", "", ""), "from: 2026-11-22 is after 2026-11-21"),
        (("", "9999d", "", ""), "is longer than 3,700 days"),
        (("", "", "", "Mars"), "zone: 'Mars' is no time zone known here"),
    ],
)
def test_what_cannot_be_meant_is_named(words, what):
    """With what was."""
    with pytest.raises(ValueError, match=".") as raised:  # noqa: RUF043
        asked(*words, {}, NOON.timestamp())
    assert what in str(raised.value)


def test_days_of_23_and_25_hours():
    """When clocks change; without days, all is one."""
    wanted = Wanted(("day",), date(2026, 10, 24), date(2026, 10, 26), "Europe/Copenhagen")
    assert [24, 25, 24] == [(span.end_s - span.start_s) // 3600 for span in spans(wanted)]
    start = int(datetime(2026, 10, 24, tzinfo=ZoneInfo("Europe/Copenhagen")).timestamp())
    assert [Span("", start, start + 73 * 3600)] == spans(msgspec.structs.replace(wanted, by=("key",)))

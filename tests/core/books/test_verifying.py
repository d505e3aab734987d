"""Whatever is done to the ledger behind its back is found, and the first bad row is named."""

from __future__ import annotations

import pytest

from tests.entries import AT_MS, entry
from turnout.core.books.entry import Charge
from turnout.core.books.ledger import append
from turnout.core.books.statements import Sql
from turnout.core.books.verifying import FAULTS, verify
from turnout.errors import StoreError


def run(*texts):
    for text in texts:
        yield Sql(text)


async def tamper(database, *texts):
    """Do what the triggers forbid, as somebody would who may change the tables themselves."""
    untied = (
        ("DROP TRIGGER entry_is_never_changed", "DROP TRIGGER entry_is_kept"),
        ("ALTER TABLE entry DISABLE TRIGGER ALL",),
    )
    for statements in untied:
        try:
            await database.write(lambda all_of=(*statements, *texts): run(*all_of))
        except StoreError as error:
            problem = error
        else:
            return
    raise problem


@pytest.fixture
async def booked(database):
    """Six entries of two writers, charged to a budget."""
    charges = (Charge("all", 50),)
    await database.write(lambda: append("w1", [entry(f"a-{n}", charges=charges) for n in range(1, 4)]))
    await database.write(lambda: append("w2", [entry(f"b-{n}", charges=charges, user="bo") for n in range(1, 4)]))
    return database


async def test_whole_books_are_whole(booked):
    """It says how many entries there are, what they cost, and where each chain ends."""
    told = await booked.read(verify)
    assert (6, 0, 6_000_000, 2, True, ()) == (
        told.entries,
        told.corrections,
        told.cost_nano_usd,
        told.writers,
        told.is_whole,
        told.faults,
    )
    assert [("w1", 3), ("w2", 3)] == [(head.writer, head.entries) for head in told.heads]
    assert {64} == {len(head.chain) for head in told.heads}


async def test_empty_books_are_whole(database):
    """There is nothing wrong with nothing."""
    assert (await database.read(verify)).is_whole


async def test_it_tells_how_far_it_is(booked):
    """For those who wait."""
    told = []
    await booked.read(lambda: verify(told.append))
    assert [6] == told


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("UPDATE entry SET cost_nano_usd = 1 WHERE attempt_id = 'b-2'", "b-2", "is not what w2 wrote as its number 2"),
        ("UPDATE entry SET session = 'other' WHERE attempt_id = 'a-1'", "a-1", "is not what w1 wrote as its number 1"),
        (
            "UPDATE entry SET chain = (SELECT chain FROM entry_head WHERE writer = 'w2') WHERE attempt_id = 'a-3'",
            "a-3",
            "is not what w1 wrote",
        ),
        ("DELETE FROM entry WHERE attempt_id = 'a-2'", "a-3", "entries 2 to 2 of w1 are missing before this one"),
        ("DELETE FROM entry WHERE attempt_id = 'a-1'", "a-2", "entries 1 to 1 of w1 are missing before this one"),
        ("DELETE FROM entry WHERE attempt_id = 'b-3'", "writer w2", "entries 3 to 3 are missing at the end"),
        ("DELETE FROM entry WHERE writer = 'w2'", "writer w2", "entries 1 to 3 are missing at the end"),
        ("DELETE FROM entry_head WHERE writer = 'w2'", "writer w2", "where its chain ends is not noted"),
        (
            "UPDATE entry_head SET entries = 2 WHERE writer = 'w1'",
            "writer w1",
            "ends at number 3, otherwise than was noted",
        ),
        ("UPDATE entry SET writer = 'w1' WHERE attempt_id = 'b-3'", "b-3", "number 3 of w1 stands after number 3"),
        ("UPDATE rollup SET cost_nano_usd = 5 WHERE user_id = 'bo'", "/bo/", "not those of its entries"),
        ("DELETE FROM rollup WHERE user_id = 'anna'", "/anna/", "are missing"),
        ("DELETE FROM rollup WHERE user_id = 'bo'", "hour of 2026-11-18 11:00 UTC, ", "are missing"),
        ("UPDATE rollup SET hour_s = 900000000000000000", "hour of second 900000000000000000", "not those of its"),
        (
            "UPDATE budget_period SET spent_nano_usd = 5",
            "budget all from 1970-01-01 00:00 UTC",
            "$0.000000005 are spent, but its entries make $",
        ),
        ("DELETE FROM budget_period", "budget all from 1970-01-01 00:00 UTC", "is missing"),
    ],
)
async def test_a_change_is_found_and_named(booked, text, where, what):
    """T100: a row that was changed, taken out or moved, and a sum that is none."""
    await tamper(booked, text)
    told = await booked.read(verify)
    assert not told.is_whole
    assert where in told.faults[0].where
    assert what in told.faults[0].what


async def test_two_rows_that_changed_places_are_found(booked):
    """Even though each is what was written once."""
    await tamper(
        booked,
        "UPDATE entry SET number = -2 WHERE attempt_id = 'a-2'",
        "UPDATE entry SET number = 2 WHERE attempt_id = 'a-3'",
        "UPDATE entry SET number = 3 WHERE attempt_id = 'a-2'",
    )
    told = await booked.read(verify)
    assert "a-2" == told.faults[0].where


async def test_a_writer_that_is_gone_altogether_is_missed_by_the_sums(booked):
    """Who takes its end away too has forgotten the hours, or the budgets."""
    await tamper(booked, "DELETE FROM entry WHERE writer = 'w2'", "DELETE FROM entry_head WHERE writer = 'w2'")
    told = await booked.read(verify)
    assert ["/bo/" in told.faults[0].where, True] == [True, "budget all" in told.faults[1].where]


async def test_an_entry_from_nowhere_is_found(booked):
    """Put in beside the chain."""
    await tamper(
        booked,
        "INSERT INTO entry (attempt_id, writer, number, chain, request_id, at_ms, key_id, user_id, workspace, team, session,"
        " task, model, provider, vendor_model, arm, outcome, basis, input_tokens, output_tokens, cache_read_input_tokens,"
        " cache_write_input_tokens, reasoning_output_tokens, cost_nano_usd, charges, corrects)"
        " SELECT 'x-1', writer, 4, chain, request_id, at_ms, key_id, user_id, workspace, team, session, task, model,"
        " provider, vendor_model, arm, outcome, basis, 0, 0, 0, 0, 0, 0, charges, 'nobody-1' FROM entry"
        " WHERE attempt_id = 'a-3'",
    )
    told = await booked.read(verify)
    assert "x-1" == told.faults[0].where
    assert "corrects nobody-1, which is not in the ledger" in [fault.what for fault in told.faults]


async def test_only_the_first_faults_are_told(database):
    """All are counted."""
    await database.write(lambda: append("w1", [entry(f"a-{n}") for n in range(100)]))
    await tamper(database, "UPDATE entry SET session = 'x'")
    told = await database.read(verify)
    assert (100, FAULTS, "a-0") == (told.fault_count, len(told.faults), told.faults[0].where)


async def test_sums_from_before_the_archive_are_not_made_again(booked):
    """But those after it are: an hour and a budget's period that began later."""
    later = entry("c-1", at_ms=AT_MS + 7_200_000, charges=(Charge("all", AT_MS // 1000 + 3600),))
    await booked.write(lambda: append("w1", [later]))
    mark = (
        "INSERT INTO entry_archived (writer, entries, chain, last_at_ms)"
        " SELECT writer, number, chain, at_ms FROM entry WHERE attempt_id = 'a-2'"
    )
    await booked.write(lambda: run(mark, "DELETE FROM entry WHERE writer = 'w1' AND number <= 2"))
    assert (await booked.read(verify)).is_whole
    await booked.write(lambda: run("UPDATE rollup SET attempts = 9 WHERE hour_s > 1795002000"))
    told = await booked.read(verify)
    assert ["the sums of this hour are not those of its entries"] == [fault.what for fault in told.faults]

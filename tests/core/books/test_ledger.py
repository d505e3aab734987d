"""The ledger takes each attempt once, in whatever order and however often it comes, with its sums and its budgets."""

from __future__ import annotations

import hashlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.entries import AT_MS, entry, intent
from turnout.core.books.entry import Charge
from turnout.core.books.ledger import (
    CORRECTING,
    Amounts,
    Wanted,
    append,
    correct,
    genesis,
    latest,
    link,
    orphaned,
    storable,
)
from turnout.core.books.statements import Sql
from turnout.core.books.verifying import verify
from turnout.errors import StoreError


def rows(text, *values):
    found = yield Sql(text, values)
    return [tuple(row) for row in found]


async def read(database, text, *values):
    return await database.read(lambda: rows(text, *values))


async def put(database, *entries, writer="w1"):
    return await database.write(lambda: append(writer, entries))


async def listed(database, **wanted):
    return await database.read(lambda: latest(Wanted(**wanted), 100))


# ── adding ──


async def test_an_entry_is_read_as_it_was_written(database):
    """With its charges, and without a price where it has none."""
    ours = entry(cost_nano_usd=None, charges=(Charge("user:anna", 5), Charge("all", 7)), session="æ 'quoted'")
    assert 1 == await put(database, ours)
    assert [ours] == await listed(database)


async def test_nothing_is_added_by_nothing(database):
    """An empty batch is no transaction's work."""
    assert 0 == await put(database)
    assert [] == await read(database, "SELECT * FROM entry_head")


async def test_what_is_there_already_is_left_out(database):
    """A batch that comes again, in part, in another order, or with one of its entries twice."""
    first, second, third = entry("a-1"), entry("b-1"), entry("c-1")
    assert 2 == await put(database, first, second, first)
    assert 1 == await put(database, third, second, first)
    assert 0 == await put(database, second, third)
    assert {"a-1", "b-1", "c-1"} == {one.attempt_id for one in await listed(database)}
    assert (await database.read(verify)).is_whole


async def test_an_attempt_is_there_once_whoever_says_it(database):
    """Another writer that has the same attempt adds nothing, and its chain does not know it."""
    await put(database, entry("a-1"))
    assert 1 == await put(database, entry("a-1", cost_nano_usd=5), entry("b-1"), writer="w2")
    assert [(1_000_000,)] == await read(database, "SELECT cost_nano_usd FROM entry WHERE attempt_id = 'a-1'")
    assert [("w1", 1), ("w2", 1)] == await read(database, "SELECT writer, entries FROM entry_head ORDER BY writer")


async def test_each_row_is_chained_to_the_one_before_as_documented(database):
    """SHA-256 of the chain before, the number in 8 bytes, and the MessagePack array of what the row says."""
    await put(database, entry("a-1"))
    await put(database, entry("b-1"))
    (first, second) = await read(database, "SELECT chain, number FROM entry ORDER BY seq")
    said = [*msgspec.structs.astuple(entry("b-1"))]
    said[-2] = "[]"
    assert (1, 2) == (first[1], second[1])
    packed = msgspec.msgpack.encode(said)
    assert hashlib.sha256(first[0] + (2).to_bytes(8, "big") + packed).digest() == second[0]
    assert link(genesis("w1"), 1, ("x",)) != link(genesis("w2"), 1, ("x",))


async def test_the_hours_sums_are_those_of_their_entries(database):
    """One row for an hour and a set of names; failures, estimates and what is unpriced are counted."""
    await put(
        database,
        entry("a-1"),
        entry("b-1", outcome="upstream_fault", basis="estimated", cost_nano_usd=30),
        entry("c-1", cost_nano_usd=None),
        entry("d-1", at_ms=AT_MS + 3_600_000),
        entry("e-1", user="bo"),
    )
    await put(database, entry("f-1"))
    hour = AT_MS // 3_600_000 * 3600
    sums = await read(
        database,
        "SELECT hour_s, user_id, attempts, failed, inexact, unpriced, input_tokens, output_tokens,"
        " cache_read_input_tokens, cache_write_input_tokens, reasoning_output_tokens, cost_nano_usd, inexact_nano_usd"
        " FROM rollup ORDER BY hour_s, user_id",
    )
    assert [
        (hour, "anna", 4, 1, 1, 1, 400, 80, 40, 20, 12, 2_000_030, 30),
        (hour, "bo", 1, 0, 0, 0, 100, 20, 10, 5, 3, 1_000_000, 0),
        (hour + 3600, "anna", 1, 0, 0, 0, 100, 20, 10, 5, 3, 1_000_000, 0),
    ] == sums


async def test_an_entry_is_booked_to_its_budgets_once(database):
    """In the transaction that adds it, and not again when it comes again."""
    charged = entry("a-1", charges=(Charge("user:anna", 100),))
    await put(database, charged)
    await put(database, charged, entry("b-1", charges=(Charge("user:anna", 100),), cost_nano_usd=7))
    assert [(1_000_007,)] == await read(database, "SELECT spent_nano_usd FROM budget_period WHERE budget = 'user:anna'")


async def test_texts_that_no_database_takes_are_made_to_fit(database):
    """NUL and half surrogates, in names and in charges; and the chain is over what was stored."""
    await put(
        database, entry("a-1", session="a\0b", user="\ud800", charges=(Charge("user:\ud800", 1),), cost_nano_usd=3)
    )
    (found,) = await listed(database)
    assert ("a\ufffdb", "\ufffd", "user:\ufffd") == (found.session, found.user, found.charges[0].budget)
    assert (await database.read(verify)).is_whole


@given(st.text(), st.text())
def test_what_is_storable_stays_the_same_object(session, user):
    """And making it so is done once."""
    once = storable(entry(session=session, user=user))
    assert once is storable(once)


def test_an_orphan_costs_what_was_reserved():
    """As an estimate, with the tokens that it would have been."""
    ours = intent("a-1", charges=(Charge("all", 3),))
    told = orphaned(ours)
    assert ("orphaned", "estimated", 2_000_000, 100, 50) == (
        told.outcome,
        told.basis,
        told.cost_nano_usd,
        told.input_tokens,
        told.output_tokens,
    )
    assert (ours.attempt_id, ours.charges, ours.at_ms) == (told.attempt_id, told.charges, told.at_ms)


# ── the tables ──


@pytest.mark.parametrize(
    "text",
    [
        "UPDATE entry SET cost_nano_usd = 0",
        "UPDATE entry SET session = 'x' WHERE attempt_id = 'a-1'",
        "DELETE FROM entry",
        "DELETE FROM entry WHERE number = 2",
    ],
)
async def test_no_entry_is_changed_or_deleted(database, text):
    """T32: the database itself refuses."""
    await put(database, entry("a-1"), entry("b-1"))
    with pytest.raises(StoreError, match="append-only"):
        await database.write(lambda: rows(text))
    assert 2 == len(await listed(database))


async def test_what_is_archived_may_be_deleted(database):
    """Up to its writer's mark and no further; the rest is checked from there."""
    await put(database, entry("a-1"), entry("b-1"), entry("c-1"))
    mark = (
        "INSERT INTO entry_archived (writer, entries, chain, last_at_ms)"
        " SELECT writer, number, chain, at_ms FROM entry WHERE number = 2"
    )
    await database.write(lambda: rows(mark))
    await database.write(lambda: rows("DELETE FROM entry WHERE number <= 2"))
    with pytest.raises(StoreError, match="append-only"):
        await database.write(lambda: rows("DELETE FROM entry"))
    told = await database.read(verify)
    assert (1, 0, AT_MS) == (told.entries, told.fault_count, told.archived_until_ms)


# ── reading ──


async def test_entries_are_found_by_what_is_said_of_them(database):
    """Newest first; a time is half open."""
    await put(
        database, entry("a-1"), entry("b-1", at_ms=AT_MS + 1, user="bo"), entry("b-2", at_ms=AT_MS + 2, user="bo")
    )
    assert ["b-2", "b-1", "a-1"] == [one.attempt_id for one in await listed(database)]
    assert ["b-2", "b-1"] == [one.attempt_id for one in await listed(database, user="bo")]
    assert ["a-1"] == [one.attempt_id for one in await listed(database, request_id="a")]
    assert ["b-1"] == [one.attempt_id for one in await listed(database, since_ms=AT_MS + 1, until_ms=AT_MS + 2)]
    assert [] == await listed(database, outcome="upstream_fault")


# ── corrections ──


async def test_a_correction_is_an_entry_of_its_own(database):
    """It holds the difference, names what it corrects, and is booked to the same budget's period."""
    await put(database, entry("a-1", charges=(Charge("all", 1),)))
    made = await database.write(lambda: correct("a-1", Amounts(cost_nano_usd=400_000, output_tokens=25), AT_MS + 9))
    assert made is not None
    assert (-600_000, 5, 0, "a-1", "corrected") == (
        made.cost_nano_usd,
        made.output_tokens,
        made.input_tokens,
        made.corrects,
        made.outcome,
    )
    again = await database.write(lambda: correct("a-1", Amounts(cost_nano_usd=500_000), AT_MS + 10))
    assert again is not None
    assert ("a-1~2", 100_000) == (again.attempt_id, again.cost_nano_usd)
    assert [(500_000,)] == await read(database, "SELECT spent_nano_usd FROM budget_period WHERE budget = 'all'")
    assert [(1, 500_000)] == await read(database, "SELECT attempts, cost_nano_usd FROM rollup")
    assert [(2,)] == await read(database, "SELECT entries FROM entry_head WHERE writer = ?", CORRECTING)
    told = await database.read(verify)
    assert (3, 2, 500_000, True) == (told.entries, told.corrections, told.cost_nano_usd, told.is_whole)


async def test_what_is_right_already_is_not_corrected(database):
    """Nor is what is not there, or a correction itself."""
    await put(database, entry("a-1"))
    same = await database.write(lambda: correct("a-1", Amounts(cost_nano_usd=1_000_000), AT_MS))
    assert same is not None
    assert 0 == same.cost_nano_usd
    assert None is await database.write(lambda: correct("z-1", Amounts(cost_nano_usd=1), AT_MS))
    assert 1 == len(await listed(database))


async def test_what_was_unpriced_is_given_a_price(database):
    """By a correction of the whole."""
    await put(database, entry("a-1", cost_nano_usd=None))
    made = await database.write(lambda: correct("a-1", Amounts(cost_nano_usd=9), AT_MS))
    assert made is not None
    assert 9 == made.cost_nano_usd
    assert (await database.read(verify)).cost_nano_usd == 9

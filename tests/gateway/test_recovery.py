"""What a dead process left is booked under its name, once; what a living one has is left alone."""

from __future__ import annotations

import os

from tests.entries import entry, intent
from tests.gateway.ledgers import booked, books, entries
from turnout.core.books.entry import Charge
from turnout.core.books.ledger import append
from turnout.core.books.statements import Sql
from turnout.gateway.disk import claim
from turnout.gateway.journal import Journal, lock_path, segments_of, writers_in
from turnout.gateway.recovery import Recovery


def left(folder, *records, writer="dead", segment_bytes=4_000_000):
    """A journal as a kill leaves it."""
    journal = Journal(folder, writer, segment_bytes=segment_bytes)
    journal.open()
    for record in records:
        journal.write(record)
    journal.close()


def put(text, *values):
    return [tuple(row) for row in (yield Sql(text, values))]


async def test_entries_are_booked_and_orphans_estimated(tmp_path):
    """By their writer's name; then nothing of it is left."""
    left(tmp_path, intent("a-1"), intent("b-1"), entry("a-1"), intent("c-1", reserved_nano_usd=None), segment_bytes=400)
    async with books(tmp_path) as database:
        recovery = Recovery(tmp_path, database, "me")
        await recovery.look()
        assert (3, 2) == (recovery.entries, recovery.orphans)
        assert ["a-1", "b-1", "c-1"] == sorted(await booked(database))
        told = {one.attempt_id: one for one in await entries(database)}
        assert ("orphaned", "estimated", 2_000_000) == (
            told["b-1"].outcome,
            told["b-1"].basis,
            told["b-1"].cost_nano_usd,
        )
        assert None is told["c-1"].cost_nano_usd
        assert {"dead"} == {head.writer for head in (await database.read(_verified)).heads}
        assert [] == writers_in(tmp_path)


def _verified():
    from turnout.core.books.verifying import verify

    return (yield from verify())


async def test_one_that_lives_is_left_alone(tmp_path):
    """And our own."""
    alive = Journal(tmp_path, "alive")
    alive.open()
    alive.write(entry("a-1"))
    left(tmp_path, entry("b-1"), writer="me")
    async with books(tmp_path) as database:
        await Recovery(tmp_path, database, "me").look()
        assert [] == await booked(database)
    assert ["alive", "me"] == writers_in(tmp_path)
    alive.close()


async def test_it_can_be_done_again_after_a_kill_in_its_midst(tmp_path):
    """Whatever of it was in the books by then."""
    left(tmp_path, entry("a-1"), intent("b-1"), entry("c-1"))
    async with books(tmp_path) as database:
        await database.write(lambda: append("dead", [entry("a-1"), entry("c-1")]))
        recovery = Recovery(tmp_path, database, "me")
        await recovery.look()
        assert (1, 1) == (recovery.entries, recovery.orphans)
        assert ["a-1", "b-1", "c-1"] == sorted(await booked(database))


async def test_an_attempt_whose_entry_is_in_the_books_is_no_orphan(tmp_path):
    """The segment that held the entry was removed with that; the one that held the intent was not yet."""
    left(tmp_path, intent("a-1"))
    async with books(tmp_path) as database:
        await database.write(lambda: append("dead", [entry("a-1", cost_nano_usd=5)]))
        await Recovery(tmp_path, database, "me").look()
        assert [5] == [one.cost_nano_usd for one in await entries(database)]


async def test_what_it_held_of_budgets_is_given_back(tmp_path):
    """After its entries are booked to them."""
    charges = (Charge("all", 0),)
    left(tmp_path, intent("a-1", charges=charges))
    async with books(tmp_path) as database:
        lease = "INSERT INTO lease (writer, budget, starts_at, amount_nano_usd, expires_at) VALUES (?, 'all', 0, 9000000, 99)"
        for writer in ("dead", "alive"):
            await database.write(lambda writer=writer: put(lease, writer))
        await Recovery(tmp_path, database, "me").look()
        assert [("alive", 9_000_000)] == await database.read(lambda: put("SELECT writer, amount_nano_usd FROM lease"))
        assert [(2_000_000,)] == await database.read(lambda: put("SELECT spent_nano_usd FROM budget_period"))


async def test_many_records_are_booked_in_batches(tmp_path):
    """More than one transaction takes."""
    left(tmp_path, *[entry(f"a-{n}") for n in range(1_300)], *[intent(f"b-{n}") for n in range(700)])
    async with books(tmp_path) as database:
        await Recovery(tmp_path, database, "me").look()
        assert 2_000 == len(await booked(database))
        assert 4 <= database.asked <= 7


async def test_what_ends_torn_is_kept_beside(tmp_path, caplog):
    """With all that comes after; what comes before is booked."""
    left(tmp_path, *[entry(f"a-{n}") for n in range(10)], segment_bytes=800)
    first, second, *_ = (path for _, path in segments_of(tmp_path, "dead"))
    second.write_bytes(second.read_bytes()[:-3])
    async with books(tmp_path) as database:
        await Recovery(tmp_path, database, "me").look()
        told = await booked(database)
    assert told == [f"a-{n}" for n in range(len(told))]
    assert 0 < len(told) < 10
    assert not first.exists()
    assert second.with_name(f"{second.name}.torn").exists()
    assert [] == writers_in(tmp_path)
    assert "ends in what was not written whole" in caplog.text


async def test_what_cannot_be_booked_now_is_said_once_and_tried_again(tmp_path, caplog):
    """The books are away, or another version wrote it; others are booked meanwhile."""
    left(tmp_path, entry("a-1"), writer="a")
    left(tmp_path, entry("b-1"), writer="b")
    path = segments_of(tmp_path, "a")[0][1]
    body = path.read_bytes()
    path.write_bytes(body.replace(b"h\x94\x01", b"h\x94\x02"))
    _seal(path)
    async with books(tmp_path) as database:
        recovery = Recovery(tmp_path, database, "me")
        await recovery.look()
        await recovery.look()
        assert ["b-1"] == await booked(database)
        assert 1 == caplog.text.count("another version of Turnout")
        path.write_bytes(body)
        database.is_away = True
        await recovery.look()
        await recovery.look()
        assert 1 == caplog.text.count("the books are away")
        assert ["a"] == writers_in(tmp_path)
        database.is_away = False
        await recovery.look()
        assert ["a-1", "b-1"] == sorted(await booked(database))


def _seal(path):
    """Make the first frame's checksum right again."""
    from zlib import crc32

    body = path.read_bytes()
    size = int.from_bytes(body[:4], "little")
    path.write_bytes(body[:4] + crc32(body[8 : 8 + size]).to_bytes(4, "little") + body[8:])


async def test_two_that_look_at_once_book_it_once(tmp_path):
    """The lock decides; and it is free again after a failure."""
    left(tmp_path, entry("a-1"))
    lock = claim(lock_path(tmp_path, "dead"))
    assert lock is not None
    async with books(tmp_path) as database:
        recovery = Recovery(tmp_path, database, "me")
        await recovery.look()
        assert [] == await booked(database)
        os.close(lock)
        await recovery.look()
        assert ["a-1"] == await booked(database)


async def test_a_lock_without_a_journal_goes(tmp_path):
    """Left by a process that was killed while it began."""
    lock_path(tmp_path, "dead").touch()
    async with books(tmp_path) as database:
        await Recovery(tmp_path, database, "me").look()
        assert [] == writers_in(tmp_path)
        await Recovery(tmp_path / "none", database, "me").look()

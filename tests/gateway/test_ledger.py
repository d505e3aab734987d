"""What is settled comes into the books once, whatever the disk and the books do meanwhile."""

from __future__ import annotations

import asyncio
import logging

import pytest

from tests.entries import entry, intent
from tests.gateway.disks import FailingDisk
from tests.gateway.ledgers import booked, books, entries, ledger, until
from turnout.core.rules import LedgerRule
from turnout.errors import LedgerUnavailable, StoreError
from turnout.gateway import ledger as module
from turnout.gateway.clock import SystemClock
from turnout.gateway.journal import segments_of, writers_in
from turnout.gateway.ledger import Ledger

CONTINUE = LedgerRule(when_full="continue")


def attempt(one, name, **fields):
    """Make an attempt, as the engine does."""
    one.intend(intent(name))
    one.settle(entry(name, **fields))


async def test_what_was_settled_is_in_the_books_soon(tmp_path):
    """In its order; and nothing of it stays in the journal once it has ended."""
    async with books(tmp_path) as database:
        async with ledger(tmp_path, database) as one:
            for n in range(5):
                attempt(one, f"a-{n}")
            await until(lambda: one.stats.shipped == 5)
            assert (0, 0, False, False) == (
                one.stats.waiting,
                one.stats.open,
                one.stats.is_degraded,
                one.stats.is_behind,
            )
        assert [f"a-{n}" for n in range(5)] == await booked(database)
        assert [] == writers_in(tmp_path / "journal")


async def test_a_stop_takes_all_that_waits_with_it(tmp_path):
    """However much that is."""
    async with books(tmp_path) as database:
        async with ledger(tmp_path, database) as one:
            for n in range(1_200):
                attempt(one, f"a-{n}")
        assert 1_200 == len(await booked(database))


async def test_one_that_was_not_begun_stops_too(tmp_path):
    """And one that is stopped twice."""
    one = Ledger(tmp_path, None, "w1", SystemClock(), LedgerRule())  # type: ignore[arg-type]
    await one.stop()
    await one.stop()


async def test_a_journal_that_cannot_be_begun_is_said(tmp_path):
    """With what to look at."""
    (tmp_path / "journal").touch()
    one = Ledger(tmp_path, None, "w1", SystemClock(), LedgerRule())  # type: ignore[arg-type]
    with pytest.raises(StoreError, match="The ledger's journal is written there"):
        await one.start()
    await one.stop()


async def test_an_entry_without_its_intent_is_booked_as_well(tmp_path):
    """It happened, however it came to be here."""
    async with books(tmp_path) as database:
        async with ledger(tmp_path, database) as one:
            one.settle(entry("a-1"))
            await one.flush()
        assert ["a-1"] == await booked(database)


# ── durability ──


async def test_strict_waits_for_the_disk(tmp_path):
    """Before a vendor is asked; `group` does not."""
    disk = FailingDisk()
    async with books(tmp_path) as database, ledger(tmp_path, database, disk=disk) as one:
        one.intend(intent("a-1"))
        await one.durable()
        one.install(LedgerRule(durability="strict"))
        await one.durable()
        assert one._journal.synced >= one._journal.segments[1].length
        before = disk.calls.count("sync")
        await asyncio.gather(*[_strictly(one, f"b-{n}") for n in range(20)])
        assert disk.calls.count("sync") - before < 20
        for name in ("a-1", *[f"b-{n}" for n in range(20)]):
            one.settle(entry(name))


async def _strictly(one, name):
    one.intend(intent(name))
    await one.durable()


async def test_strict_refuses_where_the_disk_does(tmp_path):
    """And goes on once it works: what was lost in between is written again."""
    disk = FailingDisk()
    rule = LedgerRule(durability="strict")
    async with books(tmp_path) as database:
        async with ledger(tmp_path, database, rule=rule, disk=disk) as one:
            database.is_away = True
            attempt(one, "a-1")
            one.intend(intent("b-1"))
            await one.durable()
            disk.fails = {"sync"}
            one.intend(intent("c-1"))
            with pytest.raises(LedgerUnavailable, match="no vendor was asked"):
                await one.durable()
            one.settle(entry("c-1", cost_nano_usd=0))
            with pytest.raises(LedgerUnavailable, match="no room"):
                one.intend(intent("d-1"))
            assert one.stats.is_degraded
            disk.fails = set()
            await until(lambda: not one.stats.is_degraded)
            again = [
                record.attempt_id for path in segments_of(tmp_path / "journal", "w1")[1:] for record in _read(path)
            ]
            assert {"a-1", "b-1", "c-1"} == set(again)
            await _strictly(one, "e-1")
            database.is_away = False
            for name in ("b-1", "e-1"):
                one.settle(entry(name))
        assert ["a-1", "b-1", "c-1", "e-1"] == sorted(await booked(database))


def _read(numbered):
    from turnout.gateway.journal import read

    return read(numbered[1]).records


async def test_strict_goes_on_in_memory_where_that_is_wanted(tmp_path):
    """`continue` says so."""
    disk = FailingDisk()
    rule = LedgerRule(durability="strict", when_full="continue")
    async with books(tmp_path) as database:
        async with ledger(tmp_path, database, rule=rule, disk=disk) as one:
            disk.fails = {"sync", "create"}
            await _strictly(one, "a-1")
            await _strictly(one, "b-1")
            assert one.stats.is_degraded
            one.settle(entry("a-1"))
            one.settle(entry("b-1"))
            await one.flush()
        assert ["a-1", "b-1"] == await booked(database)


# ── a full disk ──


async def test_no_vendor_is_asked_while_the_disk_is_full(tmp_path, caplog):
    """What is under way is booked all the same; and as soon as there is room, it goes on."""
    disk = FailingDisk()
    async with books(tmp_path) as database:
        async with ledger(tmp_path, database, disk=disk) as one:
            one.intend(intent("a-1"))
            disk.taken = 10
            with pytest.raises(LedgerUnavailable) as refused:
                one.intend(intent("b-1"))
            assert (503, "ledger_unavailable", 5.0) == (
                refused.value.status,
                refused.value.code,
                refused.value.retry_after_s,
            )
            one.settle(entry("a-1"))
            await one.flush()
            assert ["a-1"] == await booked(database)
            disk.taken = None
            await until(lambda: not one.stats.is_degraded)
            attempt(one, "c-1")
        assert ["a-1", "c-1"] == await booked(database)
    said = [record.getMessage() for record in caplog.records if record.name == "turnout.ledger"]
    assert ["takes nothing" in said[0], "takes entries again" in said[1], 2] == [True, True, len(said)]


async def test_it_goes_on_in_memory_up_to_a_bound(tmp_path):
    """With `continue`; the bound counts what is under way and what waits for the books."""
    disk = FailingDisk()
    async with books(tmp_path) as database:
        async with ledger(tmp_path, database, rule=CONTINUE, disk=disk) as one:
            database.is_away = True
            disk.taken = 0
            for n in range(module.QUEUE):
                one.intend(intent(f"a-{n}"))
                if n % 2:
                    one.settle(entry(f"a-{n}"))
            with pytest.raises(LedgerUnavailable):
                one.intend(intent("b-1"))
            assert [] == [path for _, path in segments_of(tmp_path / "journal", "w1") if path.stat().st_size > 100]
            disk.taken = None
            await until(lambda: not one.stats.is_degraded)
            assert module.QUEUE == sum(len(_read(path)) for path in segments_of(tmp_path / "journal", "w1"))
            database.is_away = False
            for n in range(0, module.QUEUE, 2):
                one.settle(entry(f"a-{n}"))
        assert module.QUEUE == len(await booked(database))


async def test_a_journal_that_is_too_large_counts_as_full(tmp_path, caplog):
    """It says so at half of it; and once the books have taken what waits, it goes on."""
    async with books(tmp_path) as database:
        async with ledger(tmp_path, database, journal_bytes=60_000) as one:
            one._journal._segment_bytes = 5_000
            database.is_away = True
            count = 0
            with pytest.raises(LedgerUnavailable):
                while True:
                    attempt(one, f"a-{count}")
                    count += 1
            assert one.stats.is_degraded
            assert 60_000 <= one.stats.journal_bytes < 61_000
            await until(lambda: one.stats.is_behind)
            size = one.stats.journal_bytes
            one.settle(entry("unknown-1"))
            assert size == one.stats.journal_bytes
            database.is_away = False
            await until(lambda: not one.stats.is_degraded)
            attempt(one, "z-1")
        assert count + 2 == len(await booked(database))
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert 1 == sum("half of what it may" in one for one in said)


# ── books that are away ──


async def test_the_journal_keeps_what_the_books_do_not_take(tmp_path, caplog):
    """It is tried again and again, said once, and taken in order when they are back."""
    async with books(tmp_path) as database:
        async with ledger(tmp_path, database) as one:
            database.is_away = True
            for n in range(30):
                attempt(one, f"a-{n}")
            await until(lambda: one.stats.is_behind and database.asked > 2)
            assert 30 == one.stats.waiting
            database.is_away = False
            await until(lambda: one.stats.shipped == 30)
            assert not one.stats.is_behind
        assert [f"a-{n}" for n in range(30)] == await booked(database)
    said = [record.getMessage() for record in caplog.records if record.name == "turnout.ledger"]
    assert ["take no entries" in said[0], "take entries again" in said[1], 2] == [True, True, len(said)]


async def test_books_that_are_gone_let_no_vendor_be_asked(tmp_path):
    """A file that was deleted or replaced is no outage that ends by itself; once the books are back, it goes on."""
    async with books(tmp_path) as database:
        async with ledger(tmp_path, database) as one:
            database.is_away, database.error = True, LedgerUnavailable
            attempt(one, "a-1")
            await until(lambda: one.stats.is_behind)
            with pytest.raises(LedgerUnavailable, match="The books are gone"):
                one.intend(intent("b-1"))
            database.is_away = False
            await until(lambda: not one.stats.is_behind)
            attempt(one, "b-1")
        assert ["a-1", "b-1"] == await booked(database)


async def test_what_was_taken_though_the_answer_was_lost_is_there_once(tmp_path):
    """T30: the batch comes again."""
    async with books(tmp_path) as database:
        async with ledger(tmp_path, database) as one:
            database.is_lost_after = True
            for n in range(10):
                attempt(one, f"a-{n}")
            await until(lambda: database.asked > 1)
            attempt(one, "b-1")
            database.is_lost_after = False
        assert [*(f"a-{n}" for n in range(10)), "b-1"] == await booked(database)


async def test_memory_holds_a_bound_and_the_journal_the_rest(tmp_path):
    """Which is read from there when the books are back, while more is written."""
    count = module.QUEUE + 3_000
    async with books(tmp_path) as database:
        async with ledger(tmp_path, database) as one:
            one._journal._segment_bytes = 300_000
            database.is_away = True
            for n in range(count):
                attempt(one, f"a-{n}")
            assert (module.QUEUE, True) == (one.stats.waiting, one.stats.is_long)
            one.intend(intent("open-1"))
            database.is_away = False
            while one.stats.is_long:
                attempt(one, f"a-{count}")
                count += 1
                await one._ship()
            attempt(one, "z-1")
            assert 1 == one.stats.waiting
            one.settle(entry("open-1"))
        told = await booked(database)
        assert (count + 2, count + 2) == (len(told), len(set(told)))


async def test_a_long_attempt_keeps_its_segment(tmp_path):
    """Until it has its entry; the others go."""
    async with books(tmp_path) as database:
        async with ledger(tmp_path, database) as one:
            one._journal._segment_bytes = 2_000
            one.intend(intent("long-1"))
            for n in range(100):
                attempt(one, f"a-{n}")
            await until(lambda: len(one._journal.segments) == 2)
            assert 1 == min(one._journal.segments)
            one.settle(entry("long-1"))
            await until(lambda: 1 not in one._journal.segments)
        assert 101 == len(await booked(database))


async def test_a_segment_that_cannot_be_removed_is_removed_later(tmp_path, caplog):
    """It is said, and nothing else happens."""
    disk = FailingDisk()
    async with books(tmp_path) as database:
        async with ledger(tmp_path, database, disk=disk) as one:
            one._journal._segment_bytes = 2_000
            disk.fails = {"remove"}
            for n in range(50):
                attempt(one, f"a-{n}")
            await until(lambda: "cannot be removed" in caplog.text)
            disk.fails = set()
            await until(lambda: len(one._journal.segments) == 1)
        assert 50 == len(await booked(database))


async def test_what_the_books_do_not_take_before_a_stop_is_left_for_the_next_start(tmp_path):
    """Nothing is thrown away."""
    async with books(tmp_path) as database:
        async with ledger(tmp_path, database) as one:
            database.is_away = True
            attempt(one, "a-1")
            one.intend(intent("b-1"))
        assert ["w1"] == writers_in(tmp_path / "journal")
        database.is_away = False
        async with ledger(tmp_path, database, "w2") as two:
            await until(lambda: two.stats.shipped == 2)
            assert 1 == two.stats.orphans
        assert ["a-1", "b-1"] == sorted(await booked(database))
        assert {"a-1": "ok", "b-1": "orphaned"} == {one.attempt_id: one.outcome for one in await entries(database)}
        assert [] == writers_in(tmp_path / "journal")

"""Gives tests a ledger over real books in SQLite, a database that is away when told, and a clock that runs fast."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager

from turnout.core.books.ledger import Wanted, latest
from turnout.core.books.verifying import verify
from turnout.core.rules import LedgerRule
from turnout.errors import StoreError
from turnout.gateway.clock import SystemClock
from turnout.gateway.ledger import Ledger
from turnout.stores.sqlite_books import SqliteBooks

PATIENCE_S = 20.0


class FastClock(SystemClock):
    """Every look at it is ten seconds later, so that nothing that is to be tried again later is waited for."""

    def __init__(self) -> None:
        super().__init__()
        self._looks = 0
        self.now = self._later

    def _later(self):
        self._looks += 1
        return self._looks * 10.0


class Away:
    """The books, which are away while `is_away`, and each of whose answers is late by `late_s`. asked: how often."""

    def __init__(self, database):
        self._database = database
        self.is_away = False
        self.is_lost_after = False
        self.error = StoreError
        self.late_s = 0.0
        self.asked = 0

    async def write(self, steps):
        self.asked += 1
        await asyncio.sleep(self.late_s)
        if self.is_away:
            raise self.error("the books are away")
        done = await self._database.write(steps)
        if self.is_lost_after:
            raise StoreError("the answer was lost, though it was done")
        return done

    async def read(self, steps):
        return await self._database.read(steps)


@asynccontextmanager
async def books(home):
    """The books of a home, which may be away."""
    database = SqliteBooks(home / "books.sqlite3")
    await database.open()
    try:
        yield Away(database)
    finally:
        await database.close()


@asynccontextmanager
async def ledger(home, database, writer="w1", rule=None, **options):
    """A ledger that runs."""
    made = Ledger(home, database, writer, FastClock(), rule or LedgerRule(), **options)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


async def until(holds):
    """Wait until `holds()`, looking fifty times a second."""
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end, "it never came to be"
        await asyncio.sleep(0.02)


async def booked(database):
    """The ids of all attempts in the books, as they were added; and whether the books are whole."""
    told = await database.read(verify)
    assert told.is_whole, told.faults
    return [one.attempt_id for one in reversed(await database.read(lambda: latest(Wanted(), 1_000_000)))]


async def entries(database):
    """All entries, oldest first."""
    return list(reversed(await database.read(lambda: latest(Wanted(), 1_000_000))))


def die(one: Ledger) -> None:
    """Leave a ledger as a kill does: nothing more is written, and its lock is free."""
    one._journal.close()

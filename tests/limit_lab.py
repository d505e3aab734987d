"""Several gateways' limits on one database, in virtual time: for tests that watch minutes go by in seconds.

The database is SQLite in memory, in the loop itself: a transaction takes DELAY_S of virtual time and nothing of another comes
between its statements. It can be told to be slow, or gone.
"""

from __future__ import annotations

import asyncio
import sqlite3
from bisect import bisect_left
from pathlib import Path

import turnout.stores
from turnout.core.books.loading import clean, insert, names
from turnout.core.books.statements import Load
from turnout.core.catalog import Server, Snapshot
from turnout.core.rules import Limit, Rates
from turnout.errors import RateLimited, StoreError
from turnout.gateway.limiter import Held, Limiter
from turnout.gateway.virtual_time import VirtualClock

BEGAN = 1_795_392_000.0
DELAY_S = 0.004
MINUTE_S = 60.0
FOLDER = Path(turnout.stores.__file__).parent / "migrations"
TABLES = "".join((FOLDER / f"{name}.sqlite.sql").read_text(encoding="utf-8") for name in ("0001_ledger", "0005_limits"))


class MemoryBooks:
    """A Database (see turnout.stores) for core/books/grants.py alone. is_gone: it answers nothing. writes: so far."""

    def __init__(self, delay_s=DELAY_S):
        self.delay_s = delay_s
        self.is_gone = False
        self.reads = self.writes = 0
        self._rows = sqlite3.connect(":memory:", isolation_level=None)
        self._rows.executescript(TABLES)

    async def open(self):
        """It is."""

    async def close(self):
        """Let go of it."""
        self._rows.close()

    async def wait(self, since):
        """Nothing ever changes."""
        return since

    async def read(self, steps):
        """Run a transaction."""
        self.reads += 1
        return await self._run(steps)

    async def write(self, steps):
        """Run a transaction."""
        self.writes += 1
        return await self._run(steps)

    async def refuse(self, steps):
        """Stands for `write` on a disk that is full."""
        await asyncio.sleep(self.delay_s)
        raise StoreError("the disk is full")

    async def _run(self, steps):
        await asyncio.sleep(self.delay_s)
        if self.is_gone:
            raise StoreError("it is gone")
        return self.run(steps())

    def run(self, steps):
        """Run a transaction at once; return its result."""
        self._rows.execute("BEGIN")
        try:
            statement = next(steps)
            while True:
                statement = steps.send(self._rows_of(statement))
        except StopIteration as end:
            self._rows.execute("COMMIT")
            return end.value
        except BaseException:
            self._rows.execute("ROLLBACK")
            raise

    def _rows_of(self, statement):
        if not isinstance(statement, Load):
            return self._rows.execute(statement.text, clean(statement.values)).fetchall()
        table, columns, _ = names(statement)
        self._rows.executemany(insert(table, columns, statement.unique, 1), map(clean, statement.rows))
        return []

    def rows(self, text, *values):
        """Look into it."""
        return self._rows.execute(text, values).fetchall()


def snapshot(*limits, tiers=()):
    """A configuration that has only these."""
    return Snapshot(
        "test", Server(), {}, {}, {}, {}, {}, {}, {}, limits=tuple(limits), tiers={tier.name: tier for tier in tiers}
    )


def limit(name, requests=0, tokens=0, at_once=0):
    """A limit of a name such as "user:anna", "user:*" or "all"."""
    scope, _, match = name.partition(":")
    return Limit(scope, match, Rates(requests, tokens, at_once))


class Gateways:
    """So many gateways on one MemoryBooks and one VirtualLoop, each with its Limiter, started."""

    def __init__(self, loop, count, *limits):
        self.loop = loop
        self.clock = VirtualClock(loop, began=BEGAN)
        self.books = MemoryBooks()
        self.limits = limits
        self.limiters = [self.make(f"w{number}") for number in range(count)]

    def make(self, writer):
        """One more, not started."""
        limiter = Limiter(self.books, writer, self.clock)
        limiter.install(snapshot(*self.limits))
        return limiter

    async def come(self, writer):
        """One more, started."""
        limiter = self.make(writer)
        await limiter.start()
        self.limiters.append(limiter)
        return limiter

    async def leave(self, limiter):
        """It is told to stop."""
        self.limiters.remove(limiter)
        await limiter.stop()

    async def stand_still(self, limiter):
        """It does nothing any more: it was killed, or only suspended, which nobody else can tell."""
        await limiter._shared._tasks.stop()

    async def kill(self, limiter):
        """It never comes back."""
        self.limiters.remove(limiter)
        await self.stand_still(limiter)

    def held(self, name):
        """What the books say of a name: {writer: (requests, tokens, at once)}."""
        rows = self.books.rows("SELECT writer, requests, tokens, at_once FROM limit_grant WHERE name = ?", name)
        return {writer: tuple(amounts) for writer, *amounts in rows}

    async def __aenter__(self):
        for limiter in self.limiters:
            await limiter.start()
        await asyncio.sleep(1.0)  # until each has seen the others
        return self

    async def __aexit__(self, *_):
        for limiter in self.limiters:
            await limiter.stop()


async def admitted(limiter, who, count, tokens=0):
    """Ask so often at the same time; return what was let in, and why the others were not."""
    results = await asyncio.gather(*(limiter.admit(who, tokens) for _ in range(count)), return_exceptions=True)
    refused = [one for one in results if isinstance(one, RateLimited)]
    held = [one for one in results if isinstance(one, Held)]
    assert len(refused) + len(held) == count, results
    return held, refused


def most_within_a_minute(used):
    """The most that lies within any 60 s, looked at from every request on. used: (instant, amount)."""
    used = sorted(used)
    times = [at for at, _ in used]
    sums = [0]
    for _, amount in used:
        sums.append(sums[-1] + amount)
    return max((sums[bisect_left(times, at + MINUTE_S)] - sums[place] for place, at in enumerate(times)), default=0)

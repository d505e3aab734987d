"""T76: the tables are brought from one version to the next under live traffic, and after a kill at any statement of it the next
start completes it; an older Turnout refuses what a newer one made, and changes nothing.
"""

import asyncio
import contextlib
import signal
import sqlite3
import sys
from asyncio.subprocess import PIPE

import msgspec
import pytest

from tests.entries import entry
from tests.faults.banked import over, until_drained, with_a_key
from tests.faults.together import Steady, wrong
from tests.rig import Rig
from turnout.core.books.ledger import append
from turnout.core.books.statements import Sql
from turnout.core.books.verifying import verify
from turnout.errors import StoreError
from turnout.stores.migrations import Migration, shipped
from turnout.stores.postgres_books import PostgresBooks
from turnout.stores.sqlite_books import SqliteBooks

NEXT = (
    "CREATE TABLE note (id BIGINT PRIMARY KEY, text TEXT NOT NULL);",
    "ALTER TABLE entry ADD COLUMN colour TEXT NOT NULL DEFAULT '';",
    "CREATE INDEX entry_colour ON entry (colour, at_ms);",
    "INSERT INTO note (id, text) VALUES (1, 'made');",
    "CREATE TABLE last (id BIGINT PRIMARY KEY);",
)
HANGS = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n;",
    "postgres": "SELECT pg_sleep(60);",
}
OPEN = """
import asyncio, sys
from pathlib import Path
from turnout.stores.migrations import Migration, shipped
from turnout.stores.postgres_books import PostgresBooks
from turnout.stores.sqlite_books import SqliteBooks
dialect, where, text = sys.argv[1:]
steps = (*shipped(dialect), Migration(9999, "next", text, "aa"))
books = SqliteBooks(Path(where), migrations=steps) if dialect == "sqlite" else PostgresBooks(where, migrations=steps)
asyncio.run(books.open())
"""


class Place:
    """The test's books, in one kind of database."""

    def __init__(self, dialect, where):
        self.dialect, self.where = dialect, where
        self.url = "" if dialect == "sqlite" else where
        self.now = shipped(dialect)
        self.next = (*self.now, Migration(9999, "next", "\n".join(NEXT), "aa"))

    @contextlib.asynccontextmanager
    async def opened(self, steps):
        """The books as a Turnout with these steps has them."""
        kind = SqliteBooks if self.dialect == "sqlite" else PostgresBooks
        database = kind(self.where, migrations=steps)
        try:
            await database.open()
            yield database
        finally:
            await database.close()


@pytest.fixture(params=["sqlite", "postgres"])
def place(request, tmp_path):
    if request.param == "sqlite":
        return Place("sqlite", tmp_path / "home" / "books.sqlite3")
    server = request.getfixturevalue("postgres_server")
    made = Place("postgres", server.new_database(request.getfixturevalue("postgres_template")))
    made.server = server
    return made


async def colours(database):
    rows = await database.read(lambda: (yield Sql("SELECT count(*), min(colour), max(colour) FROM entry")))
    return tuple(rows[0])


async def test_t76_live(place, tmp_path, size, proof):
    """The gateway of the version before goes on as if nothing were; its next start refuses, and the new one has everything."""
    async with Rig(tmp_path, config=over(place.url)) as rig:
        await with_a_key(rig)
        load = Steady([rig], 50)
        loading = asyncio.ensure_future(load.run(size(1.5, 10)))
        await asyncio.sleep(0.5)
        async with place.opened(place.next) as newer:
            assert "made" == (await newer.read(lambda: (yield Sql("SELECT text FROM note"))))[0][0]
            sent = await loading
            assert [] == wrong(sent)
            await until_drained(rig)
            assert (len(sent), "", "") == await colours(newer)
            assert (await newer.read(verify)).is_whole
    before = place.where.read_bytes() if place.dialect == "sqlite" else b""
    with pytest.raises(
        StoreError, match=r"was brought to version 9999 \(next\) by a newer Turnout.*Nothing was changed"
    ):
        async with place.opened(place.now):
            pass
    if place.dialect == "sqlite":
        assert before == place.where.read_bytes()
    proof(
        f"{place.dialect}: {len(sent)} requests during the upgrade, 0 failed, all booked; the older Turnout refuses after"
    )


async def test_t76_killed(place, size, proof):
    """At each of its statements, and before its first: nothing of it is there, and the next start makes all of it."""
    entries = size(50, 5_000)
    async with place.opened(place.now) as database:
        await database.write(lambda: append("w1", [entry(attempt_id=f"a{n}") for n in range(entries)]))
    for count in range(len(NEXT) + 1):
        text = "\n".join((*NEXT[:count], HANGS[place.dialect], *NEXT[count:]))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", OPEN, place.dialect, str(place.where), text, stderr=PIPE
        )
        async with asyncio.timeout(30):
            while not await asyncio.to_thread(_hangs, place):
                assert process.returncode is None, await process.stderr.read()
                await asyncio.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        await process.communicate()
        if place.dialect == "postgres":
            place.server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
        async with place.opened(place.now) as before:  # which would be refused if anything of it were there
            assert (await before.read(verify)).is_whole
            with pytest.raises(StoreError):
                await before.read(lambda: (yield Sql("SELECT * FROM note")))
    async with place.opened(place.next) as after:
        assert (entries, "", "") == await colours(after)
        assert (await after.read(verify)).is_whole
    changed = (*place.now, msgspec.structs.replace(place.next[-1], sha256="bb"))
    with pytest.raises(StoreError, match="another text of migration 9999_next"):
        async with place.opened(changed):
            pass
    proof(
        f"{place.dialect}: killed at each of {len(NEXT) + 1} places of an upgrade with {entries:,} entries: nothing of it there; "
        "then completed"
    )


def _hangs(place):
    """Whether the upgrade is where it hangs."""
    if place.dialect == "postgres":
        return place.server.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") != "0"
    with contextlib.closing(sqlite3.connect(place.where, isolation_level=None, timeout=0)) as other:
        try:
            other.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        other.execute("ROLLBACK")
    return False

"""T31: two gateways on one SQLite file, or on one PostgreSQL, while somebody else holds the write lock: no client sees it, nothing
is lost, and it goes on within 5 s.
"""

import asyncio
import contextlib
import sqlite3
import subprocess

import pytest

from tests.faults.banked import booked, over
from tests.faults.together import Steady, p99, wrong
from tests.postgres_server import PostgresServer
from tests.process import Served, SimulatedVendor

RATE = 50
LOCK = "BEGIN; LOCK TABLE entry_head, entry, rollup IN EXCLUSIVE MODE; SELECT pg_sleep({seconds}); COMMIT"
"""In the order in which the ledger takes them: in another, PostgreSQL might end this session instead of ours."""


@contextlib.asynccontextmanager
async def two(home, vendor, url=""):
    """Two workers that share a port and the books."""
    (home / "turnout.yaml").write_text(over(url).format(url=vendor.base_url), encoding="utf-8")
    async with Served(home, "--port", "0", "--workers", "2", vendor=vendor) as gateway:
        yield gateway


async def load_while(gateway, seconds, holding):
    """A load for so long, and a little before and after; `holding` runs meanwhile in a thread."""
    load = Steady([gateway], RATE)
    loading = asyncio.ensure_future(load.run(seconds + 0.5))
    await asyncio.sleep(0.2)
    await asyncio.to_thread(holding)
    sent = await loading
    assert [] == wrong(sent)
    return sent


async def drained(count, wanted):
    """How many seconds until so many entries are there."""
    began = asyncio.get_running_loop().time()
    async with asyncio.timeout(30):
        while await asyncio.to_thread(count) != (wanted, wanted):
            await asyncio.sleep(0.05)
    return asyncio.get_running_loop().time() - began


async def test_t31_one_file(tmp_path, size, proof):
    """Held for 10 s in full: longer than a transaction waits, so it is tried again."""
    seconds = size(1.0, 10)
    async with SimulatedVendor(tmp_path) as vendor, two(tmp_path, vendor) as gateway:
        file = tmp_path / "home" / "books.sqlite3"

        def hold():
            with contextlib.closing(sqlite3.connect(file, isolation_level=None, timeout=10)) as other:
                other.execute("BEGIN IMMEDIATE")
                subprocess.run(["sleep", str(seconds)], check=True)
                other.execute("ROLLBACK")

        def count():
            with contextlib.closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=10)) as look:
                return look.execute("SELECT count(*), count(DISTINCT attempt_id) FROM entry").fetchone()

        sent = await load_while(gateway, seconds, hold)
        waited_s = await drained(count, len(sent))
        said = [line for line in gateway.said if "database is locked" in line]
    assert waited_s <= 5
    assert len(said) <= 4 * seconds + 2
    proof(
        f"one SQLite file, two workers, write lock held for {seconds:.0f} s: {len(sent)} of {len(sent)} answered, p99 "
        f"{1000 * p99(sent):.0f} ms, all booked {waited_s:.1f} s after"
    )


async def test_t31_one_postgres(tmp_path, size, proof):
    """The ledger's tables are locked by another session."""
    seconds = size(1.0, 10)
    with PostgresServer() as server:
        url = server.new_database()
        async with SimulatedVendor(tmp_path) as vendor, two(tmp_path, vendor, url) as gateway:
            sent = await load_while(gateway, seconds, lambda: server.sql(LOCK.format(seconds=seconds), "books1"))
            waited_s = await drained(lambda: booked(server), len(sent))
    assert waited_s <= 5
    proof(
        f"one PostgreSQL, two workers, tables locked for {seconds:.0f} s: {len(sent)} of {len(sent)} answered, p99 "
        f"{1000 * p99(sent):.0f} ms, all booked {waited_s:.1f} s after"
    )


@pytest.mark.prove
async def test_t31_many_workers(tmp_path, proof):
    """Four workers that write to one file as fast as they can."""
    async with SimulatedVendor(tmp_path) as vendor:
        (tmp_path / "turnout.yaml").write_text(over("").format(url=vendor.base_url), encoding="utf-8")
        async with Served(tmp_path, "--port", "0", "--workers", "4", vendor=vendor) as gateway:
            sent = await Steady([gateway], 200).run(10)
            assert [] == wrong(sent)
            said = [line for line in gateway.said if "locked" in line]
    assert [] == said
    proof(
        f"one SQLite file, four workers, {len(sent)} requests at 200 a second: none failed, none waited for a lock in vain"
    )

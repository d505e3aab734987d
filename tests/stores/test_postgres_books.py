"""The books in PostgreSQL: connections that break, are late or refused. What every database promises is in tests/contracts."""

from __future__ import annotations

import asyncio
import signal
import sys
import time

import pytest

from tests.postgres_server import PostgresServer
from turnout.api.fault_proxy import FaultProxy
from turnout.core.books.statements import Sql
from turnout.errors import ConfigError, StoreError
from turnout.stores import postgres_books
from turnout.stores.migrations import Migration
from turnout.stores.postgres_books import CONNECTIONS, PostgresBooks

STEPS = (
    Migration(
        1,
        "thing",
        """
        CREATE TABLE thing (name TEXT PRIMARY KEY, size BIGINT NOT NULL);
        CREATE TABLE change (number BIGINT NOT NULL);
        INSERT INTO change VALUES (0);
        """,
        "aa",
    ),
)


def put(name, size=1):
    yield Sql("INSERT INTO thing (name, size) VALUES (?, ?)", (name, size))
    return name


def count():
    ((rows,),) = yield Sql("SELECT count(*) FROM thing")
    return rows


def slowly(seconds):
    yield Sql("SELECT pg_sleep(?)", (seconds,))


@pytest.fixture
def url(postgres_server):
    return postgres_server.new_database()


@pytest.fixture
async def opened(url):
    """Opens the test's database; all are closed at the end."""
    made = []

    async def open_(address=url, **options):
        database = PostgresBooks(address, **{"migrations": STEPS, **options})
        made.append(database)
        await database.open()
        return database

    yield open_
    for database in made:
        await database.close()


async def test_connections_are_lent_in_turn_and_never_more_than_so_many(opened, postgres_server):
    """Those who come while all are lent wait; afterwards they lie idle and are used again."""
    database = await opened()
    await asyncio.gather(*(database.read(lambda: slowly(0.05)) for _ in range(3 * CONNECTIONS)))
    name = database.address.rpartition("/")[2]

    def connections():
        return postgres_server.sql("SELECT datname FROM pg_stat_activity").splitlines().count(name)

    assert CONNECTIONS == connections()
    await database.close()
    assert await _until(lambda: connections() == 0)


async def _until(is_so):
    async with asyncio.timeout(10):
        while not is_so():
            await asyncio.sleep(0.02)
    return True


async def test_a_statement_that_takes_too_long_is_ended_by_the_server(opened):
    """And the connection goes on; only its limit is ours."""
    database = await opened()

    def late():
        yield from put("a")
        yield Sql("SET LOCAL statement_timeout = 50")
        yield from slowly(30)

    with pytest.raises(StoreError, match=r"statement timeout.*tried again"):
        await database.write(late)
    assert 0 == await database.read(count)


async def test_a_server_that_stands_still_is_not_waited_for_longer_than_so_long(opened, url):
    """Then its connections are given up; once it goes on, new ones are made at once."""
    with PostgresServer() as server:
        database = await opened(server.new_database(), command_s=0.3)
        await asyncio.gather(*(database.read(count) for _ in range(4)))
        server.freeze()
        for _ in range(2):
            began = time.monotonic()
            with pytest.raises(StoreError, match=r"no answer in time|timed out|Is PostgreSQL running"):
                await database.write(lambda: put("a"))
            assert time.monotonic() - began < 6
        server.thaw()
        assert "b" == await database.write(lambda: put("b"))


async def test_a_server_that_was_killed_is_found_again_when_it_is_back(opened):
    """Each call fails at once while it is gone; what was committed is there, also without a word of goodbye."""
    with PostgresServer("synchronous_commit=on") as server:
        database = await opened(server.new_database())
        await database.write(lambda: put("a"))
        server.kill()
        for ask in (lambda: database.write(lambda: put("b")), lambda: database.read(count)):
            with pytest.raises(StoreError, match="Is PostgreSQL running and reachable"):
                await ask()
        later = await opened(server.url("books1"))
        with pytest.raises(StoreError, match="Is PostgreSQL running and reachable"):
            await later.read(count)
        server.start()
        assert 1 == await later.read(count)
        assert 1 == await database.read(count)
        assert "b" == await database.write(lambda: put("b"))
        server.kill(signal.SIGINT)
        server.start()
        assert 2 == await _again(lambda: database.read(count))


async def _again(ask):
    """Ask until it is answered: the first calls find connections that broke meanwhile."""
    async with asyncio.timeout(5):
        while True:
            try:
                return await ask()
            except StoreError:
                await asyncio.sleep(0.01)


async def test_a_server_that_comes_later_gets_its_tables_then(opened):
    """Opening does not wait for it; whoever finds it first brings them, and a refusal is told by each call."""
    with PostgresServer() as server:
        url = server.new_database()
        server.kill()
        database, refused = await opened(url), await opened(url, migrations=())
        server.start()
        assert list("abcd") == sorted(await asyncio.gather(*(database.write(lambda n=n: put(n)) for n in "abcd")))
        for _ in range(2):
            with pytest.raises(StoreError, match="newer Turnout"):
                await refused.read(count)
        with pytest.raises(StoreError, match="newer Turnout"):
            await opened(url, migrations=())


async def test_a_connection_that_is_cut_in_the_middle_leaves_nothing_behind(opened, postgres_server, url):
    """The transaction is undone by the server; the next has a connection of its own."""
    host, port = postgres_server.host, postgres_server.port
    async with FaultProxy(host, port, "") as proxy:
        database = await opened(url.replace(f":{port}/", f":{proxy.port}/"))

        def cut():
            yield from put("a")
            asyncio.get_running_loop().call_soon(proxy.cut_all)
            yield from slowly(1)

        with pytest.raises(StoreError):
            await database.write(cut)
        assert 0 == await database.read(count)


async def test_no_connection_left_is_said_and_gets_better_by_itself(opened):
    """`max_connections` reached, by others."""
    with PostgresServer("max_connections=5", "superuser_reserved_connections=0") as server:
        url = server.new_database()
        database = await opened(url)
        others = [await _connect(url) for _ in range(4)]
        tried = await asyncio.gather(*(database.read(lambda: slowly(0.05)) for _ in range(3)), return_exceptions=True)
        refused = [one for one in tried if one is not None]
        assert refused
        assert all(isinstance(one, StoreError) and "no room or no connection left" in one.message for one in refused)
        for other in others:
            await other.close()
        await _again(lambda: database.read(count))


async def _connect(url):
    return await pytest.importorskip("asyncpg").connect(url)


@pytest.mark.parametrize(
    ("database", "user", "said"),
    [("nowhere", "turnout", "Make that database first"), ("postgres", "nobody", "look at ledger.url")],
)
async def test_a_wrong_address_says_what_to_do(opened, postgres_server, database, user, said):
    """And never the password."""
    address = f"postgresql://{user}:s3cret@{postgres_server.host}:{postgres_server.port}/{database}"
    with pytest.raises(StoreError, match=said) as caught:
        await opened(address)
    assert "s3cret" not in str(caught.value)
    assert f"{postgres_server.host}:{postgres_server.port}/{database}" in str(caught.value)


async def test_one_that_loses_again_and_again_takes_its_turn_and_wins(opened):
    """Two that only read and write the same row at once: each of many gets through, whoever was first."""
    first, second = await opened(), await opened()
    await first.write(lambda: put("a", 0))
    tries = 0

    def grow():
        nonlocal tries
        tries += 1
        ((size,),) = yield Sql("SELECT size FROM thing WHERE name = 'a'")
        yield from slowly(0.002)
        yield Sql("UPDATE thing SET size = ? WHERE name = 'a'", (size + 1,))

    await asyncio.gather(*((first, second)[n % 2].write(grow) for n in range(40)))
    ((size,),) = await first.read(lambda: (yield Sql("SELECT size FROM thing")))
    assert 40 == size
    assert tries > 40, "some were undone by the server and ran again"


async def test_one_that_can_never_win_is_given_up(opened):
    """After so many tries; nothing of it is there."""
    database = await opened()
    tries = 0

    def losing():
        nonlocal tries
        tries += 1
        yield from put("a")
        yield Sql("DO $$ BEGIN RAISE EXCEPTION 'lost' USING ERRCODE = '40001'; END $$")

    with pytest.raises(StoreError, match=r"lost.*tried again"):
        await database.write(losing)
    assert postgres_books.TRIES == tries
    assert 0 == await database.read(count)


async def test_whoever_waits_is_told_by_the_server_itself(opened, url):
    """Without looking; and where the listening connection breaks, by looking, and by a new one."""
    database = await opened()
    waiting = asyncio.get_running_loop().create_task(database.wait(0))
    await asyncio.sleep(0.1)
    other = await opened()
    await other.write(lambda: (yield Sql("UPDATE change SET number = 7")))
    await other.write(lambda: (yield Sql("SELECT pg_notify('turnout_change', '')")))
    async with asyncio.timeout(5):
        assert 7 == await waiting
        killing = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = ?"
        again = asyncio.get_running_loop().create_task(database.wait(7))
        await asyncio.sleep(0)
        await other.write(lambda: (yield Sql(killing, (url.rpartition("/")[2],))))
        await other.write(lambda: (yield Sql("UPDATE change SET number = 8")))
        assert 8 == await again


def test_a_missing_library_says_what_to_install():
    """The client is an extra."""
    known = {name: sys.modules.pop(name) for name in [*sys.modules] if name.partition(".")[0] == "asyncpg"}
    sys.modules["asyncpg"] = None  # type: ignore[assignment]
    try:
        with pytest.raises(ConfigError, match=r"pip install 'turnout\[postgres\]'"):
            PostgresBooks("postgresql://h/d")
    finally:
        sys.modules.update(known)

"""Gives a test the books over every database that we have: each test that asks for `database` runs once over each.

async def test_x(database):            # an opened, empty Database with all tables
    assert await database.read(lambda: spent("user:anna")) == 0

async def test_y(databases):           # the same books as several gateways see them
    first, second = await databases(), await databases()
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import pytest

from tests.postgres_server import PostgresServer
from turnout.stores import Database
from turnout.stores.postgres_books import PostgresBooks
from turnout.stores.sqlite_books import SqliteBooks


class Databases(Protocol):
    """Opens the test's books once more, for one more gateway. options: of the adapters, such as `migrations`."""

    def __call__(self, **options: Any) -> Awaitable[Database]: ...


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One PostgreSQL for all tests of this process that kill nothing; each makes a database of its own."""
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_template(postgres_server: PostgresServer) -> str:
    """A database with all tables, which a test's own is copied from: that takes a tenth of making them."""
    server, name = postgres_server, "migrated"
    server.sql(f"CREATE DATABASE {name}")

    async def migrate() -> None:
        database = PostgresBooks(server.url(name))
        await database.open()
        await database.close()

    with ThreadPoolExecutor(1) as elsewhere:  # whoever asks first may have a loop that runs already
        elsewhere.submit(lambda: asyncio.run(migrate())).result()
    return name


@pytest.fixture(params=["sqlite", "postgres"])
async def databases(request, tmp_path) -> AsyncIterator[Databases]:
    """What Databases says."""
    opened: list[Database] = []
    make: Callable[..., Database]
    urls: list[str] = []
    if request.param == "postgres":
        make = _postgres(request, urls)
    else:
        make = lambda **options: SqliteBooks(tmp_path / "books.sqlite3", **options)

    async def another(**options: Any) -> Database:
        database = make(**options)
        await database.open()
        opened.append(database)
        return database

    yield another
    for database in opened:
        await database.close()
    for url in urls:
        request.getfixturevalue("postgres_server").drop(url)


def _postgres(request: pytest.FixtureRequest, urls: list[str]) -> Callable[..., Database]:
    """Make the test's database when it is first opened: with all tables, unless the test brings its own. urls: where it is."""
    server: PostgresServer = request.getfixturevalue("postgres_server")

    def make(**options: Any) -> Database:
        if not urls:
            template = "template1" if "migrations" in options else request.getfixturevalue("postgres_template")
            urls.append(server.new_database(template))
        return PostgresBooks(urls[0], **options)

    return make


@pytest.fixture
async def database(databases: Databases) -> Database:
    """The books, opened."""
    return await databases()

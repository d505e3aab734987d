"""Keeps the books in PostgreSQL 15 or later, for several machines: what SqliteBooks does with a file, over a few connections.

Writing: SERIALIZABLE, so that each transaction sees and is seen as if it ran alone. Where two want the same rows, the
server undoes one (40001, 40P01), and that one runs again after taking the turn lock: those that failed go one by one, so
none fails for ever. Reading: one state, REPEATABLE READ, and no right to write.
Time: a connection is made in CONNECT_S or not at all, a statement takes STATEMENT_S on the server and COMMAND_S here at
most, a lock is waited for LOCK_S, and whoever stands still in a transaction is thrown out after IDLE_S. A connection that
broke or was late is never used again, nor are those that lay idle beside it; the next call makes new ones, and looks up
the address anew. So nothing here has to notice that a server came back.
What breaks in the COMMIT itself may have happened all the same: what is written through here is safe to write twice, or
ends by itself (a lease).
The library (extra `postgres`) stays in this module. Sources: RELIABILITY R6, T56 to T59; DEPENDENCIES §4;
postgresql.org/docs/18 (transaction-iso, runtime-config-client), 2026-11.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from turnout.core.books.changes import latest
from turnout.core.books.loading import clean, copying, names, numbered, whole
from turnout.core.books.sqlstates import advice, is_away
from turnout.core.books.statements import Load, Rows, Statement, Steps
from turnout.errors import ConfigError, GatewayError, StoreError
from turnout.stores.books_file import BooksFile
from turnout.stores.migrations import APPLIED, BEGINNING, Migration, missing, shipped
from turnout.stores.pace import Pace

T = TypeVar("T")

CONNECTIONS: Final = 6
"""Of one process, at most, and one more that listens: a server takes 100 unless told otherwise, so 14 processes."""

CONNECT_S: Final = 3.0
STATEMENT_S: Final = 5.0
LOCK_S: Final = 5.0
IDLE_S: Final = 5.0
COMMAND_S: Final = 8.0
"""Longer than the server's own limits: past it the server or the way to it is gone, not slow."""

LOOK_S: Final = 0.4
"""Between two looks at the number of the latest change, which the server tells of: the way to it may be cut without a word."""

TRIES: Final = 8
"""Of one transaction. From the second on it holds the turn lock, so it fails by those that hold none only."""

CHANNEL: Final = "turnout_change"
"""What a trigger on the table `change` notifies."""

NEEDS_EXTRA: Final = "ledger.url is PostgreSQL, but its client is not installed: pip install 'turnout[postgres]'"

WRITING: Final = "BEGIN ISOLATION LEVEL SERIALIZABLE"
WRITING_IN_TURN: Final = f"{WRITING}; LOCK TABLE migration IN SHARE UPDATE EXCLUSIVE MODE"
"""LOCK takes no snapshot: what this one sees is what was there after it got the lock. Readers and others' writes go on."""

READING: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

SETTINGS: Final = (
    f"SET statement_timeout = {STATEMENT_S * 1000:.0f}; SET lock_timeout = {LOCK_S * 1000:.0f}; "
    f"SET idle_in_transaction_session_timeout = {IDLE_S * 1000:.0f}; SET client_min_messages = warning; SET timezone = 'UTC'"
)
"""Not as parameters of the connection, which a pooler between refuses."""

ALONE: Final = "BEGIN; SELECT pg_advisory_xact_lock(7235917401); SET LOCAL statement_timeout = 0"
"""For whoever changes tables; it ends with the transaction. Any number would do."""

RENUMBER: Final = """
SELECT setval(pg_get_serial_sequence($1, $2), greatest(1, (SELECT max(seq) FROM entry)))
WHERE pg_get_serial_sequence($1, $2) IS NOT NULL
"""
"""Only the ledger's numbers come from the server itself; they go on after those that were restored."""

BACKUP_ROWS: Final = 2_000
NAMING: Final = (
    "INSERT INTO books (id) SELECT replace(gen_random_uuid()::text, '-', '') WHERE NOT EXISTS (SELECT 1 FROM books)"
)


class PostgresBooks:
    """The books at `url` (postgresql://USER:PASSWORD@HOST:PORT/DATABASE; several hosts with commas: the first that writes).

    address: how to speak of it, without user and password. migrations: the steps of its tables, ours unless told.
    command_s: see COMMAND_S. Raises ConfigError if the client library is missing.
    """

    def __init__(
        self, url: str, *, migrations: tuple[Migration, ...] | None = None, command_s: float = COMMAND_S
    ) -> None:
        self._asyncpg = _library()
        self._failures = (self._asyncpg.PostgresError, self._asyncpg.InterfaceError, self._asyncpg.InternalClientError)
        self._url = url
        self._migrations = migrations
        self._command_s = command_s
        parts = urlsplit(url)
        self.address = f"{parts.netloc.rpartition('@')[2]}{parts.path}" or url.partition("?")[0]
        self._idle: list[Any] = []
        self._slots = asyncio.Semaphore(CONNECTIONS)
        self._listening: Any = None
        self._told = asyncio.Event()
        self._preparing = asyncio.Lock()
        self._is_prepared = False
        self._state = "new"

    # ── opening and closing ──

    async def open(self) -> None:
        """Connect, and bring the tables to this version. Raises StoreError where that is refused; may be called again then.

        A server that is away now is no refusal: the first transaction that finds it brings the tables to this version.
        """
        self._state = "open"
        try:
            async with self._mapped():
                await self._prepare()
        except StoreError as error:
            if self._is_away(error.__cause__):
                return
            self._state = "new"
            raise

    async def _prepare(self) -> None:
        """See to the tables, once."""
        async with self._preparing:
            if not self._is_prepared:
                ours = shipped("postgres") if self._migrations is None else self._migrations
                async with self._borrowed() as connection:
                    while await self._migrate_one(connection, ours):
                        pass
                self._is_prepared = True

    def _is_away(self, cause: BaseException | None) -> bool:
        """Whether that is a server that may come (back) as it is, by what it said or did not say."""
        if isinstance(cause, self._asyncpg.PostgresError):
            return is_away(cause.sqlstate or "")
        return isinstance(cause, (OSError, self._asyncpg.InterfaceError))

    async def _migrate_one(self, connection: Any, ours: tuple[Migration, ...]) -> bool:
        """Apply the next migration in a transaction of its own; return whether there was one."""
        try:
            await connection.execute(f"{ALONE}; {BEGINNING} {NAMING}", timeout=None)
            left = missing(ours, [tuple(row) for row in await connection.fetch(APPLIED)], self.address)
            if left:
                await connection.execute(left[0].text, timeout=None)
                await connection.execute(
                    "INSERT INTO migration (version, name, sha256) VALUES ($1, $2, $3)",
                    *(left[0].version, left[0].name, left[0].sha256),
                )
            await connection.execute("COMMIT")
        except BaseException:
            connection.terminate()
            raise
        return bool(left)

    async def close(self) -> None:
        """Let what is under way end, then leave. Safe to call twice, and before `open`."""
        self._state = "closed"
        self._told.set()
        for _ in range(CONNECTIONS):
            await self._slots.acquire()
        self._slots = asyncio.Semaphore(CONNECTIONS)
        listening, self._listening = self._listening, None
        for connection in (*self._take_idle(), *filter(None, [listening])):
            connection.terminate()

    # ── transactions ──

    async def write(self, steps: Callable[[], Steps[T]]) -> T:
        """Run a transaction. One that is cancelled before its COMMIT is undone."""
        async with self._mapped():
            for again in range(TRIES):
                try:
                    return await self._transact(WRITING_IN_TURN if again else WRITING, steps)
                except (self._asyncpg.SerializationError, self._asyncpg.DeadlockDetectedError):
                    if again + 1 == TRIES:
                        raise
                await asyncio.sleep(again / 100)
        raise AssertionError

    async def read(self, steps: Callable[[], Steps[T]]) -> T:
        """Run a transaction that sees one state of the books and cannot change it."""
        async with self._mapped():
            return await self._transact(READING, steps)

    async def _transact(self, begin: str, steps: Callable[[], Steps[T]]) -> T:
        if self._state != "open":
            raise StoreError(f"The books at {self.address} are not open.")
        if not self._is_prepared:
            await self._prepare()
        async with self._borrowed() as connection:
            await connection.execute(begin)
            result = await _run(connection, steps())
            await connection.execute("COMMIT")
            return result

    async def wait(self, since: int) -> int:
        """Return the number of the latest change once it is above `since`. A look costs one read."""
        while True:
            await self._listen()
            self._told.clear()
            number = await self.read(latest)
            if number > since:
                return number
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._told.wait()
            except TimeoutError:
                pass

    async def _listen(self) -> None:
        """Have a connection that is told of changes."""
        if self._listening is None or self._listening.is_closed():
            async with self._mapped():
                connection = await self._taken()
                try:
                    await connection.add_listener(CHANNEL, lambda *_: self._told.set())
                except BaseException:
                    connection.terminate()
                    raise
                self._listening = connection

    # ── backups ──

    async def backup(self, file: Path, *, is_gentle: bool = True) -> None:
        """Write the books as they are now into a new file. Who writes goes on."""
        with BooksFile(file) as made, Pace(file, is_gentle=is_gentle) as pace:
            triggers = await asyncio.to_thread(made.begin, shipped("sqlite"))
            async with self._mapped(), self._borrowed() as connection:
                await connection.execute(f"{READING}; SET LOCAL statement_timeout = 0")
                for table in made.tables():
                    columns = made.columns(table)
                    rows = await connection.cursor(whole(table, columns).read)
                    while page := await rows.fetch(BACKUP_ROWS):
                        await asyncio.to_thread(made.fill, table, columns, [tuple(row) for row in page])
                        await asyncio.to_thread(pace.rest)
                await connection.execute("COMMIT")
            await asyncio.to_thread(made.finish, triggers)

    async def restore(self, file: Path) -> None:
        """Fill an empty database with the books of a backup, in one transaction."""
        async with self._mapped():
            await self._prepare()
        self._state = "open"
        async with self._mapped(), self._borrowed() as connection:
            await connection.execute(ALONE)
            if await connection.fetchval("SELECT EXISTS (SELECT 1 FROM entry) OR EXISTS (SELECT 1 FROM virtual_key)"):
                raise StoreError(
                    f"{self.address} holds entries or keys already, and nothing is written over. Name a new database in "
                    "ledger.url and try again."
                )
            with BooksFile(file) as given:
                for table in given.tables():
                    await self._refill(connection, given, table)
            await connection.execute("COMMIT")

    async def _refill(self, connection: Any, given: BooksFile, table: str) -> None:
        """Take over one table, past the triggers that guard it in use."""
        columns = given.columns(table)
        about = whole(table, columns)
        for text in (about.unguard, about.empty):
            await connection.execute(text)
        for page in given.pages(table, columns):
            await connection.copy_records_to_table(table, records=page, columns=columns, timeout=None)
        await connection.execute(about.guard)
        for column in columns:
            await connection.execute(RENUMBER, table, column)

    # ── connections ──

    @asynccontextmanager
    async def _borrowed(self) -> AsyncIterator[Any]:
        """Lend a connection. One whose transaction failed is rolled back; whatever else failed ends it, and the idle ones."""
        async with asyncio.timeout(self._command_s):
            await self._slots.acquire()
        connection = None
        try:
            connection = await self._taken()
            yield connection
        except (self._asyncpg.PostgresError, GatewayError):
            await self._roll_back(connection)
            raise
        except BaseException as error:
            is_lost = isinstance(error, (OSError, self._asyncpg.InterfaceError))
            for one in (connection, *(self._take_idle() if is_lost else ())):
                if one is not None:
                    one.terminate()
            raise
        finally:
            if connection is not None:
                self._give_back(connection)
            self._slots.release()

    async def _taken(self) -> Any:
        """An idle connection, or a new one: made to its end even if its asker leaves, or the library leaves ends loose."""
        while True:
            while self._idle:
                connection = self._idle.pop()
                if not connection.is_closed():
                    return connection
            if (failure := await asyncio.shield(self._connect())) is not None:
                raise failure

    def _give_back(self, connection: Any) -> None:
        if connection.is_closed() or self._state == "closed" or len(self._idle) >= CONNECTIONS:
            connection.terminate()
        else:
            self._idle.append(connection)

    def _take_idle(self) -> list[Any]:
        idle, self._idle = self._idle, []
        return idle

    async def _roll_back(self, connection: Any) -> None:
        if connection is None or connection.is_closed():
            return
        try:
            await connection.execute("ROLLBACK")
        except BaseException:
            connection.terminate()
            raise

    async def _connect(self) -> Exception | None:
        """Make one more idle connection, or return why not: its asker may not be there any more to be told."""
        how = {"timeout": CONNECT_S, "command_timeout": self._command_s, "target_session_attrs": "read-write"}
        connection = None
        try:
            connection = await self._asyncpg.connect(self._url, statement_cache_size=256, **how)
            await connection.execute(SETTINGS)
            for kind, read in (("numeric", _number), ("bool", lambda text: int(text == "t"))):
                await connection.set_type_codec(kind, schema="pg_catalog", encoder=str, decoder=read, format="text")
        except (OSError, *self._failures) as error:
            if connection is not None:
                connection.terminate()
            return error
        self._give_back(connection)
        return StoreError(f"The books at {self.address} are not open.") if self._state == "closed" else None

    @asynccontextmanager
    async def _mapped(self) -> AsyncIterator[None]:
        try:
            yield
        except self._asyncpg.PostgresError as error:
            raise StoreError(f"{self.address}: {str(error).rstrip('.')}. {advice(error.sqlstate or '')}") from error
        except TimeoutError as error:
            raise StoreError(f"{self.address}: no answer in time. Is PostgreSQL running and reachable?") from error
        except (OSError, self._asyncpg.InterfaceError, self._asyncpg.InternalClientError) as error:
            raise StoreError(f"{self.address}: {error}. Is PostgreSQL running and reachable?") from error


def _library() -> Any:
    try:
        import asyncpg  # noqa: PLC0415 - an optional dependency
    except ImportError:
        raise ConfigError((NEEDS_EXTRA,)) from None
    return asyncpg


# ── one connection ──


async def _run(connection: Any, steps: Steps[T]) -> T:
    """Give the generator the rows of each of its statements; return its result."""
    try:
        statement = next(steps)
        while True:
            statement = steps.send(await _rows(connection, statement))
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    finally:
        steps.close()


async def _rows(connection: Any, statement: Statement) -> Rows:
    if isinstance(statement, Load):
        return await _load(connection, statement)
    found = await connection.fetch(numbered(statement.text), *clean(statement.values))
    return [tuple(row) for row in found]


async def _load(connection: Any, load: Load) -> Rows:
    if not load.rows:
        return []
    table, columns, _ = names(load)
    copied, made, taken = copying(table, columns, load.unique)
    await connection.execute(made)
    await connection.copy_records_to_table(copied, records=map(clean, load.rows), columns=columns)
    return [tuple(row) for row in await connection.fetch(taken)]


def _number(text: str) -> int | float:
    value = Decimal(text)
    return int(value) if value == value.to_integral_value() else float(value)

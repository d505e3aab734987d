"""Keeps the books in one SQLite file: one thread writes, several read, and both stop if the file is no longer the one opened.

Writing: transactions that wait are made together, each in its savepoint, with one write to the disk (group commit), in the
order in which they were asked for; `synchronous=FULL`, since the journal forgets what is in here. Reading: connections of
their own that cannot write; WAL lets them see the last commit without waiting. A file that another process has locked is
waited for, 5 s at most.
A file that was deleted, replaced or lost its WAL while it was open takes nothing any more, and a file that is gone is
never silently begun anew: `<file>-id` beside it says which books belong here.
Cost: a transaction of one row about 60 µs of the thread and one fsync, shared; 1,000 rows by Load about 6 ms.
Sources: RELIABILITY D3, T29, T31; DEPENDENCIES §4; sqlite.org/wal.html, sqlite.org/lang_conflict.html (2026-11).
"""

from __future__ import annotations

import asyncio
import os
import queue
import shutil
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Generic, TypeVar

from turnout.core.books.changes import latest
from turnout.core.books.loading import clean, insert, names
from turnout.core.books.statements import Load, Rows, Statement, Steps
from turnout.errors import LedgerUnavailable, StoreError
from turnout.stores.migrations import APPLIED, BEGINNING, Migration, missing, shipped, statements
from turnout.stores.pace import vacuum

T = TypeVar("T")

LOCKED_S: Final = 5.0
"""How long a file that another process has locked is waited for. Source: T31."""

LOOK_S: Final = 0.25
"""Between two looks at the number of the latest change."""

TOGETHER: Final = 64
"""Transactions in one group: what a failing disk takes with it, and what one fsync is shared by."""

READERS: Final = 3

ROWS_AT_ONCE: Final = 32
"""Rows in one INSERT of a Load: each statement gives the interpreter away and has to get it back from a busy event loop."""

NAMING: Final = "INSERT INTO books (id) SELECT lower(hex(randomblob(16))) WHERE NOT EXISTS (SELECT 1 FROM books)"


class SqliteBooks:
    """The books in the file `path`. locked_s: see LOCKED_S. migrations: the steps of its tables, ours unless told."""

    def __init__(
        self, path: Path, *, locked_s: float = LOCKED_S, migrations: tuple[Migration, ...] | None = None
    ) -> None:
        self._path = path
        self._locked_s = locked_s
        self._migrations = migrations
        self._waiting: queue.SimpleQueue[_Asked[Any]] = queue.SimpleQueue()
        self._idle: queue.SimpleQueue[sqlite3.Cursor] = queue.SimpleQueue()
        self._writer: sqlite3.Cursor | None = None
        self._files: tuple[tuple[Path, int], ...] = ()
        self._thread: ThreadPoolExecutor | None = None
        self._readers: ThreadPoolExecutor | None = None

    # ── opening and closing ──

    async def open(self) -> None:
        """Open the file, or begin it, and bring its tables to this version. Raises StoreError; may be called again then."""
        if self._thread is not None:
            return
        await asyncio.to_thread(self._open)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="books-read")
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="books-write")

    def _open(self) -> None:
        mark = self._path.with_name(f"{self._path.name}-id")
        with self._mapped():
            said = mark.read_text(encoding="ascii").strip() if mark.exists() else ""
            self._refuse_to_begin_anew(said, mark)
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._path.touch(mode=0o600)
            database = self._connect(f"{self._path.absolute().as_uri()}?mode=rw")
            try:
                self._prepare(database, said, mark)
            except BaseException:
                database.close()
                raise
            self._writer = database.cursor()

    def _prepare(self, database: sqlite3.Connection, said: str, mark: Path) -> None:
        self._enter_wal(database)
        database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA foreign_keys = ON")
        database.execute("PRAGMA journal_size_limit = 67108864")  # what a long backup made it grow is given back
        with _transaction(database.cursor()):
            for text in (*statements(BEGINNING), NAMING):
                database.execute(text)
        ((here,),) = database.execute("SELECT id FROM books").fetchall()
        if said not in {"", here}:
            raise StoreError(
                f"{self._path} holds other books ({here}) than {mark} says belong here ({said}). If you put them there on "
                "purpose, delete that file and start again."
            )
        self._migrate(database)
        if not said:
            database.execute("PRAGMA wal_checkpoint")  # so that the file is these books without its log too
            mark.touch(mode=0o600)
            mark.write_text(f"{here}\n", encoding="ascii")
        self._files = tuple((file, file.stat().st_ino) for file in (self._path, Path(f"{self._path}-wal")))

    def _refuse_to_begin_anew(self, said: str, mark: Path) -> None:
        has_rows = self._path.exists() and self._path.stat().st_size > 0
        if said and not has_rows:
            raise StoreError(
                f"{self._path} is gone, and the books {said} are to be there. Restore it from a backup; or, to begin new "
                f"books without what was spent so far, delete {mark} and start again."
            )
        # SQLite takes the index away before the log when it closes, and makes the log before the index when it opens.
        if has_rows and Path(f"{self._path}-shm").exists() and not Path(f"{self._path}-wal").exists():
            raise StoreError(
                f"{self._path}-wal is gone: entries that were written last were in it. Put it back, or restore a backup. "
                f"To go on without them, delete {self._path}-shm and start again."
            )

    def _connect(self, uri: str) -> sqlite3.Connection:
        return sqlite3.connect(
            uri, uri=True, isolation_level=None, check_same_thread=False, timeout=self._locked_s, cached_statements=512
        )

    def _enter_wal(self, database: sqlite3.Connection) -> None:
        """Two that change a new file's mode at once are refused at once, whatever the time limit: one tries again."""
        database.execute("PRAGMA busy_timeout = 0")
        for left in reversed(range(1 + round(self._locked_s / 0.02))):
            try:
                database.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or not left:
                    raise
                time.sleep(0.02)
            else:
                break
        database.execute(f"PRAGMA busy_timeout = {self._locked_s * 1000:.0f}")

    def _migrate(self, database: sqlite3.Connection) -> None:
        ours = shipped("sqlite") if self._migrations is None else self._migrations
        while True:
            with _transaction(database.cursor()):  # one each, and looked at anew: another process may be at it too
                left = missing(ours, database.execute(APPLIED).fetchall(), str(self._path))
                if not left:
                    return
                for text in statements(left[0].text):
                    database.execute(text)
                database.execute(
                    "INSERT INTO migration (version, name, sha256) VALUES (?, ?, ?)",
                    (left[0].version, left[0].name, left[0].sha256),
                )

    async def close(self) -> None:
        """Finish what was asked for, then close the file. Safe to call twice, and before `open`."""
        writing, self._thread = self._thread, None
        reading, self._readers = self._readers, None
        for one in (writing, reading):
            if one is not None:
                await asyncio.to_thread(one.shutdown)
        while not self._idle.empty():
            self._idle.get().connection.close()
        if self._writer is not None:
            self._writer.connection.close()
            self._writer = None

    # ── transactions ──

    async def write(self, steps: Callable[[], Steps[T]]) -> T:
        """Run a transaction. One that is cancelled while it waits is not begun; once begun it goes on to its end."""
        if self._thread is None:
            raise self._is_closed()
        asked = _Asked(steps)
        self._waiting.put(asked)
        self._thread.submit(self._write_waiting)
        return await asyncio.wrap_future(asked.answer)

    async def read(self, steps: Callable[[], Steps[T]]) -> T:
        """Run a transaction that sees one state of the books, the last that was committed, and cannot change it."""
        if self._readers is None:
            raise self._is_closed()
        return await asyncio.wrap_future(self._readers.submit(self._read, steps))

    async def wait(self, since: int) -> int:
        """Return the number of the latest change once it is above `since`. A look costs one read."""
        while True:
            number = await self.read(latest)
            if number > since:
                return number
            await asyncio.sleep(LOOK_S)

    async def backup(self, file: Path, *, is_gentle: bool = True) -> None:
        """Write the books as they are now into a new file of their own. Who writes goes on; the log grows meanwhile."""
        if self._readers is None:
            raise self._is_closed()
        await asyncio.wrap_future(self._readers.submit(self._backup, file, is_gentle))

    def _backup(self, file: Path, is_gentle: bool) -> None:  # noqa: FBT001 - as `submit` gives it
        with self._mapped():
            self._check_files()
            database = self._connect(f"{self._path.absolute().as_uri()}?mode=ro")
            try:
                vacuum(database, file, is_gentle=is_gentle)
            finally:
                database.close()

    async def restore(self, file: Path) -> None:
        """Put the books of a backup where ours are to be; they must not be open, nor there. Raises StoreError."""
        await asyncio.to_thread(self._restore, file)

    def _restore(self, file: Path) -> None:
        there = [one for ending in ("", "-wal", "-shm") if (one := Path(f"{self._path}{ending}")).exists()]
        if there:
            raise StoreError(
                f"{there[0]} is there already, and nothing is written over. Stop the gateway, move "
                f"{', '.join(one.name for one in there)} aside, and try again."
            )
        with self._mapped():
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            draft = Path(f"{self._path}.part")
            draft.unlink(missing_ok=True)
            draft.touch(mode=0o600)
            shutil.copyfile(file, draft)
            with draft.open("rb") as written:
                os.fsync(written.fileno())
            Path(f"{self._path}-id").unlink(missing_ok=True)
            draft.rename(self._path)

    def _is_closed(self) -> StoreError:
        return StoreError(f"{self._path} is not open.")

    def _read(self, steps: Callable[[], Steps[T]]) -> T:
        with self._mapped():
            self._check_files()
            try:
                cursor = self._idle.get_nowait()
            except queue.Empty:
                cursor = self._connect(f"{self._path.absolute().as_uri()}?mode=ro").cursor()
            try:
                with _transaction(cursor, "BEGIN"):
                    return _run(cursor, steps())
            finally:
                self._idle.put(cursor)

    def _write_waiting(self) -> None:
        """Make what waits, together. Asked for once a transaction, so most calls find that nothing is left to do."""
        group: list[_Asked[Any]] = []
        while len(group) < TOGETHER and not self._waiting.empty():
            asked = self._waiting.get_nowait()
            if asked.answer.set_running_or_notify_cancel():
                group.append(asked)
        if not group:
            return
        assert self._writer is not None
        failure: StoreError | None = None
        try:
            with self._mapped():
                self._check_files()
                with _transaction(self._writer):
                    for asked in group:
                        self._make_one(self._writer, asked)
        except StoreError as error:
            failure = error
        for asked in group:
            asked.tell(failure)

    def _make_one(self, cursor: sqlite3.Cursor, asked: _Asked[Any]) -> None:
        """Run one in its savepoint. What it raises is for whoever asked; the others go on."""
        cursor.execute("SAVEPOINT one")
        with asked, self._mapped():
            asked.result = _run(cursor, asked.steps())
        if asked.error is not None:
            if (
                not cursor.connection.in_transaction
            ):  # SQLite has undone all of it: the disk is full, or does not take it
                raise asked.error
            cursor.execute("ROLLBACK TO one")
        cursor.execute("RELEASE one")

    def _check_files(self) -> None:
        """What is written to a file that has no name any more is lost when we end. 3 µs."""
        for file, inode in self._files:
            try:
                is_ours = file.stat().st_ino == inode
            except FileNotFoundError:
                is_ours = False
            if not is_ours:
                raise LedgerUnavailable(
                    f"{file} was deleted or replaced while it was open. Nothing is written any more, so that nothing is "
                    "lost: stop the gateway, put the file back or restore a backup, and start it again."
                )

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, OverflowError) as error:
            raise StoreError(f"{self._path}: {str(error).rstrip('.')}. {_advice(error)}") from error


class _Asked(Generic[T]):
    """One transaction that waits for its turn. As a context it keeps what is raised inside for whoever asked."""

    def __init__(self, steps: Callable[[], Steps[T]]) -> None:
        self.steps = steps
        self.answer: Future[T] = Future()
        self.result: T | None = None
        self.error: BaseException | None = None

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> bool:
        self.error = error
        return error is not None

    def tell(self, failure: StoreError | None) -> None:
        """Answer. failure: of the group, which undid this one too."""
        error = self.error or failure
        if error is None:
            self.answer.set_result(self.result)  # type: ignore[arg-type]
        else:
            self.answer.set_exception(error)


# ── one connection, always by the same cursor: Python remembers up to 200 that have been thrown away ──


@contextmanager
def _transaction(cursor: sqlite3.Cursor, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
    cursor.execute(begin)
    try:
        yield
        cursor.execute("COMMIT")
    except BaseException:
        if cursor.connection.in_transaction:
            cursor.execute("ROLLBACK")
        raise


def _run(cursor: sqlite3.Cursor, steps: Steps[T]) -> T:
    """Give the generator the rows of each of its statements; return its result."""
    try:
        statement = next(steps)
        while True:
            statement = steps.send(_rows(cursor, statement))
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    finally:
        steps.close()


def _rows(cursor: sqlite3.Cursor, statement: Statement) -> Rows:
    if isinstance(statement, Load):
        return _load(cursor, statement)
    return cursor.execute(statement.text, clean(statement.values)).fetchall()


def _load(cursor: sqlite3.Cursor, load: Load) -> Rows:
    """Put in all of a chunk at once; one with a row that is there already is undone and put in row by row."""
    table, columns, place = names(load)
    new: list[tuple[Any]] = []
    left = deque(load.rows)
    while left:
        count = min(ROWS_AT_ONCE, 1 << (len(left).bit_length() - 1))  # a power of two: few statements, which are kept
        rows = [clean(left.popleft()) for _ in range(count)]
        cursor.execute("SAVEPOINT load")
        values = [value for row in rows for value in row]
        if cursor.execute(insert(table, columns, load.unique, count), values).rowcount == count:
            new += [(row[place],) for row in rows]
        else:
            cursor.execute("ROLLBACK TO load")
            alone = insert(table, columns, load.unique, 1)
            new += [(row[place],) for row in rows if cursor.execute(alone, row).rowcount]
        cursor.execute("RELEASE load")
    return new


def _advice(error: Exception) -> str:
    code = getattr(error, "sqlite_errorcode", -1) & 0xFF  # without the details of sqlite.org/rescode.html
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return "Another process holds it; what is not written is tried again."
    if code == sqlite3.SQLITE_FULL:
        return "Make room on its disk."
    if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return "It is damaged: restore a backup."
    if code in {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH}:
        return "This is a mistake of Turnout's own: please report it."
    return "Is the disk full, or the file not ours to write?"

"""Reads and makes backups: one SQLite file with all tables of the books, whichever database those are in.

So a backup can be looked at with any SQLite, and the books of one kind of database can be restored into the other.
A file is filled in one transaction, without the triggers that guard tables in use; these are put back at its end.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

import msgspec

from turnout.core.books.loading import dropping, whole
from turnout.core.books.statements import Row
from turnout.errors import StoreError
from turnout.stores.migrations import APPLIED, BEGINNING, Migration, missing, shipped, statements

PAGE_ROWS: Final = 1_000

TABLES: Final = """
SELECT name FROM sqlite_master
WHERE type = 'table' AND substr(name, 1, 7) <> 'sqlite_' AND name <> 'migration' ORDER BY name
"""

TRIGGERS: Final = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY name"


class Contents(msgspec.Struct, frozen=True):
    """What a backup holds: entries of the ledger, and what they cost together; its size."""

    entries: int
    cost_nano_usd: int
    size_bytes: int


class BooksFile:
    """A backup at `path`, which exists; a new one is empty. Everything raises StoreError. For one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._mapped():
            self._file = sqlite3.connect(path, isolation_level=None, check_same_thread=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB:
                raise self._none_of_ours() from error
            raise StoreError(f"{self._path}: {error}") from error

    def _none_of_ours(self) -> StoreError:
        return StoreError(f"{self._path} is no backup of Turnout's: `turnout backup FILE` makes one.")

    def begin(self, ours: Sequence[Migration]) -> list[tuple[str, str]]:
        """Make all tables, empty and unguarded; return the triggers, for `finish`."""
        with self._mapped():
            self._file.execute("PRAGMA journal_mode = OFF")  # a file that is not whole is thrown away
            self._file.execute("BEGIN")
            for text in (*statements(BEGINNING), *(text for one in ours for text in statements(one.text))):
                self._file.execute(text)
            triggers = self._file.execute(TRIGGERS).fetchall()
            for name, _ in triggers:
                self._file.execute(dropping(name))
            for table in self.tables():
                self._file.execute(whole(table, ()).empty)
            filled = whole("migration", ("version", "name", "sha256")).fill
            self._file.executemany(filled, [(one.version, one.name, one.sha256) for one in ours])
            return triggers

    def finish(self, triggers: Sequence[tuple[str, str]]) -> None:
        """Put the guards back; it is whole then."""
        with self._mapped():
            for _, text in triggers:
                self._file.execute(text)
            self._file.execute("COMMIT")

    def tables(self) -> list[str]:
        """Return the names of all tables."""
        with self._mapped():
            return [name for (name,) in self._file.execute(TABLES)]

    def columns(self, table: str) -> list[str]:
        """Return the names of a table's columns."""
        with self._mapped():
            return [name for (name,) in self._file.execute("SELECT name FROM pragma_table_info(?)", (table,))]

    def fill(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        """Append rows to a table."""
        with self._mapped():
            self._file.executemany(whole(table, columns).fill, rows)

    def pages(self, table: str, columns: Sequence[str]) -> Iterator[list[Row]]:
        """Yield a table's rows, PAGE_ROWS at a time, in the order of its key."""
        with self._mapped():
            found = self._file.execute(whole(table, columns).read)
            while rows := found.fetchmany(PAGE_ROWS):
                yield rows

    def check(self) -> Contents:
        """Look whether it is undamaged and of a version that we know; return what is in it. 3 s a million entries."""
        with self._mapped():
            told = self._file.execute("PRAGMA quick_check(1)").fetchone()[0]
            if told != "ok":
                raise StoreError(f"{self._path} is damaged: {told}")
            if "entry" not in self.tables():
                raise self._none_of_ours()
            missing(shipped("sqlite"), self._file.execute(APPLIED).fetchall(), str(self._path))
            entries, cost = self._file.execute("SELECT count(*), coalesce(sum(cost_nano_usd), 0) FROM entry").fetchone()
            return Contents(entries, cost, self._path.stat().st_size)

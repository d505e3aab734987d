"""The books in memory, for tests that need thousands of them: SQLite without file, thread or wait, on any event loop."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import TypeVar

from turnout.core.books.loading import clean, insert, names
from turnout.core.books.statements import Load, Rows, Statement, Steps
from turnout.stores.migrations import shipped

T = TypeVar("T")


class MemoryBooks:
    """As stores/sqlite_books.py, one transaction after the other."""

    def __init__(self) -> None:
        self._database = sqlite3.connect(":memory:", isolation_level=None)
        self._database.executescript("".join(one.text for one in shipped("sqlite")))

    async def write(self, steps: Callable[[], Steps[T]]) -> T:
        """Run it, all or nothing."""
        self._database.execute("BEGIN")
        try:
            result = self._run(steps())
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")
        return result

    async def read(self, steps: Callable[[], Steps[T]]) -> T:
        """Run it."""
        return self._run(steps())

    def _run(self, running: Steps[T]) -> T:
        rows: Rows | None = None
        try:
            while True:
                rows = self._rows(running.send(rows))  # type: ignore[arg-type]
        except StopIteration as end:
            return end.value

    def _rows(self, statement: Statement) -> Rows:
        if not isinstance(statement, Load):
            return self._database.execute(statement.text, clean(statement.values)).fetchall()
        table, columns, at = names(statement)
        new = []
        for row in statement.rows:
            told = self._database.execute(insert(table, columns, statement.unique, 1), clean(row))
            if told.rowcount:
                new.append((row[at],))
        return new

    async def open(self) -> None:
        """It is open."""

    async def wait(self, since: int) -> int:
        """Nobody changes."""
        return since

    async def close(self) -> None:
        """Forget it."""
        self._database.close()

    def snapshot(self) -> bytes:
        """All of it, for another to begin with."""
        return self._database.serialize()

    @classmethod
    def of(cls, snapshot: bytes) -> MemoryBooks:
        """Begin with all of another: a hundred times quicker than making the tables."""
        made = cls.__new__(cls)
        made._database = sqlite3.connect(":memory:", isolation_level=None)
        made._database.deserialize(snapshot)
        return made

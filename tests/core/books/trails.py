"""An audit trail of its own in memory, to be written, checked and tampered with."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import turnout.stores
from turnout.core.books.audit import Chain, Record, append, pages
from turnout.core.books.statements import Sql

TABLES = (Path(turnout.stores.__file__).parent / "migrations/0003_audit.sqlite.sql").read_text(encoding="utf-8")
TRIGGERS = ("audit_no_update", "audit_no_delete", "audit_in_order", "audit_head_forward", "audit_head_stays")


class Trail:
    """An empty trail in memory; or the books in `rows`, a connection of the caller's without transactions of its own."""

    def __init__(self, rows=None):
        self.rows = rows
        if rows is None:
            self.rows = sqlite3.connect(":memory:", isolation_level=None)
            self.rows.executescript(TABLES)

    def run(self, steps):
        """Run a transaction; return its result."""
        self.rows.execute("BEGIN")
        try:
            statement = next(steps)
            while True:
                assert isinstance(statement, Sql)
                statement = steps.send(self.rows.execute(statement.text, statement.values).fetchall())
        except StopIteration as end:
            self.rows.execute("COMMIT")
            return end.value
        except BaseException:
            self.rows.execute("ROLLBACK")
            raise

    def fill(self, count):
        """Write so many rows."""
        for number in range(count):
            self.run(append(record(number)))

    def tamper(self, *statements):
        """Do what the triggers forbid, as somebody may who holds the file."""
        for name in TRIGGERS:
            self.rows.execute(f"DROP TRIGGER IF EXISTS {name}")
        for text in statements:
            self.rows.execute(text)

    def verified(self, noted=None, page=3):
        """Return what `verify` says, reading so many rows at a time."""
        chain = Chain(noted)
        while True:
            rows, head = self.run(pages(chain.head.seq, page))
            if wrong := chain.follow(rows):
                return wrong
            if len(rows) < page:
                return chain.end(head)


def record(number, **values):
    """One row."""
    return Record(1_700_000_000_000 + number, "k_1", "admin", "127.0.0.1", "key.create", f"key {number}", **values)

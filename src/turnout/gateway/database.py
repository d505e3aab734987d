"""Decides which database the books are in: the PostgreSQL of `ledger.url`, else a SQLite file beside the other state."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from turnout.core.catalog import Snapshot
from turnout.stores import Database
from turnout.stores.postgres_books import PostgresBooks
from turnout.stores.sqlite_books import SqliteBooks

FILE: Final = "books.sqlite3"


def database_of(snapshot: Snapshot) -> Database:
    """Return the database, not opened yet. Raises StoreError where PostgreSQL is asked for and its library is not there."""
    url = snapshot.ledger.url
    if url is not None:
        return PostgresBooks(url.reveal())
    return SqliteBooks(Path(snapshot.server.home) / FILE)

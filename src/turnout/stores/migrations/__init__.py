"""Decides which numbered SQL files a database of the books still needs, and refuses one that it does not understand.

Files are `NNNN_name.sqlite.sql` and `NNNN_name.postgres.sql` in this folder, beside each other; they are applied in the
order of their numbers, each in one transaction with its row in the table `migration`, so a kill leaves it whole or not
begun. What has been published never changes: its sha256 is in the table. They only add (a table, a column with a default,
an index), so a gateway of the version before goes on beside one of this version.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from hashlib import sha256
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Literal

import msgspec

from turnout.core.books.statements import Rows
from turnout.errors import StoreError

Dialect = Literal["sqlite", "postgres"]

APPLIED = "SELECT version, name, sha256 FROM migration ORDER BY version"

BEGINNING = (
    "CREATE TABLE IF NOT EXISTS migration (version BIGINT PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL, "
    "applied_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP); CREATE TABLE IF NOT EXISTS books (id TEXT NOT NULL);"
)
"""What is there before the first step: which were made, and a name for these books, which no others have."""


class Migration(msgspec.Struct, frozen=True):
    """One step. version: its number. sha256: of its text, in hex."""

    version: int
    name: str
    text: str
    sha256: str


def shipped(dialect: Dialect, folder: Traversable | None = None) -> tuple[Migration, ...]:
    """Return this program's migrations, in order. folder: where they are, ours unless told. Reads about ten files."""
    ending = f".{dialect}.sql"
    found = []
    for file in (folder or resources.files(__name__)).iterdir():
        if file.name.endswith(ending):
            number, _, name = file.name.removesuffix(ending).partition("_")
            body = file.read_bytes()
            found.append(Migration(int(number), name, body.decode(), sha256(body).hexdigest()))
    return tuple(sorted(found, key=lambda one: one.version))


def missing(ours: Sequence[Migration], applied: Rows, where: str) -> tuple[Migration, ...]:
    """Return what is still to be applied. applied: rows of APPLIED. where: names the database, for people.

    Raises StoreError for a database that a newer Turnout has changed, or whose history is not ours.
    """
    known = {one.version: one for one in ours}
    for version, name, told in applied:
        mine = known.get(version) if isinstance(version, int) else None
        if mine is None:
            raise StoreError(
                f"{where} was brought to version {version!s} ({name!s}) by a newer Turnout; this one knows versions up to "
                f"{max(known, default=0)}. Nothing was changed. Install that Turnout again, or restore a backup from before."
            )
        if mine.sha256 != told:
            raise StoreError(
                f"{where} was made by another text of migration {mine.version:04d}_{mine.name} than this Turnout has, so its "
                "tables may be other than they should be. Nothing was changed. Install the Turnout that made it, or "
                "restore a backup."
            )
    done = {row[0] for row in applied}
    return tuple(one for one in ours if one.version not in done)


def statements(script: str) -> Iterator[str]:
    """Cut a script for SQLite into statements, which it takes one by one in a transaction; a trigger's body stays whole."""
    waiting = ""
    for part in script.split(";"):
        waiting += f"{part};"
        if sqlite3.complete_statement(waiting):
            yield waiting
            waiting = ""

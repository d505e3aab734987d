"""Names what a transaction is made of, free of the database that runs it.

A transaction is a generator: it yields a statement and gets its rows back, and returns the result of the whole:

    def spent(budget: str) -> Steps[int]:
        rows = yield Sql("SELECT spent_nano_usd FROM budget_window WHERE budget = ?", (budget,))
        return rows[0][0] if rows else 0

All or nothing: an exception from the generator, or from the database into it, undoes everything. It may be run again from
its beginning (a deadlock, a serialisation failure), so it holds no state outside itself: a database is given a function
that makes it, not the generator.
The text is static and takes its values by `?` in order (RELIABILITY R: no dynamic SQL); it is SQL that SQLite 3.40 and
PostgreSQL 15 both know: INTEGER and TEXT, BLOB (BYTEA there), REAL; ON CONFLICT; RETURNING. Booleans are 0 and 1.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TypeAlias, TypeVar

import msgspec

Value: TypeAlias = int | float | str | bytes | None
Row: TypeAlias = tuple[Value, ...]
Rows: TypeAlias = Sequence[Row]

T = TypeVar("T")


class Sql(msgspec.Struct, frozen=True):
    """One statement; its rows come back ([] if it has none)."""

    text: str
    values: tuple[Value, ...] = ()


class Load(msgspec.Struct, frozen=True):
    """Many rows into one table. PostgreSQL takes them by COPY.

    unique: the column that tells one row from another: rows whose value is there already are left out, and the values of
    those that were new come back, one column, in no order. Within `rows` it must not repeat.
    """

    table: str
    columns: tuple[str, ...]
    rows: Rows
    unique: str


Statement: TypeAlias = Sql | Load
Steps: TypeAlias = Generator[Statement, Rows, T]

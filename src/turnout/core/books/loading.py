"""Builds the few statements that cannot be static, since they are about any table; and makes text storable.

Many rows into the table that a Load names; and for a backup, whole tables. Table and columns come from our own code and are names of lower-case letters, digits and `_`, or nothing is built; values
are always bound. Text that PostgreSQL or SQLite cannot hold (NUL, half a surrogate pair: a caller's JSON may have both)
becomes U+FFFD, in both databases alike, since a row that can never be written would hold up all behind it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from itertools import zip_longest
from typing import NamedTuple

from turnout.core.books.statements import Load, Row, Value

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}\Z")
_MARK = re.compile(r"'(?:[^']|'')*'|\?")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def names(load: Load) -> tuple[str, tuple[str, ...], int]:
    """Return table, columns, and the place of `unique` among them. Raises ValueError for anything that is no plain name."""
    _check(load.table, *load.columns)
    return load.table, load.columns, load.columns.index(load.unique)


@lru_cache(maxsize=64)
def insert(table: str, columns: tuple[str, ...], unique: str, count: int) -> str:
    """Return the statement that puts `count` rows into a table, all values bound with `?`, known ones left out.

    The names are as `names` returned them. O(values), once.
    """
    row = ", ".join("?" * len(columns)).join("()")
    return " ".join(
        (
            *("INSERT INTO", table, ", ".join(columns).join("()"), "VALUES", ", ".join([row] * count)),
            *("ON CONFLICT", unique.join("()"), "DO NOTHING"),
        )
    )


@lru_cache(maxsize=64)
def copying(table: str, columns: tuple[str, ...], unique: str) -> tuple[str, str, str]:
    """Return, for PostgreSQL: a temporary table's name, the statement that makes it where it is not there yet, and the one
    that takes its rows over, whose rows are the values of `unique` that were new. O(columns), once.
    """
    copied = "_".join(("load", sha256(" ".join((table, *columns)).encode()).hexdigest()[:16]))
    listed = ", ".join(columns)
    made = " ".join(
        (
            *("CREATE TEMPORARY TABLE IF NOT EXISTS", copied, "ON COMMIT DELETE ROWS"),
            *("AS SELECT", listed, "FROM", table, "WITH NO DATA"),
        )
    )
    taken = " ".join(
        (
            *("INSERT INTO", table, listed.join("()"), "SELECT", listed, "FROM", copied),
            *("ON CONFLICT", unique.join("()"), "DO NOTHING RETURNING", unique),
        )
    )
    return copied, made, taken


class Whole(NamedTuple):
    """Statements about a whole table. fill: one row, its values bound with `?`. unguard, guard: its triggers, PostgreSQL."""

    read: str
    empty: str
    fill: str
    unguard: str
    guard: str


def whole(table: str, columns: Sequence[str]) -> Whole:
    """Return the statements about a whole table. Raises ValueError, as `names`."""
    _check(table, *columns)
    listed = ", ".join(columns)
    marks = ", ".join("?" * len(columns))
    words = (
        ("SELECT", listed, "FROM", table),
        ("DELETE FROM", table),
        ("INSERT INTO", table, listed.join("()"), "VALUES", marks.join("()")),
        ("ALTER TABLE", table, "DISABLE TRIGGER USER"),
        ("ALTER TABLE", table, "ENABLE TRIGGER USER"),
    )
    return Whole(*map(" ".join, words))


def dropping(trigger: str) -> str:
    """Return the statement that takes a trigger away. Raises ValueError, as `names`."""
    _check(trigger)
    words = ("DROP TRIGGER", trigger)
    return " ".join(words)


def _check(*given: str) -> None:
    for name in given:
        if not _NAME.match(name):
            raise ValueError(f"{name!r} is no name of a table or a column")


@lru_cache(maxsize=512)
def numbered(text: str) -> str:
    """Return a statement with $1, $2 … for each ? that is not inside quotes, as PostgreSQL wants it. O(text), once a text."""
    marks = _MARK.findall(text)
    done, count = [], 0
    for part, mark in zip_longest(_MARK.split(text), marks, fillvalue=""):
        count += mark == "?"
        done += [part, f"${count}" if mark == "?" else mark]
    return "".join(done)


def clean(values: Row) -> Row:
    """Return the values as both databases can hold them; the same object if they can, as nearly always. 60 ns a value."""
    for value in values:
        if type(value) is str and not (value.isascii() and "\x00" not in value) and _UNSTORABLE.search(value):
            return tuple(map(_cleaned, values))
    return values


def _cleaned(value: Value) -> Value:
    return _UNSTORABLE.sub("\ufffd", value) if isinstance(value, str) else value

"""Keeps the audit trail: who did or tried what, when, from where, what was before and what after; append-only, as a chain.

Each row's hash is SHA-256 over the JSON array of the hash before it and the row's own values, so a row that was changed,
taken out, put in or moved no longer fits the rest, and anybody can check it with an export alone. Who may write the
database could also write all of it anew: against that, note the head elsewhere (a start logs it, `turnout audit verify`
prints it) and have it checked. The database refuses UPDATE and DELETE by triggers (migration 0003).
A change within the books and its row are one transaction (`recorded`): there is no change without its row, and no row
without its change. Source: RELIABILITY T100 and §2.1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

import msgspec

from turnout.core.books.loading import clean
from turnout.core.books.statements import Row, Sql, Steps

Outcome = Literal["done", "refused", "failed"]
"""done: it holds. refused: who asked may not. failed: they may, and it did not come about."""

T = TypeVar("T")

COLUMNS = (
    "seq",
    "at_ms",
    "actor",
    "role",
    "address",
    "action",
    "target",
    "outcome",
    "reason",
    "times",
    "before",
    "after",
)
"""Of a row, in the order of its hash; `hash` follows them."""


class Record(msgspec.Struct, frozen=True):
    """What one row tells. actor: a key's name, "master", "command USER", "config", "" for nobody we know.

    at_ms: Unix milliseconds, of the latest where it stands for several. address: where it came from. action: as in
    "key.create". target: what it is about. reason: why it was refused or failed, an error's code. times: how many equal
    attempts it stands for. before, after: JSON, "" for nothing.
    """

    at_ms: int
    actor: str
    role: str
    address: str
    action: str
    target: str = ""
    outcome: Outcome = "done"
    reason: str = ""
    times: int = 1
    before: str = ""
    after: str = ""


class Head(msgspec.Struct, frozen=True):
    """Where the trail ends. seq: the number of its last row, 0 for none. hash: that row's, in hexadecimal digits."""

    seq: int = 0
    hash: str = ""


class Wanted(msgspec.Struct, frozen=True):
    """Which rows to list: "" and 0 for any. actor and target are whole, action is whole or a beginning up to a dot."""

    actor: str = ""
    action: str = ""
    target: str = ""
    outcome: str = ""
    since_ms: int = 0


def append(record: Record) -> Steps[Head]:
    """Write one row; return where the trail ends now. Three statements."""
    ends = yield Sql("UPDATE audit_head SET seq = seq + 1 WHERE id = 1 RETURNING seq, hash")
    (seq, before) = ends[0]
    row = clean((seq, *msgspec.structs.astuple(record)))  # as it will be read back: its hash is over that
    hash_ = link(str(before), row)
    yield Sql(
        "INSERT INTO audit (seq, at_ms, actor, role, address, action, target, outcome, reason, times, before, after, hash)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*row, hash_),
    )
    yield Sql("UPDATE audit_head SET hash = ? WHERE id = 1", (hash_,))
    assert isinstance(seq, int)
    return Head(seq, hash_)


def append_all(records: Sequence[Record]) -> Steps[None]:
    """Write several rows, in order."""
    for record in records:
        yield from append(record)


def recorded(change: Steps[T], record: Callable[[T], Record]) -> Steps[T]:
    """Make a change, and write its row in the same transaction. record: from what the change returned."""
    result = yield from change
    yield from append(record(result))
    return result


def link(before: str, row: Row) -> str:
    """Return the hash of a row. before: the hash of the one before it, "" for the first. row: its values, as COLUMNS."""
    return hashlib.sha256(msgspec.json.encode([before, *row])).hexdigest()


def latest(wanted: Wanted, count: int, below: int = 0) -> Steps[list[tuple[int, Record]]]:
    """Return the newest rows that are wanted, newest first, with their numbers. below: only rows before that one, 0 for all."""
    rows = yield Sql(
        "SELECT seq, at_ms, actor, role, address, action, target, outcome, reason, times, before, after FROM audit"
        " WHERE (? = 0 OR seq < ?) AND (? = '' OR actor = ?) AND (? = '' OR target = ?) AND (? = '' OR outcome = ?)"
        " AND (? = '' OR action = ? OR substr(action, 1, ?) = ?) AND at_ms >= ?"
        " ORDER BY seq DESC LIMIT ?",
        (
            *(below, below),
            *(wanted.actor, wanted.actor),
            *(wanted.target, wanted.target),
            *(wanted.outcome, wanted.outcome),
            *(wanted.action, wanted.action, len(wanted.action) + 1, wanted.action + "."),
            wanted.since_ms,
            count,
        ),
    )
    return [(int(row[0]), Record(*row[1:])) for row in rows]  # type: ignore[arg-type]


def pages(after: int, count: int) -> Steps[tuple[Sequence[Row], Head]]:
    """Return up to `count` rows in order from the one after `after` on, each with its hash last; and where the trail ends."""
    ends = yield Sql("SELECT seq, hash FROM audit_head WHERE id = 1")
    rows = yield Sql(
        "SELECT seq, at_ms, actor, role, address, action, target, outcome, reason, times, before, after, hash FROM audit"
        " WHERE seq > ? ORDER BY seq LIMIT ?",
        (after, count),
    )
    (seq, hash_) = ends[0] if ends else (0, "")
    return rows, Head(int(seq or 0), str(hash_))


class Chain:
    """Checks rows that come in order. head: the last one that was right."""

    __slots__ = ("_noted", "head")

    def __init__(self, noted: Head | None = None) -> None:
        """noted: a head of this trail that was written down elsewhere; its hash may be the beginning of one."""
        self.head = Head()
        self._noted = noted

    def follow(self, rows: Sequence[Row]) -> str:
        """Go on over these rows. Return "", or what is wrong with the first that does not fit. O(rows), 6 µs each."""
        for row in rows:
            seq, hash_ = row[0], str(row[-1])
            expected = self.head.seq + 1
            if seq != expected:
                return f"row {expected} is missing: row {seq!r} comes after row {self.head.seq}"
            if link(self.head.hash, row[:-1]) != hash_:
                return f"row {seq} is not as it was written, or not where it was written"
            self.head = Head(expected, hash_)
            if self._noted is not None and self._noted.seq == seq and not hash_.startswith(self._noted.hash):
                return f"row {seq} is another than when {self._noted.hash} was noted for it: the trail was written anew"
        return ""

    def end(self, head: Head) -> str:
        """Compare with where the database says that the trail ends, once there are no more rows. Return "" or what is wrong."""
        at = self.head.seq
        if head.seq > at:
            return f"row {at + 1} is missing: the trail ends at row {at}, and {head.seq} were written"
        if head != self.head:
            return (
                f"row {head.seq + 1} was not written by a gateway"
                if head.seq < at
                else f"row {at} is not the last that was written"
            )
        if self._noted is not None and self._noted.seq > at:
            return f"row {at + 1} is missing: the trail ends at row {at}, and row {self._noted.seq} was noted"
        return ""

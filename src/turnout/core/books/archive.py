"""Says which entries are old enough to leave the ledger, and takes them out once they are in an archive.

What leaves is always the beginning of the table: the first entries, up to the first that is too young. So it is the
beginning of every writer's chain too, and a mark a writer (`entry_archived`) says where what is left of it goes on; the
sums by hour stay. An entry is deleted in the transaction that moves the marks over it, and never without (a trigger refuses
it otherwise). In batches, since a transaction holds up all others while it lasts.
What a budget spent in a period leaves once the archive is past that period's end: until then the ledger can be compared with
it (core/books/verifying.py). Where entries are kept for ever so are periods: there are never more of them than entries.
"""

from __future__ import annotations

from typing import Final, cast

from turnout.core.books.ledger import COLUMNS
from turnout.core.books.statements import Row, Sql, Steps
from turnout.core.books.verifying import PAGE

AT: Final = COLUMNS.index("at_ms")

FIRST: Final = "SELECT seq, at_ms FROM entry ORDER BY seq LIMIT 1"

LEAVING: Final = "SELECT seq, writer, number, chain, at_ms FROM entry WHERE seq <= ? ORDER BY seq LIMIT ?"

MARK: Final = """
INSERT INTO entry_archived (writer, entries, chain, last_at_ms) VALUES (?, ?, ?, ?)
ON CONFLICT (writer) DO UPDATE SET entries = excluded.entries, chain = excluded.chain, last_at_ms = excluded.last_at_ms
"""

YOUNGEST: Final = "SELECT coalesce(max(last_at_ms), 0) FROM entry_archived"

DELETE: Final = "DELETE FROM entry WHERE seq <= ?"


DROP_PERIODS: Final = """
DELETE FROM budget_period WHERE (budget, starts_at) IN (
    SELECT budget, starts_at FROM budget_period
    WHERE ends_at <= ? AND ends_at + 2 * (ends_at - starts_at) <= ? AND NOT EXISTS (
        SELECT 1 FROM lease WHERE lease.budget = budget_period.budget AND lease.starts_at = budget_period.starts_at
    )
    ORDER BY ends_at LIMIT ?
) RETURNING budget
"""
"""Twice its own length after its end a period is not the one before that of now, however short February was. What is for
life has no end, nor has what was never opened."""


def first(before_ms: int) -> Steps[int | None]:
    """Return the number in the table of the first entry, if it is older than `before_ms` (Unix milliseconds). O(log n)."""
    rows = yield Sql(FIRST)
    if not rows:
        return None
    seq, at_ms = cast("tuple[int, int]", tuple(rows[0]))
    return seq if at_ms < before_ms else None


def page(after: int, before_ms: int, count: int) -> Steps[list[Row]]:
    """Return the next entries, at most `count`, up to the first that is not older than `before_ms`.

    after: the number in the table that they come after. Rows are COLUMNS of core/books/ledger.py, then that number.
    """
    old: list[Row] = []
    for row in (yield Sql(PAGE, (after, count))):
        if cast("int", row[AT]) >= before_ms:
            break
        old.append(tuple(row))
    return old


def drop(until: int, count: int) -> Steps[int]:
    """Take out the first entries up to number `until` in the table, at most `count`; return how many. 10 µs an entry."""
    leaving = yield Sql(LEAVING, (until, count))
    if not leaving:
        return 0
    ((youngest,),) = yield Sql(YOUNGEST)
    marks: dict[str, tuple[int, bytes]] = {}
    last, last_at = 0, cast("int", youngest)
    for seq, writer, number, chain, at_ms in leaving:
        marks[str(writer)] = (cast("int", number), cast("bytes", chain))
        last, last_at = cast("int", seq), max(last_at, cast("int", at_ms))
    for writer, (number, chain) in sorted(marks.items()):
        yield Sql(MARK, (writer, number, chain, last_at))
    yield Sql(DELETE, (last,))
    return len(leaving)


def drop_periods(wall: int, count: int) -> Steps[int]:
    """Take out periods of budgets that ended before the youngest archived entry, at most `count`; return how many.

    wall: Unix seconds. Never one that has not ended, nor the one before it, nor one that somebody holds a lease of. 10 µs each.
    """
    ((youngest,),) = yield Sql(YOUNGEST)
    return len((yield Sql(DROP_PERIODS, (cast("int", youngest) // 1000, wall, count))))

"""What is old leaves the ledger from its beginning, with its marks, and what stays is as checkable as before."""

from __future__ import annotations

import pytest

from tests.entries import AT_MS, entry
from turnout.core.books.archive import drop, first, page
from turnout.core.books.ledger import COLUMNS, append
from turnout.core.books.statements import Sql
from turnout.core.books.verifying import verify
from turnout.errors import StoreError


async def filled(database, *ages, writer="w1"):
    """Entries of one writer, each so many milliseconds old when the next one is."""
    entries = [entry(attempt_id=f"{writer}-{n}-{age}", at_ms=AT_MS - age) for n, age in enumerate(ages)]
    await database.write(lambda: append(writer, entries))
    return entries


async def names(database):
    rows = await database.read(lambda: (yield Sql("SELECT attempt_id FROM entry ORDER BY seq")))
    return [name for (name,) in rows]


async def test_only_what_is_old_and_has_nothing_young_before_it_leaves(database):
    """The first entries, up to the first that is too young; none of an empty ledger."""
    assert None is await database.read(lambda: first(AT_MS))
    await filled(database, 30, 20, 5, 25)
    seq = await database.read(lambda: first(AT_MS - 10))
    assert isinstance(seq, int)
    assert None is await database.read(lambda: first(AT_MS - 30))
    rows = await database.read(lambda: page(seq - 1, AT_MS - 10, 100))
    assert ["w1-0-30", "w1-1-20"] == [row[0] for row in rows]
    assert [[seq, "w1-0-30"]] == [
        [row[-1], row[0]] for row in await database.read(lambda: page(seq - 1, AT_MS - 10, 1))
    ]
    assert len(COLUMNS) + 1 == len(rows[0])
    assert [] == await database.read(lambda: page(rows[-1][-1], AT_MS - 10, 100))


async def test_what_is_left_is_whole(database):
    """Two writers, mixed; the marks move with what is taken out, in batches; a chain goes on after them."""
    await filled(database, 50, 40)
    await filled(database, 45, 1, writer="w2")
    await filled(database, 3)
    rows = await database.read(lambda: page(0, AT_MS - 10, 100))
    last = rows[-1][-1]
    assert 2 == await database.write(lambda: drop(last, 2))
    assert (await database.read(verify)).is_whole
    assert 1 == await database.write(lambda: drop(last, 2))
    assert 0 == await database.write(lambda: drop(last, 2))
    assert ["w2-1-1", "w1-0-3"] == await names(database)
    marks = await database.read(
        lambda: (yield Sql("SELECT writer, entries, last_at_ms FROM entry_archived ORDER BY writer"))
    )
    assert [("w1", 2, AT_MS - 40), ("w2", 1, AT_MS - 40)] == [tuple(row) for row in marks]
    await filled(database, 0, writer="w2")
    verdict = await database.read(verify)
    assert (True, 3, AT_MS - 40) == (verdict.is_whole, verdict.entries, verdict.archived_until_ms)


async def test_nothing_leaves_without_its_mark(database):
    """A trigger refuses it, whoever asks."""
    await filled(database, 50, 40)
    for text in ("DELETE FROM entry", "DELETE FROM entry WHERE number = 2", "UPDATE entry SET cost_nano_usd = 0"):
        with pytest.raises(StoreError, match="append-only"):
            await database.write(lambda text=text: (yield Sql(text)))
    await database.write(lambda: drop(10**9, 1))
    with pytest.raises(StoreError, match="append-only"):
        await database.write(lambda: (yield Sql("DELETE FROM entry")))
    assert ["w1-1-40"] == await names(database)

"""What is old leaves the ledger from its beginning, with its marks, and what stays is as checkable as before."""

from __future__ import annotations

import pytest

from tests.entries import AT_MS, entry
from turnout.core.books.archive import drop, drop_periods, first, page
from turnout.core.books.entry import Charge
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


# ── periods of budgets ──

DAY_S = 86_400
NOW = AT_MS // 1000


async def opened(database, *periods):
    """Periods by name, each with its length and the age of its end in days; None for one that is for life."""

    def steps():
        for name, days, age in periods:
            ends_at = None if age is None else NOW - age * DAY_S
            yield Sql(
                "INSERT INTO budget_period (budget, starts_at, ends_at, rule, scope, who, limit_nano_usd, spent_nano_usd,"
                " seeded_nano_usd, recalls, is_open) VALUES (?, ?, ?, 'r', 'user', ?, 100, 0, 0, 0, 1)",
                (name, NOW - days * DAY_S if ends_at is None else ends_at - days * DAY_S, ends_at, name),
            )

    await database.write(steps)


async def periods(database):
    rows = await database.read(lambda: (yield Sql("SELECT budget FROM budget_period ORDER BY budget")))
    return [name for (name,) in rows]


async def archived_until(database, age):
    """Let everything older than so many days be archived."""
    await filled(database, age * DAY_S * 1000, 0)
    rows = await database.read(lambda: page(0, AT_MS, 1))
    assert 1 == await database.write(lambda: drop(rows[0][-1], 1))


async def test_periods_that_are_wholly_archived_leave_in_batches(database):
    """None that has not ended, that is for life, that is the one before that of now, or whose lease somebody holds."""
    await opened(
        database,
        *(("a", 1, 100), ("b", 28, 90), ("c", 28, 91), ("held", 1, 100), ("life", 400, None)),
        *(("month before", 28, 55), ("year", 90, 91), ("now", 28, -1), ("young", 1, 89)),
    )

    def hold():
        yield Sql(
            "INSERT INTO lease (writer, budget, starts_at, amount_nano_usd, expires_at) VALUES ('w', 'held', ?, 0, 0)",
            (NOW - 101 * DAY_S,),
        )

    await database.write(hold)
    assert 0 == await database.write(lambda: drop_periods(NOW, 9))
    await archived_until(database, 90)
    assert 2 == await database.write(lambda: drop_periods(NOW, 2))
    assert 1 == await database.write(lambda: drop_periods(NOW, 2))
    assert 0 == await database.write(lambda: drop_periods(NOW, 2))
    assert ["held", "life", "month before", "now", "year", "young"] == await periods(database)
    assert (await database.read(verify)).is_whole


async def test_a_period_whose_end_is_not_archived_stays_comparable_with_its_entries(database):
    """Whatever its age: the ledger has entries of it, and says what they come to."""
    charge = Charge("user:*/anna", NOW - 100 * DAY_S)
    booked = [
        entry(attempt_id=f"a{days}", at_ms=AT_MS - days * DAY_S * 1000, cost_nano_usd=5, charges=(charge,))
        for days in (100, 99, 98)
    ]

    def book():
        yield from append("w1", booked)
        yield Sql("UPDATE budget_period SET ends_at = ? WHERE budget = ?", (NOW - 98 * DAY_S, charge.budget))

    await database.write(book)
    for remaining in (2, 1):
        rows = await database.read(lambda: page(0, AT_MS, 1))
        await database.write(lambda last=rows[0][-1]: drop(last, 1))
        assert 0 == await database.write(lambda: drop_periods(NOW, 9))
        assert remaining == (await database.read(verify)).entries
        assert (await database.read(verify)).is_whole
    assert ["user:*/anna"] == await periods(database)

"""T30: however often, in whatever order and in whatever parts batches of entries reach the books, each attempt is there once and every sum is the same."""

from __future__ import annotations

import random

from tests.entries import AT_MS, entry
from turnout.core.books.entry import Charge
from turnout.core.books.ledger import append
from turnout.core.books.statements import Sql
from turnout.core.books.verifying import verify


def sums():
    entries = yield Sql("SELECT COUNT(*), SUM(cost_nano_usd) FROM entry")
    hours = yield Sql("SELECT SUM(attempts), SUM(cost_nano_usd) FROM rollup")
    spent = yield Sql("SELECT SUM(spent_nano_usd) FROM budget_period")
    return [tuple(int(str(value)) for value in row) for rows in (entries, hours, spent) for row in rows]


async def test_t30_batches_delivered_twice_out_of_order_and_in_part(databases, size, seed, proof):
    """By two writers, whose answers were lost again and again."""
    draw = random.Random(seed)
    count = size(300, 5_000)
    database = await databases()
    made = {
        writer: [
            entry(
                f"{writer}-{n}",
                cost_nano_usd=draw.randint(0, 10**9),
                at_ms=AT_MS + draw.randint(0, 10**8),
                user=f"user{draw.randint(1, 5)}",
                charges=(Charge("all", 0),),
            )
            for n in range(count)
        ]
        for writer in ("w1", "w2")
    }
    deliveries = []
    for writer, entries in made.items():
        at = 0
        while at < count:
            batch = entries[at : at + draw.randint(1, 100)]
            at += len(batch)
            deliveries += [(writer, batch)] * draw.randint(1, 3)
            if draw.random() < 0.5:
                deliveries.append((writer, draw.sample(batch, draw.randint(1, len(batch)))))
    draw.shuffle(deliveries)
    added = 0
    for writer, batch in deliveries:
        added += await database.write(lambda writer=writer, batch=batch: append(writer, batch))
    total = sum(one.cost_nano_usd or 0 for entries in made.values() for one in entries)
    assert [(2 * count, total), (2 * count, total), (total,)] == await database.read(sums)
    assert 2 * count == added
    assert (await database.read(verify)).is_whole
    proof(
        f"{len(deliveries):,} deliveries of {2 * count:,} entries: each there once, sums of entries, hours and budget equal"
    )

"""T32: the ledger is only ever appended to: no UPDATE or DELETE of an entry in the database's own log of statements, and whoever
tries one is refused by the database itself.
"""

import re

import pytest

from tests.faults.banked import booked, over, until_drained, with_a_key
from tests.faults.together import Steady, wrong
from tests.postgres_server import PostgresServer
from tests.rig import Rig
from turnout.core.books.ledger import Amounts, correct
from turnout.core.books.statements import Sql
from turnout.errors import StoreError

CHANGES = re.compile(r"\b(UPDATE|DELETE\s+FROM|TRUNCATE)\s+(TABLE\s+)?entry\b", re.IGNORECASE)


async def used(rig):
    """A load, a correction; returns how many entries there are."""
    await with_a_key(rig)
    sent = await Steady([rig], 50).run(1)
    assert [] == wrong(sent)
    await until_drained(rig)
    ((name,),) = await rig.service.database.read(lambda: (yield Sql("SELECT min(attempt_id) FROM entry")))
    await rig.service.database.write(lambda: correct(name, Amounts(cost_nano_usd=7), 1_795_000_000_000))
    return len(sent) + 1


async def refused(rig):
    """Whatever would change an entry is refused."""
    for text in (
        "UPDATE entry SET cost_nano_usd = 0",
        "UPDATE entry SET attempt_id = 'x' WHERE number = 1",
        "DELETE FROM entry",
        "DELETE FROM entry WHERE number = 1",
    ):
        with pytest.raises(StoreError, match="append-only"):
            await rig.service.database.write(lambda text=text: (yield Sql(text)))


async def test_t32_postgres(tmp_path, proof):
    """`log_statement = all`, over keys, a load, a correction, a stop and a start."""
    with PostgresServer("log_statement=all", "log_min_duration_statement=-1") as server:
        async with Rig(tmp_path, config=over(server.new_database())) as rig:
            entries = await used(rig)
            logged = server.log()
            await refused(rig)
            with pytest.raises(StoreError, match="append-only"):
                await rig.service.database.write(lambda: (yield Sql("TRUNCATE entry")))
        assert (entries, entries) == booked(server)
    assert "INSERT INTO entry" in logged
    assert [] == CHANGES.findall(logged)
    statements = len(re.findall(r"LOG:  (?:execute|statement)", logged))
    proof(f"PostgreSQL's log: {statements} statements, UPDATE or DELETE of an entry 0; each attempt at one refused")


async def test_t32_sqlite(tmp_path):
    """SQLite keeps no log: its triggers refuse, also in one transaction with what is allowed."""
    async with Rig(tmp_path, config=over("")) as rig:
        entries = await used(rig)
        await refused(rig)

        def both():
            yield Sql("INSERT INTO entry_head (writer, entries, chain) VALUES ('x', 1, x'00')")
            yield Sql("DELETE FROM entry")

        with pytest.raises(StoreError, match="append-only"):
            await rig.service.database.write(both)
        ((count, heads),) = await rig.service.database.read(
            lambda: (yield Sql("SELECT count(*), (SELECT count(*) FROM entry_head WHERE writer = 'x') FROM entry"))
        )
    assert (entries, 0) == (count, heads)

"""T77: a backup made under load holds the books as they were at one moment, whole, becomes books again, and requests wait at most
20 % longer for it.
"""

import asyncio
import json

import pytest

from tests.entries import entry
from tests.faults.banked import over, until_drained, with_a_key
from tests.faults.together import Steady, p99, wrong
from tests.process import turnout
from tests.rig import Rig
from turnout.core.books.ledger import append
from turnout.core.books.statements import Sql
from turnout.core.books.verifying import verify
from turnout.gateway.backup import restore
from turnout.stores.sqlite_books import SqliteBooks

RATE = 50
BATCH = 1_000


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_t77_backup(kind, tmp_path, request, size, proof):
    """By the command, again and again while requests come in; each is restored and checked entry by entry."""
    entries, seconds = size((2_000, 1.5), (200_000, 20))
    url = ""
    if kind == "postgres":
        server = request.getfixturevalue("postgres_server")
        url = server.new_database(request.getfixturevalue("postgres_template"))
    (tmp_path / "elsewhere").mkdir()
    async with Rig(tmp_path, config=over(url), env={"TURNOUT_HOME": str(tmp_path / "elsewhere")}) as rig:
        await with_a_key(rig)
        for start in range(0, entries, BATCH):
            past = [entry(attempt_id=f"past-{n}", provider="past") for n in range(start, start + BATCH)]
            await rig.service.database.write(lambda past=past: append("past", past))
        load = Steady([rig], RATE)
        await load.run(0.3)
        before = await load.run(seconds)
        loading = asyncio.ensure_future(load.run(seconds))
        backups = []
        while not loading.done():
            file = tmp_path / f"backup-{len(backups)}"
            asked = ("backup", str(file), "--config", str(rig.config_path), "--json")
            code, told, problem = await turnout(rig.home, *asked, TURNOUT_HOME=str(tmp_path / "elsewhere"))
            assert 0 == code, problem
            backups.append((file, json.loads(told)))
            await asyncio.sleep(0.1)
        meanwhile = await loading
        await until_drained(rig)
        ((total,),) = await rig.service.database.read(lambda: (yield Sql("SELECT count(*) FROM entry")))
    assert [] == wrong(before) + wrong(meanwhile)
    for file, contents in (backups[0], backups[-1]):
        restored = SqliteBooks(file.with_suffix(".restored"))
        await restore(restored, file)
        await restored.open()
        verdict = await restored.read(verify)
        await restored.close()
        assert (True, contents["entries"], contents["cost_nano_usd"]) == (
            verdict.is_whole,
            verdict.entries,
            verdict.cost_nano_usd,
        ), verdict.faults
        assert entries < contents["entries"] <= total
    count = backups[-1][1]["entries"]
    more = p99(meanwhile) / p99(before) - 1
    assert more <= size(5.0, 0.2), (p99(before), p99(meanwhile))
    proof(
        f"{kind}: {len(backups)} backups of {count:,} entries at {RATE} requests a second: each whole and its "
        f"sum the snapshot's; p99 {1000 * p99(before):.1f} ms before, {1000 * p99(meanwhile):.1f} ms meanwhile"
    )

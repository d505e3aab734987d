"""T100: a ledger entry that was changed, taken out, put in or moved is found every time, and the first bad one is named.

The ledger is one that a gateway wrote for answers that cost. It is then tampered with in copies, as somebody could who holds
the database and has taken its triggers away.
"""

import asyncio
import json
import random
import sqlite3

from tests.core.books.trails import Trail
from tests.process import PATIENCE_S
from tests.rig import CONFIG, Rig
from turnout.cli import run
from turnout.core.books.statements import Sql
from turnout.core.books.verifying import verify

PRICED = CONFIG.replace("id: vendor/first, price: free", "id: vendor/first, price: {{input: 3, output: 15}}")
ASK = {"model": "first", "messages": [{"role": "user", "content": "hej"}]}


def counted():
    ((count,),) = yield Sql("SELECT count(*) FROM entry")
    return count


async def written(tmp_path, requests):
    """Ask so many times; return the path of the books that the gateway left behind, with an entry for each."""
    async with Rig(tmp_path, config=PRICED) as rig:
        async with rig.http() as client:
            for _ in range(requests):
                assert 200 == (await client.post("/v1/chat/completions", json=ASK)).status_code
        async with asyncio.timeout(PATIENCE_S):
            while await rig.service.database.read(counted) < requests:
                await asyncio.sleep(0.02)
    return tmp_path / "home" / "books.sqlite3"


class Copy:
    """A copy of the books in memory, without triggers. faults: what `verify` says first, and how many there are."""

    def __init__(self, books):
        with sqlite3.connect(books) as source:
            self.rows = sqlite3.connect(":memory:", isolation_level=None)
            source.backup(self.rows)
        source.close()
        for (name,) in self.rows.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            self.rows.execute(f'DROP TRIGGER "{name}"')

    def verdict(self):
        return Trail(self.rows).run(verify())

    def names(self):
        """The entries in their order."""
        return [name for (name,) in self.rows.execute("SELECT attempt_id FROM entry ORDER BY seq")]


COLUMNS = (
    *("at_ms", "key_id", "user_id", "workspace", "team", "session", "task", "model", "provider", "vendor_model", "arm"),
    *(
        "outcome",
        "basis",
        "input_tokens",
        "output_tokens",
        "cache_read_input_tokens",
        "cost_nano_usd",
        "corrects",
        "writer",
    ),
)


def changed(copy, names, chance):
    """Another value in one column of one entry."""
    at, column = chance.randrange(len(names)), chance.choice(COLUMNS)
    text = "UPDATE entry SET name = name || '1' WHERE attempt_id = ?".replace("name", column)
    if column in {"at_ms", "input_tokens", "output_tokens", "cache_read_input_tokens", "cost_nano_usd"}:
        text = text.replace("|| '1'", "+ 1")
    copy.rows.execute(text, (names[at],))
    return names[at]


def taken_out(copy, names, chance):
    """One entry that is not the last: the one behind it is the first that does not fit."""
    at = chance.randrange(len(names) - 1)
    copy.rows.execute("DELETE FROM entry WHERE attempt_id = ?", (names[at],))
    return names[at + 1]


def swapped(copy, names, chance):
    """Two entries in each other's place in the chain."""
    one, other = sorted(chance.sample(range(len(names)), 2))
    rows = copy.rows
    ((first,), (second,)) = (
        rows.execute("SELECT number FROM entry WHERE attempt_id = ?", (names[at],)).fetchone() for at in (one, other)
    )
    rows.execute("UPDATE entry SET number = ? WHERE attempt_id = ?", (second, names[one]))
    rows.execute("UPDATE entry SET number = ? WHERE attempt_id = ?", (first, names[other]))
    return names[one]


def said_twice(copy, names, chance):
    """An entry once more, under another name, behind the last."""
    at = chance.randrange(len(names))
    columns = [row[1] for row in copy.rows.execute("PRAGMA table_info(entry)") if row[1] not in {"seq", "attempt_id"}]
    text = "INSERT INTO entry (attempt_id, COLUMNS) SELECT ?, COLUMNS FROM entry WHERE attempt_id = ?"
    copy.rows.execute(text.replace("COLUMNS", ", ".join(columns)), (f"{names[at]}-again", names[at]))
    return f"{names[at]}-again"


WAYS = (changed, taken_out, swapped, said_twice)


async def test_t100_whatever_was_done_to_the_ledger_is_found(tmp_path, size, seed, proof):
    """Of every way, many times at random: always found, and the entry that is named first is the first that is wrong."""
    books = await written(tmp_path, 30)
    chance = random.Random(seed)
    whole = Copy(books)
    names = whole.names()
    assert whole.verdict().is_whole, whole.verdict().faults
    whole.rows.close()
    times = size(15, 250)
    for way in WAYS:
        for _ in range(times):
            copy = Copy(books)
            first = way(copy, names, chance)
            verdict = copy.verdict()
            assert not verdict.is_whole, (way.__name__, first)
            assert first == verdict.faults[0].where, (way.__name__, first, verdict.faults[:2])
            copy.rows.close()
    proof(
        f"{times * len(WAYS)} times tampered with a ledger of {len(names)} entries in {len(WAYS)} ways: all found, first bad entry named"
    )


async def test_t100_entries_cut_off_the_end_and_changed_sums_are_found(tmp_path):
    """The last entry is missed by its writer's head; an hour's sum, by its entries."""
    books = await written(tmp_path, 5)
    for text in (
        "DELETE FROM entry WHERE seq = (SELECT max(seq) FROM entry)",
        "DELETE FROM entry",
        "UPDATE rollup SET cost_nano_usd = cost_nano_usd - 1",
        "UPDATE rollup SET attempts = attempts + 1",
        "DELETE FROM rollup",
    ):
        copy = Copy(books)
        copy.rows.execute(text)
        assert not copy.verdict().is_whole, text
        copy.rows.close()


async def test_t100_the_command_names_it(tmp_path, capsys, monkeypatch):
    """`turnout ledger verify`: right at first, then exit code 1 and the entry."""
    books = await written(tmp_path, 5)
    monkeypatch.setenv("TURNOUT_HOME", str(tmp_path / "home"))
    command = ["ledger", "verify", "--json", "--config", str(tmp_path / "turnout.yaml")]
    assert 0 == await asyncio.to_thread(run, command)
    capsys.readouterr()
    rows = sqlite3.connect(books)
    for (name,) in rows.execute(
        "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'entry'"
    ).fetchall():
        rows.execute(f'DROP TRIGGER "{name}"')
    (bad,) = rows.execute("SELECT attempt_id FROM entry ORDER BY seq LIMIT 1 OFFSET 2").fetchone()
    rows.execute("UPDATE entry SET cost_nano_usd = 0 WHERE attempt_id = ?", (bad,))
    rows.commit()
    rows.close()
    assert 1 == await asyncio.to_thread(run, command)
    assert bad in json.dumps(json.loads(capsys.readouterr().out))

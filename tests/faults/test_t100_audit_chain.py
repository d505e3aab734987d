"""T100: a row of the audit trail that was changed, taken out, put in or moved is found every time, and the first bad one is named.

The trail is one that a gateway wrote: changes made over its admin API, and attempts that were refused. It is then tampered
with in copies, as somebody could who holds the database and has taken its triggers away.
"""

import asyncio
import json
import random
import sqlite3

import httpx2

from tests.core.books.trails import TRIGGERS, Trail
from tests.rig import CONFIG, KEY, Rig
from turnout.cli import run
from turnout.core.books.audit import COLUMNS, Head, link, pages

ROLLOUT = "rollouts:\n  move: {{candidate: {{models: [second]}}, percent: 0}}\n"


async def used(rig, changes):
    """Change things, and try what is not allowed; return the trail's rows as the database has them."""
    async with rig.http() as client, httpx2.AsyncClient(base_url=rig.url) as nobody:
        for number in range(changes):
            await client.put("/admin/rollouts/move", json={"percent": number % 100})
        await client.put("/admin/rollouts/move", json={"percent": 1000})
        await client.delete("/admin/cache?workspace=w")
        await client.post("/admin/reload")
        await nobody.get("/admin/config", headers={"authorization": "Bearer sk-canary-not-a-key"})
        await nobody.put("/admin/rollouts/move", json={"percent": 100})
        for _ in range(3):
            await nobody.post("/v1/chat/completions", headers={"authorization": "Bearer sk-canary-not-a-key"}, json={})
    await rig.service.trail.stop()
    rows, _ = await rig.service.database.read(lambda: pages(0, 10_000))
    return [tuple(row) for row in rows]


async def test_t100_every_change_and_every_refusal_is_written(tmp_path):
    """Who, when, what, from where, before and after, allowed or refused; a refused key of the data plane as a number."""
    async with Rig(tmp_path, config=CONFIG + ROLLOUT) as rig:
        rows = [dict(zip(COLUMNS, row, strict=False)) for row in await used(rig, 2)]
    told = [(row["actor"], row["action"], row["target"], row["outcome"], row["before"], row["after"]) for row in rows]
    assert ("master", "rollout.set", "move", "done", '{"percent":0.0}', '{"percent":1.0}') in told
    assert ("master", "cache.clear", "w", "done", "", "") in told
    assert {"config.change", "config.reload"} <= {row["action"] for row in rows}
    refused = {(row["action"], row["reason"], row["times"]) for row in rows if row["outcome"] == "refused"}
    assert ("GET /admin/config", "unauthenticated", 1) in refused
    assert ("PUT /admin/rollouts/move", "unauthenticated", 1) in refused
    assert ("data.ask", "unauthenticated", 3) in refused
    assert {"127.0.0.1"} == {row["address"] for row in rows if row["actor"] != "config"}
    assert "canary" not in str(rows)
    assert KEY not in str(rows)


class Copy:
    """A copy of a trail without its triggers, to be tampered with. verdict: what `verify` says of it."""

    def __init__(self, rows):
        self.trail = Trail()
        self.trail.tamper("DELETE FROM audit_head")
        self.trail.rows.executemany("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        self.trail.rows.execute("INSERT INTO audit_head VALUES (1, ?, ?)", (rows[-1][0], rows[-1][-1]))

    def __call__(self, text, values=()):
        self.trail.rows.execute(text, values)

    @property
    def verdict(self):
        return self.trail.verified(page=7)

    def close(self):
        self.trail.rows.close()


UPDATES = {name: "UPDATE audit SET name = ? WHERE seq = ?".replace("name", name, 1) for name in (*COLUMNS[1:], "hash")}


def changed(copy, rows, chance):
    """Another value in one column of one row."""
    row, at = chance.choice(rows), chance.randrange(1, len(COLUMNS) + 1)
    value = row[at] + 1 if isinstance(row[at], int) else row[at] + chance.choice("x \u00e6\x01")
    copy(UPDATES[(*COLUMNS, "hash")[at]], (value, row[0]))
    return row[0]


def taken_out(copy, rows, chance):
    """One row, or several that follow each other, up to the last."""
    first = chance.choice(rows)[0]
    copy("DELETE FROM audit WHERE seq BETWEEN ? AND ?", (first, chance.randint(first, len(rows))))
    return first


def taken_out_and_closed_up(copy, rows, chance):
    """One row but the last, and the numbers behind it moved down."""
    first = chance.choice(rows[:-1])[0]
    copy("DELETE FROM audit WHERE seq = ?", (first,))
    copy("UPDATE audit SET seq = -seq WHERE seq > ?", (first,))
    copy("UPDATE audit SET seq = -seq - 1 WHERE seq < 0")
    return first


def swapped(copy, rows, chance):
    """Two rows in each other's place, with or without their hashes."""
    one, other = sorted(chance.sample(rows, 2))
    for row, seq in ((one, -1), (other, one[0])):
        copy("UPDATE audit SET seq = ? WHERE seq = ?", (seq, row[0]))
    copy("UPDATE audit SET seq = ? WHERE seq = -1", (other[0],))
    if chance.random() < 0.5:
        for row in (one, other):
            copy("UPDATE audit SET hash = ? WHERE seq = ?", (row[-1], row[0]))
    return one[0]


def put_in(copy, rows, chance):
    """A copy of one row behind the last, linked rightly or not: the head does not know it."""
    row, seq = chance.choice(rows), len(rows) + 1
    forged = (seq, *row[1:-1])
    copy(
        "INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*forged, link(rows[-1][-1], forged) if chance.random() < 0.5 else row[-1]),
    )
    return seq


def written_anew(copy, rows, chance):
    """Another actor in one row, whose own hash is reckoned anew: what follows does not fit, or the head."""
    at = chance.randrange(len(rows))
    forged = (*rows[at][:2], "somebody else", *rows[at][3:-1])
    hash_ = link(rows[at - 1][-1] if at else "", forged)
    copy("UPDATE audit SET actor = ?, hash = ? WHERE seq = ?", (forged[2], hash_, rows[at][0]))
    return min(rows[at][0] + 1, len(rows))


WAYS = (changed, taken_out, taken_out_and_closed_up, swapped, put_in, written_anew)


async def test_t100_whatever_was_done_to_the_trail_is_found(tmp_path, size, seed, proof):
    """Of every way, many times at random: always found, and the row that is named is the first that is wrong."""
    async with Rig(tmp_path, config=CONFIG + ROLLOUT) as rig:
        rows = await used(rig, 40)
    chance = random.Random(seed)
    whole = Copy(rows)
    assert "" == whole.verdict
    whole.close()
    times = size(60, 1000)
    for way in WAYS:
        for _ in range(times):
            copy = Copy(rows)
            first = way(copy, rows, chance)
            assert copy.verdict.startswith(f"row {first} "), (way.__name__, first, copy.verdict)
            copy.close()
    proof(
        f"{times * len(WAYS)} times tampered with a trail of {len(rows)} rows in {len(WAYS)} ways: all found, first bad row named"
    )


async def test_t100_a_trail_written_anew_is_found_by_a_head_that_was_noted(tmp_path):
    """All rows fit each other, and so does the head in the database; the one that a log or a person holds does not."""
    async with Rig(tmp_path, config=CONFIG + ROLLOUT) as rig:
        rows = await used(rig, 5)
    noted = Head(rows[-1][0], rows[-1][-1])
    before, anew = "", []
    for row in rows:
        told = (*row[:2], "somebody else", *row[3:-1])
        before = link(before, told)
        anew.append((*told, before))
    copy = Copy(anew)
    assert "" == copy.trail.verified()
    assert copy.trail.verified(noted).startswith(f"row {noted.seq} is another than when {noted.hash} was noted")
    copy.close()


async def test_t100_the_command_names_it(tmp_path, capsys, monkeypatch):
    """`turnout audit verify`, on the books of a gateway that has ended: right at first, then with the row."""
    async with Rig(tmp_path, config=CONFIG + ROLLOUT) as rig:
        await used(rig, 5)
    monkeypatch.setenv("TURNOUT_HOME", str(tmp_path / "home"))
    command = ["audit", "verify", "--json", "--config", str(rig.config_path)]
    assert 0 == await asyncio.to_thread(run, command)
    assert json.loads(capsys.readouterr().out)["intact"]
    books = sqlite3.connect(tmp_path / "home" / "books.sqlite3")
    for name in TRIGGERS:
        books.execute(f"DROP TRIGGER {name}")
    books.execute("UPDATE audit SET actor = 'nobody' WHERE seq = 4")
    books.commit()
    books.close()
    assert 1 == await asyncio.to_thread(run, command)
    assert (
        "row 4 is not as it was written, or not where it was written" == json.loads(capsys.readouterr().out)["problem"]
    )

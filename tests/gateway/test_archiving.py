"""Old entries move from the books into files: each is in one, or still in the books, whatever happens in between."""

from __future__ import annotations

import asyncio
import csv
import gzip
import logging
import stat
import sys

import pytest

from tests.entries import AT_MS, entry
from turnout.core.books.archive import drop
from turnout.core.books.ledger import COLUMNS, append
from turnout.core.books.statements import Sql
from turnout.core.books.verifying import verify
from turnout.core.rules import LedgerRule
from turnout.errors import ConfigError, StoreError
from turnout.gateway.archiving import BATCH, DAY_S, Archiving
from turnout.gateway.clock import SystemClock

KEEP = LedgerRule(keep_days=30)


class At(SystemClock):
    """It is always the same second."""

    __slots__ = ()

    def __init__(self):
        super().__init__()
        self.wall = lambda: AT_MS / 1000


async def fill(database, old, young):
    """The old ones have an age of 31 days, the young of 29."""
    ages = [31] * old + [29] * young
    entries = [
        entry(attempt_id=f"a{n:06d}", at_ms=AT_MS - days * DAY_S * 1000, cost_nano_usd=n or None)
        for n, days in enumerate(ages)
    ]
    await database.write(lambda: append("w1", entries))


def archived(folder):
    """Every row of every CSV file, by attempt."""
    rows = []
    for file in sorted(folder.glob("*.csv.gz")):
        with gzip.open(file, "rt", encoding="utf-8", newline="") as table:
            rows += list(csv.DictReader(table))
    return rows


async def left(database):
    rows = await database.read(lambda: (yield Sql("SELECT attempt_id FROM entry ORDER BY seq")))
    return [name for (name,) in rows]


async def test_old_entries_are_in_a_file_and_young_ones_in_the_books(database, tmp_path):
    """All columns; the ledger is whole afterwards, and a second time finds nothing to do."""
    await fill(database, BATCH + 7, 3)
    ours = Archiving(tmp_path, database, At(), KEEP)
    assert BATCH + 7 == await ours.archive()
    assert [f"a{BATCH + 7 + n:06d}" for n in range(3)] == await left(database)
    (file,) = ours.folder.iterdir()
    assert 0o600 == stat.S_IMODE(file.stat().st_mode)
    rows = archived(ours.folder)
    assert [f"a{n:06d}" for n in range(BATCH + 7)] == [row["attempt_id"] for row in rows]
    assert list(COLUMNS) == list(rows[0])
    assert ("", "1") == (rows[0]["cost_nano_usd"], rows[1]["cost_nano_usd"])
    assert 64 == len(rows[0]["chain"])
    assert 0 == await ours.archive()
    assert (await database.read(verify)).is_whole


async def test_nothing_is_moved_unless_a_time_is_given(database, tmp_path):
    """Entries are kept for ever; and a new rule counts from then on."""
    await fill(database, 5, 0)
    ours = Archiving(tmp_path, database, At(), LedgerRule())
    assert 0 == await ours.archive()
    assert not ours.folder.exists()
    ours.install(KEEP)
    assert 5 == await ours.archive()


async def test_what_a_file_already_holds_is_only_deleted(database, tmp_path):
    """A kill after the file, or among the deletions, writes nothing a second time."""
    await fill(database, 12, 1)
    other = Archiving(tmp_path / "other", database, At(), KEEP)
    await other._write_file((await _first(database)), AT_MS - 30 * DAY_S * 1000)
    (file,) = other.folder.iterdir()
    ours = Archiving(tmp_path, database, At(), KEEP)
    ours.folder.mkdir()
    (ours.folder / file.name).write_bytes(file.read_bytes())
    (ours.folder / "ledger-1.part").write_bytes(b"torn")
    await database.write(lambda: drop(10**9, 5))
    assert 7 == await ours.archive()
    assert 12 == len(archived(ours.folder))
    assert ["a000012"] == await left(database)


async def _first(database):
    ((seq,),) = await database.read(lambda: (yield Sql("SELECT min(seq) FROM entry")))
    return seq


async def test_one_that_is_killed_at_any_step_loses_and_doubles_nothing(database, tmp_path):
    """Ended after each so many steps of the loop, and begun again."""
    await fill(database, 3 * BATCH, 2)
    for steps in range(1, 40, 3):
        task = asyncio.get_running_loop().create_task(Archiving(tmp_path, database, At(), KEEP).archive())
        for _ in range(steps):
            await asyncio.sleep(0.002)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert (await database.read(verify)).is_whole
    await Archiving(tmp_path, database, At(), KEEP).archive()
    names = [row["attempt_id"] for row in archived(tmp_path / "archive")]
    assert [f"a{n:06d}" for n in range(3 * BATCH)] == sorted(names)
    assert 2 == len(await left(database))


async def test_several_workers_that_look_at_once_lose_and_double_nothing(database, tmp_path):
    """One of them does it; whoever comes meanwhile leaves it to that one, and later there is nothing left to do."""
    await fill(database, 3 * BATCH, 2)
    moved = await asyncio.gather(*(Archiving(tmp_path, database, At(), KEEP).archive() for _ in range(4)))
    assert sorted(moved) == [0, 0, 0, 3 * BATCH]
    names = [row["attempt_id"] for row in archived(tmp_path / "archive")]
    assert [f"a{n:06d}" for n in range(3 * BATCH)] == sorted(names)
    assert 2 == len(await left(database))


async def test_a_disk_that_takes_nothing_leaves_everything_in_the_books(database, tmp_path):
    """A file stands where the folder would be."""
    await fill(database, 5, 0)
    (tmp_path / "archive").write_text("in the way")
    with pytest.raises(OSError, match="archive"):
        await Archiving(tmp_path, database, At(), KEEP).archive()
    assert 5 == len(await left(database))


async def test_parquet_holds_the_same(database, tmp_path):
    """With types: whole numbers, bytes, text."""
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow: requirements/dev.txt")
    await fill(database, BATCH + 1, 0)
    ours = Archiving(tmp_path, database, At(), LedgerRule(keep_days=30, archive="parquet"))
    assert BATCH + 1 == await ours.archive()
    (file,) = ours.folder.iterdir()
    table = parquet.read_table(file)
    assert list(COLUMNS) == table.column_names
    rows = table.to_pylist()
    assert [f"a{n:06d}" for n in range(BATCH + 1)] == [row["attempt_id"] for row in rows]
    assert (None, 1) == (rows[0]["cost_nano_usd"], rows[1]["cost_nano_usd"])
    assert 32 == len(rows[0]["chain"])


async def test_a_missing_library_says_what_to_install_and_moves_nothing(database, tmp_path):
    """Parquet is an extra."""
    await fill(database, 5, 0)
    known = {name: sys.modules.pop(name) for name in [*sys.modules] if name.partition(".")[0] == "pyarrow"}
    sys.modules["pyarrow"] = None  # type: ignore[assignment]
    try:
        with pytest.raises(ConfigError, match=r"pip install 'turnout\[parquet\]'"):
            await Archiving(tmp_path, database, At(), LedgerRule(keep_days=30, archive="parquet")).archive()
    finally:
        del sys.modules["pyarrow"]
        sys.modules.update(known)
    assert 5 == len(await left(database))


async def ended(database, count, days):
    """So many budgets' periods of a day that ended that long ago."""

    def steps():
        for number in range(count):
            end = AT_MS // 1000 - days * DAY_S
            yield Sql(
                "INSERT INTO budget_period (budget, starts_at, ends_at, rule, scope, who, limit_nano_usd, spent_nano_usd,"
                " seeded_nano_usd, recalls, is_open) VALUES (?, ?, ?, '', '', '', 1, 0, 0, 0, 1)",
                (f"b{number}/{days}", end - DAY_S, end),
            )

    await database.write(steps)


async def test_periods_of_budgets_leave_once_their_entries_have_and_only_where_entries_do(database, tmp_path):
    """In batches; where everything is kept for ever, so are they."""
    await ended(database, BATCH + 1, 40)
    await ended(database, 3, 30)
    await fill(database, 5, 5)
    ours = Archiving(tmp_path, database, At(), KEEP)
    assert (0, 5, 0, BATCH + 1, 0) == (
        await ours.drop_periods(),
        await ours.archive(),
        await Archiving(tmp_path, database, At(), LedgerRule()).drop_periods(),
        await ours.drop_periods(),
        await ours.drop_periods(),
    )
    assert [(3,)] == [
        tuple(row) for row in await database.read(lambda: (yield Sql("SELECT count(*) FROM budget_period")))
    ]
    assert (await database.read(verify)).is_whole


class Refusing:
    """Books that are away the first time."""

    def __init__(self, database):
        self._database = database
        self.asked = asyncio.Event()

    async def read(self, steps):
        if not self.asked.is_set():
            self.asked.set()
            raise StoreError("away")
        return await self._database.read(steps)

    async def write(self, steps):
        return await self._database.write(steps)


async def test_it_looks_again_and_again_and_says_what_fails(database, tmp_path, caplog):
    """The first look fails, the next moves everything."""
    caplog.set_level(logging.INFO, "turnout")
    await fill(database, 5, 0)
    await ended(database, 1, 40)
    ours = Archiving(tmp_path, Refusing(database), At(), KEEP, looks_s=(0.0, 0.01))
    ours.start()
    async with asyncio.timeout(10):
        while "forgot 1 periods of budgets" not in caplog.text:
            await asyncio.sleep(0.01)
    await ours.stop()
    assert "moved 5 old entries" in caplog.text
    assert "stay in the books until the next hour: away" in caplog.text

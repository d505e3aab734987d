"""T27: a power cut takes nothing that was synced, at most the last group commit's window of the rest, and never an intent before its entry.

The journal and its ledger run on a simulated disk: at a moment by chance the power goes, and of what was not synced each
sector is there, torn or gone, and each name that was made or removed. Syncs fail, disks are full, segments are removed.
"""

from __future__ import annotations

import os
import random

import pytest

from tests.entries import entry, intent
from tests.gateway.disks import ForgetfulDisk
from tests.gateway.ledgers import FastClock
from turnout.core.books.entry import Entry, Intent
from turnout.core.books.statements import Load
from turnout.core.rules import LedgerRule
from turnout.errors import LedgerUnavailable
from turnout.gateway.journal import read_all
from turnout.gateway.ledger import Ledger
from turnout.gateway.recovery import Recovery

FOUND = ("785582772-628", "591046129-1372", "300329990-4924", "434193212-751")
"""Power cuts that once took an intent and left its entry: a segment that was removed though no sync had covered it yet, and
one whose name a failed sync had counted as synced."""


class Shelf:
    """Books that survive a power cut once they have answered: what append gives them, by attempt."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple] = {}

    async def write(self, steps):
        run, answer = steps(), None
        try:
            while True:
                statement = run.send(answer)
                answer = []
                if isinstance(statement, Load):
                    answer = [(row[0],) for row in statement.rows if row[0] not in self.rows]
                    self.rows |= {row[0]: row for row in statement.rows if row[0] not in self.rows}
                elif "RETURNING entries" in statement.text:
                    answer = [(0, b"")]
        except StopIteration as end:
            return end.value


class Stepped:
    """Syncs when it is told, instead of by a thread."""

    def __init__(self, journal, on_failure):
        self._journal = journal
        self._on_failure = on_failure

    def mark(self):
        pass

    async def until(self, position):
        try:
            self._journal.sync()
        except OSError as error:
            self._on_failure(error)
            raise


class Life:
    """One process until the power goes: what it did, and what it was promised."""

    def __init__(self, home, seed):
        self.draw = random.Random(seed)
        self.shelf = Shelf()
        self.disk = ForgetfulDisk(self.draw)
        self.ledger = Ledger(home, self.shelf, "w", FastClock(), LedgerRule(), disk=self.disk)
        self.journal = self.ledger._journal
        self.journal._segment_bytes = self.draw.choice([400, 1_000, 5_000])
        self.journal.open()
        self.ledger._syncing = Stepped(self.journal, self.ledger._sync_failed)
        self.open: list[str] = []
        self.intended: list[str] = []
        self.settled: list[str] = []
        self.where: dict[str, int] = {}
        self.safe: set[str] = set()
        self.safe_settled: set[str] = set()

    async def step(self):
        chance = self.draw.random()
        if chance < 0.45:
            name = f"a{len(self.intended)}-1"
            try:
                self.ledger.intend(intent(name, session="x" * self.draw.randint(0, 400)))
            except LedgerUnavailable:
                assert self.ledger.stats.is_degraded
            else:
                self.intended.append(name)
                self.open.append(name)
        elif chance < 0.8 and self.open:
            name = self.open.pop(self.draw.randrange(len(self.open)))
            segment = self.ledger._open[name][1]
            self.where[name] = 0 if segment is None else segment.number
            self.ledger.settle(entry(name))
            self.settled.append(name)
        elif chance < 0.9:
            self.sync()
        elif chance < 0.97:
            await self.ledger._try_disk()
            if not self.ledger.stats.is_degraded:
                self.promised()
            await self.ledger._ship()
        elif chance < 0.98:
            self.disk.fails_sync = True

    def sync(self):
        try:
            self.journal.sync()
        except OSError as error:
            self.ledger._sync_failed(error)
        else:
            self.promised()

    def promised(self):
        """All that was written by now survives, if the last sync was after it."""
        if self.journal.synced == self.journal.position:
            self.safe.update(self.intended)
            self.safe_settled.update(self.settled)


async def one(home, seed):
    """Live, lose power, recover. Return how many records the cut took."""
    life = Life(home, seed)
    for _ in range(life.draw.randint(1, 120)):
        await life.step()
    in_books = set(life.shelf.rows)
    standing = set(life.journal.segments)
    life.journal._lock, lock = None, life.journal._lock
    os.close(lock)
    life.disk.lose_power()
    records = [record for page in read_all(home / "journal", "w") for record in page.records]
    intents = {record.attempt_id for record in records if isinstance(record, Intent)}
    removed = {name for name, number in life.where.items() if number not in standing}
    for record in records:
        if isinstance(record, Entry):
            assert record.attempt_id in intents | removed | in_books, "a settled row without its intent"
    await Recovery(home / "journal", life.shelf, "me").look()
    outcomes = {name: row[13] for name, row in life.shelf.rows.items()}
    assert outcomes.keys() <= set(life.intended), "an attempt that was never made"
    assert life.safe <= outcomes.keys(), "an intent that was synced is lost"
    settled = {name for name, outcome in outcomes.items() if outcome == "ok"}
    assert life.safe_settled | in_books <= settled, "an entry that was synced or booked is lost"
    assert settled <= set(life.settled)
    for path in (home / "journal").iterdir():
        assert path.suffix == ".torn", path
        path.unlink()
    return len(life.intended) - len(outcomes)


async def test_t27_a_power_cut_takes_no_more_than_it_may(tmp_path, size, seed, proof, caplog):
    """Whatever it leaves of what was not synced."""
    caplog.set_level("CRITICAL", "turnout.ledger")
    count = size(100, 10_000)
    lost = 0
    for n, drawn in enumerate((*FOUND, *(f"{seed}-{n}" for n in range(count)))):
        home = tmp_path / str(n % 50)
        home.mkdir(exist_ok=True)
        try:
            lost += await one(home, drawn)
        except AssertionError as problem:
            pytest.fail(f"seed {drawn}: {problem}")
    proof(
        f"{count:,} power cuts on a simulated disk: nothing lost that was synced or booked, no entry without its intent, "
        f"{lost / count:.2f} attempts a cut lost that were not synced yet"
    )

"""Writes down what vendors are asked and what it costs, so that nothing is lost and nothing is there twice; then books it.

The way of an attempt: `intend` before its vendor is asked, `settle` after; each is one record in the journal, one system
call. A task takes entries from there to the books in batches, again and again until they are in (`core/books/ledger.py`
leaves out what is there already), and removes a segment of the journal once nobody needs it: its entries are in the books,
its intents have theirs, and those are synced. Entries that wait are kept in memory up to a bound, and read from the journal
beyond it: the books may be away for hours. What a process that died left is taken over by another (`gateway/recovery.py`).

A journal that cannot be written to: `refuse` asks no vendor until it can (503), `continue` goes on in memory up to a bound;
an answer that is already under way is booked in either case. It is tried again every second. Books that are away are waited
for; books that are lost (their file was deleted or replaced under us) let no vendor be asked until they are back.
Cost of both records together: about 8 µs. Sources: DESIGN §5, RELIABILITY R1, D1 to D4, ADR 0018.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from pathlib import Path
from typing import Final

import msgspec

from turnout.core.books.entry import Entry, Intent
from turnout.core.books.ledger import append
from turnout.core.rules import LedgerRule
from turnout.errors import LedgerUnavailable, StoreError
from turnout.gateway.clock import Clock
from turnout.gateway.disk import Disk
from turnout.gateway.journal import Journal, Segment, read
from turnout.gateway.recovery import Recovery
from turnout.gateway.syncing import Syncing
from turnout.gateway.tasks import Tasks
from turnout.stores import Database

SHIP_S: Final = 0.1
"""How long entries wait for others to go into the books with them."""

BATCH: Final = 500
"""Entries in one transaction: about 5 ms of it."""

AGAIN_S: Final = (0.25, 2.0)
"""How long after a failure the books are tried again: first, and at most; twice as long each time."""

TRIAL_S: Final = 1.0
"""Between two looks whether the journal's disk works again."""

QUEUE: Final = 10_000
"""Entries in memory, about 15 MB, however long the books are away."""

JOURNAL_BYTES: Final = 1024**3
"""How large a journal may become while the books are away: an hour at 700 requests a second. Then it counts as full."""

STOP_S: Final = 5.0
"""How long a stop waits for the books. What is not in by then is in the journal, for whoever starts next."""

_log = logging.getLogger("turnout.ledger")


class LedgerStats(msgspec.Struct, frozen=True):
    """How it stands. is_degraded: the journal cannot be written to. is_behind: the books do not take entries now.

    waiting: entries in memory that are not in the books; is_long: there are more, in the journal. journal_bytes: of our
    segments. open: attempts without their entry. shipped: entries taken to the books by this process, orphans: of those,
    attempts that a dead process did not end.
    """

    is_degraded: bool
    is_behind: bool
    waiting: int
    is_long: bool
    journal_bytes: int
    open: int
    shipped: int
    orphans: int


class Ledger:
    """One process's ledger. writer: its name in the books and among the journals of `home`, never used before."""

    def __init__(
        self,
        home: Path,
        database: Database,
        writer: str,
        clock: Clock,
        rule: LedgerRule,
        *,
        disk: Disk | None = None,
        journal_bytes: int = JOURNAL_BYTES,
    ) -> None:
        self.writer = writer
        self._database = database
        self._clock = clock
        self._rule = rule
        self._bound_bytes = journal_bytes
        self._journal = Journal(home / "journal", writer, disk=disk)
        self._syncing = Syncing(self._journal, self._sync_failed)
        self._recovery = Recovery(home / "journal", database, writer)
        self._open: dict[str, tuple[Intent, Segment | None]] = {}
        self._queue: deque[tuple[Entry, Segment | None]] = deque()
        self._beyond: tuple[int, int] | None = None  # segment and offset of the first entry that is not in the queue
        self._is_degraded = False
        self._is_doubtful = False
        self._is_alarmed = False
        self._tried_at = 0.0
        self._is_behind = False
        self._lost: LedgerUnavailable | None = None
        self._shipped = 0
        self._has_more = asyncio.Event()
        self._shipping = asyncio.Lock()
        self._tasks = Tasks()

    # ── life ──

    async def start(self) -> None:
        """Begin a journal, and book what dead processes left. Raises StoreError if the journal cannot be begun."""
        try:
            await asyncio.to_thread(self._journal.open)
        except OSError as error:
            raise StoreError(
                f"{self._journal.folder}: {error.strerror}. The ledger's journal is written there: is the disk full, or the "
                "folder not ours to write?"
            ) from error
        self._syncing.start()
        self._tasks.start(self._ship_for_ever(), "take entries to the books")
        self._tasks.start(self._recovery.run(), "book what dead processes left")

    def install(self, rule: LedgerRule) -> None:
        """Go on by another rule. Where the books are does not change while it runs."""
        self._rule = rule

    async def stop(self) -> None:
        """Take what waits to the books, and what a dead process left by now, for STOP_S at most. Safe to call twice."""
        await self._tasks.stop()
        try:
            async with asyncio.timeout(STOP_S):
                await self.flush()
                await self._recovery.look()
        except (StoreError, TimeoutError):
            _log.warning("the books did not take all entries: they are in %s, for the next start", self._journal.folder)
        await self._syncing.stop()
        is_done = not (self._is_waited_for or self._open)
        await asyncio.to_thread(self._journal.close, is_done=is_done)

    # ── an attempt ──

    def intend(self, intent: Intent) -> None:
        """Write down that a vendor will be asked. Raises LedgerUnavailable: then it is not to be asked. About 4 µs."""
        if self._lost is not None:
            raise LedgerUnavailable(
                "The books are gone, so no vendor is asked: see the gateway's log.", retry_after_s=5.0
            )
        segment: Segment | None = None
        if not self._is_degraded and self._journal.size_bytes < self._bound_bytes:
            try:
                segment = self._journal.write(intent)
            except OSError as error:
                self._disk_failed(error)
            else:
                segment.intents += 1
                self._syncing.mark()
        if segment is None and (self._rule.when_full == "refuse" or len(self._open) + len(self._queue) >= QUEUE):
            raise LedgerUnavailable(
                "What this costs could not be written down now, so no vendor was asked: the ledger's journal has no room. "
                "Try again in a few seconds.",
                retry_after_s=5.0,
            )
        self._open[intent.attempt_id] = (intent, segment)

    async def durable(self) -> None:
        """Wait until what was written so far survives a power cut, if the config says `strict`. Raises LedgerUnavailable."""
        if self._rule.durability != "strict" or (self._is_degraded and self._rule.when_full == "continue"):
            return
        try:
            await self._syncing.until(self._journal.position)
        except OSError as error:
            if self._rule.when_full == "refuse":
                raise LedgerUnavailable(
                    f"The disk of the ledger's journal failed ({error.strerror}), so no vendor was asked.",
                    retry_after_s=5.0,
                ) from error

    def settle(self, entry: Entry) -> None:
        """Write down what an attempt came to. What the disk does not take waits in memory: this never fails. About 4 µs."""
        before = (self._journal.current.number, self._journal.current.length)
        _, intended = self._open.pop(entry.attempt_id, (None, None))
        segment: Segment | None = None
        if intended is not None or self._journal.size_bytes < self._bound_bytes:
            try:
                segment = self._journal.write(entry)
            except OSError as error:
                self._disk_failed(error)
            else:
                self._syncing.mark()
        if intended is not None:
            intended.intents -= 1
            intended.closed_at = self._journal.position
        if segment is not None and (self._beyond is not None or len(self._queue) >= QUEUE):
            self._beyond = self._beyond or before
        else:
            if segment is not None:
                segment.entries += 1
            self._queue.append((entry, segment))
        if not self._has_more.is_set():
            self._has_more.set()

    @property
    def stats(self) -> LedgerStats:
        """How it stands."""
        return LedgerStats(
            is_degraded=self._is_degraded or self._journal.size_bytes >= self._bound_bytes,
            is_behind=self._is_behind,
            waiting=len(self._queue),
            is_long=self._beyond is not None,
            journal_bytes=self._journal.size_bytes,
            open=len(self._open),
            shipped=self._shipped + self._recovery.entries,
            orphans=self._recovery.orphans,
        )

    # ── to the books ──

    @property
    def _is_waited_for(self) -> bool:
        """Whether something is not in the books yet."""
        return bool(self._queue) or self._beyond is not None

    async def flush(self) -> None:
        """Take everything that was settled to the books now. Raises StoreError."""
        while self._is_waited_for:
            await self._ship()

    async def _ship_for_ever(self) -> None:
        delay_s = AGAIN_S[0]
        while True:
            await self._has_more.wait()
            await asyncio.sleep(SHIP_S)
            await self._try_disk()
            self._alarm()
            try:
                await self._ship()
            except StoreError as error:
                if not self._is_behind:
                    _log.error("the books take no entries; they wait in %s: %s", self._journal.folder, error.message)
                self._is_behind = True
                self._lost = error if isinstance(error, LedgerUnavailable) else None
                await asyncio.sleep(delay_s)
                delay_s = min(AGAIN_S[1], delay_s * 2)
                continue
            if self._is_behind:
                _log.warning("the books take entries again")
            self._is_behind, self._lost, delay_s = False, None, AGAIN_S[0]
            if not (self._is_waited_for or self._is_degraded or len(self._journal.segments) > 1):
                self._has_more.clear()

    async def _ship(self) -> None:
        """Take a batch to the books (a segment of what is not in memory), and remove what nobody needs then."""
        async with self._shipping:
            if self._queue:
                batch = [self._queue[at][0] for at in range(min(BATCH, len(self._queue)))]
                await self._database.write(lambda: append(self.writer, batch))
                for _ in batch:
                    _, segment = self._queue.popleft()
                    if segment is not None:
                        segment.entries -= 1
                self._shipped += len(batch)
            elif self._beyond is not None:
                await self._ship_from_journal(*self._beyond)
            self._sweep()

    async def _ship_from_journal(self, number: int, offset: int) -> None:
        """Take what one segment says from `offset` on."""
        page = await asyncio.to_thread(read, self._journal.segments[number].path, offset)
        entries = [record for record in page.records if isinstance(record, Entry)]
        for start in range(0, len(entries), BATCH):
            batch = entries[start : start + BATCH]
            await self._database.write(lambda batch=batch: append(self.writer, batch))  # type: ignore[misc]
            self._shipped += len(batch)
        current = self._journal.current
        if number != current.number:
            self._beyond = (min(one for one in self._journal.segments if one > number), 0)
        else:  # less than was read if that was a trial of the disk's room, which is gone again
            offset = min(page.end, current.length)
            self._beyond = (number, offset) if offset < current.length else None

    def _sweep(self) -> None:
        """Remove segments that nobody needs."""
        first_beyond = self._beyond[0] if self._beyond is not None else self._journal.current.number
        for segment in list(self._journal.segments.values()):
            is_needed = segment.intents or segment.entries or segment.closed_at > self._journal.synced
            if not is_needed and segment.number < first_beyond:
                try:
                    self._journal.drop(segment)
                except OSError as error:
                    _log.warning("%s cannot be removed: %s", segment.path, error.strerror)
                    return

    # ── a disk that fails ──

    def _disk_failed(self, error: OSError) -> None:
        """From a record that was not taken."""
        if not self._is_degraded:
            what = "no vendor is asked" if self._rule.when_full == "refuse" else "it goes on in memory"
            _log.error("the journal in %s takes nothing: %s; %s until it does", self._journal.folder, error, what)
        self._is_degraded = True
        self._has_more.set()

    def _sync_failed(self, error: OSError) -> None:
        """From the thread that syncs."""
        self._is_doubtful = True
        self._disk_failed(error)

    async def _try_disk(self) -> None:
        """See whether a journal that failed works again; then write what it does not have."""
        now = self._clock.now()
        if not self._is_degraded or now - self._tried_at < TRIAL_S:
            return
        self._tried_at = now
        try:
            if self._is_doubtful:
                self._journal.renew()
            self._journal.try_room()
            self._write_again(is_all=self._is_doubtful)
            self._is_doubtful = False
            await self._syncing.until(self._journal.position)
        except OSError:
            return
        self._is_degraded = False
        _log.warning("the journal in %s takes entries again", self._journal.folder)

    def _write_again(self, *, is_all: bool) -> None:
        """Write the records that are in memory alone, or all that are in memory. Raises OSError."""
        for name, (intent, segment) in list(self._open.items()):
            if is_all or segment is None:
                again = self._journal.write(intent)
                again.intents += 1
                if segment is not None:
                    segment.intents -= 1
                    segment.closed_at = self._journal.position
                self._open[name] = (intent, again)
        for at, (entry, segment) in enumerate(self._queue):
            if is_all or segment is None:
                again = self._journal.write(entry)
                again.entries += 1
                if segment is not None:
                    segment.entries -= 1
                    segment.closed_at = self._journal.position
                self._queue[at] = (entry, again)

    def _alarm(self) -> None:
        """Say once that the journal is half full."""
        size = self._journal.size_bytes
        if size >= self._bound_bytes // 2 and not self._is_alarmed:
            told = "the ledger's journal holds %d MB, half of what it may: the books have not taken entries for long"
            _log.error(told, size // 1_000_000)
        self._is_alarmed = size >= self._bound_bytes // 2

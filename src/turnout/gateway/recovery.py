"""Books what processes left in their journals when they died, under their names, and gives back what they held of budgets.

A process that lives holds its lock file, so whoever gets that lock is alone with a dead one's journal. Entries are booked as
they are. An intent without its entry becomes one: what it may have cost, as an estimate ("orphaned"). All of it can be done
again after a kill in its midst: the books leave out what they have. Then the files go, but for one that ends in what cannot
be believed, which only a power cut leaves: it is kept beside as `.torn`, for whoever wants to look.
Looked for at the start and every LOOK_S, so what a worker left is booked by its siblings. Source: RELIABILITY T25, T26.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from turnout.core.books.budgets import release
from turnout.core.books.entry import Entry, Intent
from turnout.core.books.grants import gone
from turnout.core.books.ledger import append, orphaned
from turnout.errors import StoreError
from turnout.gateway.disk import claim
from turnout.gateway.journal import Page, lock_path, read_all, segments_of, writers_in
from turnout.stores import Database

LOOK_S: Final = 5.0
BATCH: Final = 500

_log = logging.getLogger("turnout.ledger")


class Recovery:
    """Takes over the journals in `folder` whose writers are dead. own: the name of ours. orphans: booked so far."""

    def __init__(self, folder: Path, database: Database, own: str) -> None:
        self.orphans = 0
        self.entries = 0
        self._folder = folder
        self._database = database
        self._own = own
        self._told: dict[str, str] = {}

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Look once. What cannot be done now is said once, and tried again at the next look. Never raises."""
        for writer in await asyncio.to_thread(writers_in, self._folder):
            if writer == self._own:
                continue
            try:
                await self._take_over(writer)
            except (StoreError, OSError, ValueError) as error:
                if self._told.get(writer) != str(error):
                    _log.error("what %s left in its journal is not booked yet: %s", writer, error)
                self._told[writer] = str(error)

    async def _take_over(self, writer: str) -> None:
        lock = await asyncio.to_thread(claim, lock_path(self._folder, writer))
        if lock is None:
            return
        try:
            before = self.entries, self.orphans
            believed = await self._book(writer)
            await self._database.write(lambda: release(writer))
            await self._database.write(lambda: gone(writer))
            await asyncio.to_thread(self._remove, writer, believed)
            if (self.entries, self.orphans) != before:
                told = "booked what %s left when it ended: %d entries, %d of them estimates for attempts that it did not end"
                _log.warning(told, writer, self.entries - before[0], self.orphans - before[1])
        finally:
            os.close(lock)

    async def _book(self, writer: str) -> list[Page]:
        """Return the segments that were believed, each up to its end."""
        unended: dict[str, Intent] = {}
        believed: list[Page] = []
        pages = read_all(self._folder, writer)
        while (page := await asyncio.to_thread(next, pages, None)) is not None:
            entries = []
            for record in page.records:
                if isinstance(record, Intent):
                    unended[record.attempt_id] = record
                else:
                    unended.pop(record.attempt_id, None)
                    entries.append(record)
            self.entries += await self._append(writer, entries)
            believed.append(page)
        booked = await self._append(writer, [orphaned(intent) for intent in unended.values()])
        self.entries += booked
        self.orphans += booked
        return believed

    async def _append(self, writer: str, entries: Sequence[Entry]) -> int:
        added = 0
        for start in range(0, len(entries), BATCH):
            batch = entries[start : start + BATCH]
            added += await self._database.write(lambda batch=batch: append(writer, batch))  # type: ignore[misc]
        return added

    def _remove(self, writer: str, believed: Sequence[Page]) -> None:
        whole = {page.path for page in believed if page.end == page.size}
        for _, path in segments_of(self._folder, writer):
            if path in whole:
                path.unlink(missing_ok=True)
            else:
                _log.warning("%s ends in what was not written whole: kept as %s.torn", path, path.name)
                path.rename(path.with_name(f"{path.name}.torn"))
        lock_path(self._folder, writer).unlink(missing_ok=True)

"""Keeps what was used of quotas over a restart: reads it at the start, writes it while it changes, and once at the end.

Written in a thread, at once after a calm, and then at most every SAVE_S: a kill loses no more than that. Each write is one
fact in the state file. Several processes of one home overwrite each other's: that they share quotas is what Valkey is for.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AbstractContextManager

from turnout.errors import StoreError
from turnout.gateway.clock import Clock
from turnout.gateway.scheduler import Scheduler
from turnout.stores import StateStore

FACT = "quotas"

SAVE_S = 0.1
"""Between two writes. Hardly a turn is granted meanwhile where a quota is small; a write costs 0.2 ms, as it does not wait for
the disk: a power cut takes longer than the minute that is counted.
"""

_log = logging.getLogger("turnout.quota_saver")


class QuotaSaver:
    """One scheduler's books in one state file. lock: of the state file."""

    def __init__(
        self, state: StateStore, scheduler: Scheduler, clock: Clock, lock: AbstractContextManager[object]
    ) -> None:
        """Count what an earlier run used. Raises StoreError."""
        self._state = state
        self._scheduler = scheduler
        self._clock = clock
        self._lock = lock
        self._saved = 0
        self._is_failing = False
        kept = state.get_fact(FACT)
        if kept is not None:
            try:
                scheduler.quotas.load(kept, clock.now(), clock.wall())
            except ValueError:
                _log.warning("what was used of quotas cannot be read, counting begins anew")

    async def run(self) -> None:
        """Write whenever something has changed, until cancelled."""
        news = self._scheduler.news
        while True:
            await news.wait()
            news.clear()
            await self.save()
            if self._is_failing:
                news.set()
            await asyncio.sleep(SAVE_S)

    async def save(self) -> None:
        """Write what has changed since the last time; a file that cannot be written is tried again the next time."""
        changes = self._scheduler.changes
        if changes == self._saved:
            return
        state = self._scheduler.quotas.dump(self._clock.now(), self._clock.wall())
        try:
            await asyncio.to_thread(self._write, state)
        except StoreError as error:
            if not self._is_failing:
                _log.error("what was used of quotas cannot be written, a restart will not know it: %s", error.message)
            self._is_failing = True
        else:
            self._saved, self._is_failing = changes, False

    def _write(self, state: bytes) -> None:
        with self._lock:
            self._state.put_fact(FACT, state, is_lasting=False)

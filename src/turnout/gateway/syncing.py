"""Syncs a journal from a thread of its own: 10 ms after the first record that is not synced yet, or at once if one waits.

So a power cut takes at most the last WINDOW_S and the time that the disk takes, and no request waits for the disk unless
its config says `strict`; then those that wait together share a sync. Nothing runs while nothing is written.
Source: group commit, as in PostgreSQL's `commit_delay`; RELIABILITY D2.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Final

from turnout.gateway.journal import Journal

WINDOW_S: Final = 0.01


class Syncing:
    """One journal's thread. on_failure: called on the event loop with what the disk said; the journal is to be renewed."""

    def __init__(
        self, journal: Journal, on_failure: Callable[[OSError], object], *, window_s: float = WINDOW_S
    ) -> None:
        self._journal = journal
        self._on_failure = on_failure
        self._window_s = window_s
        self._is_due = False
        self._due = threading.Event()
        self._hurry = threading.Event()
        self._is_ending = False
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, for the running event loop."""
        loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, args=(loop,), name="journal-sync", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Sync once more, and end. Safe to call twice."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._is_ending = True
            self._hurry.set()
            self._due.set()
            await asyncio.to_thread(thread.join)

    def mark(self) -> None:
        """Say that something was written. 0.1 µs if that is known already."""
        if not self._is_due:
            self._is_due = True
            self._due.set()

    async def until(self, position: int) -> None:
        """Wait until the journal is synced as far as `position`. Raises OSError."""
        if self._journal.synced >= position:
            return
        synced = asyncio.get_running_loop().create_future()
        self._waiting.append((position, synced))
        self._hurry.set()
        self.mark()
        await synced

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        is_last = False
        while not is_last:
            self._due.wait()
            self._hurry.wait(self._window_s)
            is_last = self._is_ending
            self._hurry.clear()
            self._due.clear()
            self._is_due = False  # before the position is read: whoever finds it set has written what is read then
            try:
                self._journal.sync()
            except OSError as error:
                loop.call_soon_threadsafe(self._failed, error)
            else:
                if self._waiting:
                    loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        """Wake those whose record is on the disk. Another sync is on its way for the others."""
        still = []
        for position, synced in self._waiting:
            if position > self._journal.synced:
                still.append((position, synced))
            elif not synced.done():
                synced.set_result(None)
        self._waiting = still
        if still:
            self._hurry.set()
            self.mark()

    def _failed(self, error: OSError) -> None:
        waiting, self._waiting = self._waiting, []
        for _, synced in waiting:
            if not synced.done():
                synced.set_exception(OSError(*error.args))
        self._on_failure(error)

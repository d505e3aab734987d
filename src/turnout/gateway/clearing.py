"""Forgets kept answers in every process of a home: who clears leaves a mark in the state file, the others see it and clear too.

A process that sees a new mark forgets everything, whichever workspace was meant: marks may be missed when several come at
once, and an answer that is forgotten costs a call while one that is not would be wrong. Seeing costs one look-up whenever
the state file has changed; nothing here polls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager

from turnout.gateway.cache import Cache
from turnout.gateway.tasks import Tasks
from turnout.stores import StateStore

MARK = "cache.cleared"


class Clearing:
    """What was cleared, here and elsewhere. token: makes a mark that no other process makes. lock: of the state file."""

    def __init__(
        self, state: StateStore, cache: Cache, token: Callable[[], str], lock: AbstractContextManager[object]
    ) -> None:
        self._state = state
        self._cache = cache
        self._token = token
        self._lock = lock
        self._seen = state.get_fact(MARK)
        self._tasks = Tasks()
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Begin to listen for `look`; on the loop that the cache lives on."""
        self._loop = asyncio.get_running_loop()

    async def stop(self) -> None:
        """Listen no more."""
        self._loop = None
        await self._tasks.stop()

    async def clear(self, workspace: str | None) -> int:
        """Forget one workspace's answers, or all; return how many this process held. The others follow within a second.

        Raises StoreError: ours are gone, but the others have not heard.
        """
        gone = await self._cache.clear(workspace)
        await asyncio.to_thread(self._leave_mark)
        return gone

    def _leave_mark(self) -> None:
        with self._lock:
            self._seen = mark = self._token().encode()
            self._state.put_fact(MARK, mark)

    def look(self) -> None:
        """Follow if another process has cleared. From any thread; blocks it. Raises StoreError."""
        with self._lock:
            mark = self._state.get_fact(MARK)
            if mark != self._seen and self._loop is not None:
                self._seen = mark
                self._loop.call_soon_threadsafe(self._follow)

    def _follow(self) -> None:
        self._tasks.start(self._cache.clear(), "clear the cache as another process did")

"""Starts tasks: the one wrapper, so that each has a name, a kept reference and a voice when it fails.

A bare `create_task` may be collected while it runs, and its exception is shown only when the loop feels like it; ruff
bans it everywhere else (TID251). Only `gateway` and the edges above it start tasks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_log = logging.getLogger("turnout.tasks")


class Tasks:
    """The tasks of one owner; `stop()` cancels them and waits until each has ended."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Run `work` under `name`. A failure is logged with that name, once."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def __len__(self) -> int:
        return len(self._running)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("task %s failed: %r", task.get_name(), error, exc_info=error)

    async def ended(self) -> None:
        """Wait until all have ended by themselves, those too that they start."""
        while self._running:
            await asyncio.wait(self._running)

    async def stop(self) -> None:
        """Cancel all, wait for all. Safe to call twice."""
        running = tuple(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

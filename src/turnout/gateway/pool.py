"""Decides which connection serves next: an idle one, a new one, or none yet.

Rules. Per origin a stack of idle connections: the last one back goes out first, so that those not needed grow old and are
closed. Every connection, from the moment somebody sets out to open it until it is gone, holds one of the origin's slots;
when all are held, requests wait in the order in which they came, and what becomes free (a connection, or only its slot)
goes straight to the first of them. The waiting is the caller's to bound: the transport's connect deadline covers it.
An origin without slots and waiters is forgotten. No credential is kept here: keys name origins, connections hold none.

This file reads no clock: `now` is the loop's time, in seconds. `take`, `put`, `discard` are O(1).

Why a queue, not a refusal: the bound stands far above normal use (1,000 per origin), so that it is met in short bursts;
a burst that outlasts the connect deadline becomes UpstreamTimeout(phase="connect"), which is safe to try elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import Generic, Protocol, TypeVar

from turnout.errors import Overloaded


class Pooled(Protocol):
    """What the pool must know of a connection. idle_since: when it was put back last."""

    idle_since: float

    @property
    def is_usable(self) -> bool:
        """Whether it can serve, as far as is known."""
        ...

    def abort(self) -> None:
        """Close at once; leads to `discard`, in this call, if the connection still holds its slot."""
        ...


C = TypeVar("C", bound=Pooled)


class _Lane(Generic[C]):
    """One origin. idle: oldest first (a dict, so that one that dies leaves in O(1)). slots: held now."""

    __slots__ = ("idle", "slots", "waiters")

    def __init__(self) -> None:
        self.idle: dict[C, None] = {}
        self.slots = 0
        self.waiters: deque[asyncio.Future[C | None]] = deque()


class Pool(Generic[C]):
    """Connections by origin key. is_closed: nothing is kept or given any more."""

    __slots__ = ("_idle_keep_s", "_lanes", "_max_idle", "_max_slots", "_sweeper", "is_closed")

    def __init__(self, *, max_idle_per_origin: int, idle_keep_s: float, max_per_origin: int) -> None:
        self._max_idle = max_idle_per_origin
        self._idle_keep_s = idle_keep_s
        self._max_slots = max_per_origin
        self._lanes: dict[str, _Lane[C]] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self.is_closed = False

    def take(self, key: str, now: float) -> C | None:
        """Return the idle connection that was used last, None if there is none worth trying."""
        lane = self._lanes.get(key)
        if lane is None:
            return None
        idle = lane.idle
        while idle:
            connection, _ = idle.popitem()
            if connection.is_usable and now - connection.idle_since < self._idle_keep_s:
                return connection
            connection.abort()
        return None

    async def reserve(self, key: str, now: float) -> C | None:
        """Wait for a slot. Returns None: the slot is the caller's, who opens a connection or calls `release_slot`;
        or a connection that is given over with its slot (look whether it is usable).

        Raises Overloaded when the pool is closed. If cancelled, what was given is passed on.
        """
        self._refuse_if_closed()
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane()
        if lane.slots < self._max_slots:
            lane.slots += 1
            return None
        connection = self.take(key, now)
        if connection is not None:
            return connection
        waiter: asyncio.Future[C | None] = asyncio.get_running_loop().create_future()
        lane.waiters.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            self._give_up(key, lane, waiter)
            raise

    def _give_up(self, key: str, lane: _Lane[C], waiter: asyncio.Future[C | None]) -> None:
        if waiter.cancelled():
            with contextlib.suppress(ValueError):  # passed over already, by what became free in this turn of the loop
                lane.waiters.remove(waiter)
        elif waiter.exception() is None:  # given and cancelled in the same turn of the loop
            connection = waiter.result()
            if connection is None:
                self.release_slot(key)
            elif connection.is_usable:
                self.put(key, connection, connection.idle_since)
            else:
                connection.abort()

    def put(self, key: str, connection: C, now: float) -> None:
        """Take back a connection that can serve again."""
        lane = self._lanes[key]
        connection.idle_since = now
        while lane.waiters:
            waiter = lane.waiters.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        if self.is_closed or len(lane.idle) >= self._max_idle:
            connection.abort()
            return
        lane.idle[connection] = None
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(self._idle_keep_s, self._sweep)

    def discard(self, key: str, connection: C) -> None:
        """The connection is gone, idle or not: its slot is free."""
        self._lanes[key].idle.pop(connection, None)
        self.release_slot(key)

    def release_slot(self, key: str) -> None:
        """A slot is free without a connection: pass it on."""
        lane = self._lanes[key]
        while lane.waiters:
            waiter = lane.waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        lane.slots -= 1
        if not lane.slots:
            del self._lanes[key]

    def close(self) -> None:
        """Close what is idle, refuse those who wait and whoever comes. Connections in use are the caller's."""
        self.is_closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for lane in list(self._lanes.values()):
            while lane.waiters:
                waiter = lane.waiters.popleft()
                if not waiter.done():
                    waiter.set_exception(_closed())
            for connection in list(lane.idle):
                connection.abort()

    def _refuse_if_closed(self) -> None:
        if self.is_closed:
            raise _closed()

    def _sweep(self) -> None:
        """Close what has been idle for too long. The timer is armed only while anything is idle."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._sweeper = None
        oldest = None
        for lane in list(self._lanes.values()):
            while lane.idle:
                connection = next(iter(lane.idle))
                if now - connection.idle_since < self._idle_keep_s:
                    oldest = min(oldest or now, connection.idle_since)
                    break
                connection.abort()
        if oldest is not None:
            self._sweeper = loop.call_at(max(oldest + self._idle_keep_s, now + 0.001), self._sweep)

    def __repr__(self) -> str:
        lanes = "; ".join(
            f"{key}: {len(lane.idle)} idle, {lane.slots - len(lane.idle)} in use, {len(lane.waiters)} waiting"
            for key, lane in self._lanes.items()
        )
        return f"<Pool {lanes or 'empty'}>"


def _closed() -> Overloaded:
    return Overloaded("the gateway is stopping: no new upstream requests", retry_after_s=1.0)

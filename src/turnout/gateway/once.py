"""Sees to it that a request with an Idempotency-Key is served once: who repeats waits for the first, or gets what is kept.

Two places know of a key: this process's runs, where repeats wait for an event, and the store, which the processes of one
home share (workers, a gateway and its successor) and which outlives them. A claim in the store is a lease that its owner
renews, so the key of a gateway that was killed in mid-answer is free again soon, and its request is served anew: that
answer nobody has.
"""

from __future__ import annotations

import asyncio
import logging

from turnout.core.idempotency import reused, still_busy
from turnout.errors import StoreError
from turnout.gateway.clock import Clock
from turnout.gateway.tasks import Tasks
from turnout.gateway.tee import Run, Tee
from turnout.stores import AnswerStore, Found

BEAT_S = 3.0
"""How often leases are renewed: three times before one is over (stores/sqlite.py, LEASE_S)."""

POLL_S = 0.25
"""How often the store is asked whether another process has finished: nothing tells us. 0.1 ms of a thread each time."""

_log = logging.getLogger("turnout.once")


class Once:
    """The runs of this process, over the store that it shares with others."""

    def __init__(self, store: AnswerStore, clock: Clock) -> None:
        self.store = store
        self._clock = clock
        self._wall_less_now = clock.wall() - clock.now()  # a clock that is set while we run makes no answer older
        self._runs: dict[tuple[bytes, bytes], Run] = {}  # which of two requests has a slot, the store says
        self._beat: asyncio.TimerHandle | None = None
        self._tasks = Tasks()

    def _wall(self) -> float:
        return self._wall_less_now + self._clock.now()

    async def begin(self, slot: bytes, request: bytes, patience_s: float) -> Run | Found:
        """Return the run that is now the caller's to serve, and to `end`; or the answer that is kept.

        Waits while the same request is under way, here or in another process; in another at most for patience_s.
        Raises InvalidRequest if the slot is another request's, or busy for longer; StoreError; and with what the run that
        was waited for has ended, if that is not kept.
        """
        until = self._clock.now() + patience_s
        while True:
            run = self._runs.get((slot, request))
            if run is None:
                run = self._runs[slot, request] = Run(slot, request)
                await self._claim(run, until)
                if run.id:
                    return run
            else:
                run.hurry()
                await run.ended.wait()
            if run.error is not None:
                raise run.error
            if run.found is not None:
                return run.found

    async def _claim(self, run: Run, until: float) -> None:
        """Look into the store until the run has its place there, or an end."""
        looking = self._tasks.start(self._look(run, until), "claim an idempotency key")
        try:
            await asyncio.shield(looking)
        except asyncio.CancelledError:  # the client left
            run.is_abandoned = True
            if run.id:
                self._tasks.start(self._end(run, None), "free an idempotency key")
            raise

    async def _look(self, run: Run, until: float) -> None:
        while not run.is_abandoned:
            now = self._clock.now()
            try:
                found = await asyncio.to_thread(self.store.claim, run.slot, run.request, now, self._wall())
            except StoreError as error:
                run.error = error
                break
            if found.state == "mine":
                run.id = found.id
                if run.is_abandoned:
                    await self._release(run)
                    break
                self._arm()
                return
            if found.state == "kept":
                run.found = found
                break
            if found.state == "other" or now >= until:
                run.error = reused() if found.state == "other" else still_busy()
                break
            await asyncio.sleep(POLL_S)
        self._forget(run)

    async def end(self, run: Run, tee: Tee | None) -> None:
        """Keep what `tee` has, or free the key (None); then tell those who wait. Goes on by itself if cancelled."""
        await asyncio.shield(self._tasks.start(self._end(run, tee), "keep an answer"))

    async def _end(self, run: Run, tee: Tee | None) -> None:
        if tee is not None:
            await tee.keep(self._wall())
        if run.found is None:
            await self._release(run)
        self._forget(run)

    async def _release(self, run: Run) -> None:
        try:
            await asyncio.to_thread(self.store.release, run.id)
        except StoreError as error:
            _log.error("an idempotency key cannot be freed, it will be within seconds: %s", error.message)

    def _forget(self, run: Run) -> None:
        del self._runs[run.slot, run.request]
        run.ended.set()

    def _arm(self) -> None:
        if self._beat is None:
            self._beat = asyncio.get_running_loop().call_later(BEAT_S, self._renew)

    def _renew(self) -> None:
        """Renew the leases of what is under way; nothing runs while nothing is."""
        self._beat = None
        ids = [run.id for run in self._runs.values() if run.id]
        if ids:
            self._tasks.start(self._write_leases(ids), "renew idempotency keys")
            self._arm()

    async def _write_leases(self, ids: list[int]) -> None:
        try:
            await asyncio.to_thread(self.store.renew, ids, self._clock.now())
        except StoreError as error:
            _log.error("idempotency keys cannot be renewed: %s", error.message)

    async def stop(self) -> None:
        """Wait for what is being written. No request is under way any more."""
        if self._beat is not None:
            self._beat.cancel()
            self._beat = None
        await self._tasks.ended()

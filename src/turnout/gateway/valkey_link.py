"""Keeps the gateway's contact with its Valkey: one task connects, beats once a second, and says when there is none.

A request asks `is_up` and, without contact, does what it does alone; it never connects and never probes. The first command
that fails ends the contact for everybody (core/contact.py); the beat, which is the probe too, begins it again. What is
logged is a change of that state, one line each.
Sources: RELIABILITY R6, E1, E3, F10, T60 to T65.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from turnout.core.contact import PROBE_S, Contact
from turnout.errors import StoreError
from turnout.gateway.clock import Clock
from turnout.gateway.tasks import Tasks
from turnout.stores.valkey import Valkey

START_S = 0.5
"""How long a start waits for the first beat: with a Valkey that is there, the first request finds it."""

_log = logging.getLogger("turnout.valkey")

Beat = Callable[[], Awaitable[None]]


class ValkeyLink:
    """Contact with one store. beats: what is said once a second while there is a connection; each may raise StoreError.

    told: what the channel's messages are given to. member: our name among those who share the store, new at each start.
    session: a number that grows with every connection. losses: how often contact ended, for the metrics.
    """

    def __init__(self, store: Valkey, clock: Clock) -> None:
        self.store = store
        self.member = f"gw-{clock.request_id()[4:]}"
        self.session = 0
        self.losses = 0
        self.beats: list[Beat] = []
        self.told: Callable[[bytes], None] = lambda _: None
        self.changed: Callable[[], None] = lambda: None
        self._clock = clock
        self._contact = Contact(clock.now())
        self._tasks = Tasks()
        self._soon = asyncio.Event()
        self._has_beaten = asyncio.Event()
        self._is_missed = False

    @property
    def is_up(self) -> bool:
        """Whether requests may ask the store."""
        return self._contact.is_up

    async def start(self) -> None:
        """Begin; wait a moment for the store, which need not be there."""
        self._tasks.start(self._beat_on(), "beat for Valkey")
        try:
            async with asyncio.timeout(START_S):
                await self._has_beaten.wait()
        except TimeoutError:
            self._miss(StoreError(f"no answer within {START_S} s"))

    async def stop(self) -> None:
        """Stop beating and close. Safe to call twice."""
        self._contact.failed(self._clock.now())
        self.store.close()
        await self._tasks.stop()

    def beat_soon(self) -> None:
        """Beat now rather than within the second."""
        self._soon.set()

    async def run(self, script: str, key: str, operation: str, arguments: bytes) -> bytes:
        """Run one of our scripts in the name of this member and session. Raises StoreError; a failure ends the contact."""
        try:
            return await self.store.run(
                script, key, self.member, str(self.session), self.store.run_id, operation, arguments
            )
        except StoreError as error:
            if self.store.is_connected and error.__cause__ is None:
                raise  # it was we who had no time
            self.failed(error)
            raise

    async def ask(self, *command: str | bytes | int) -> object:
        """Send a command. Raises StoreError; if it took the connection with it, the contact has ended."""
        try:
            return await self.store.ask(*command)
        except StoreError as error:
            if not self.store.is_connected:
                self.failed(error)
            raise

    def failed(self, error: StoreError) -> None:
        """A request, or a beat, was not answered as it should be."""
        if self._contact.failed(self._clock.now()):
            self.losses += 1
            self._miss(error)
            self.changed()

    def _miss(self, error: StoreError) -> None:
        if not self._is_missed and not self._contact.is_up:
            self._is_missed = True
            _log.warning("Valkey at %s is not used: %s; going on alone", self.store.address, error.message)

    async def _beat_on(self) -> None:
        serving: asyncio.Task[None] | None = None
        listening: asyncio.Task[None] | None = None
        while True:
            try:
                if not self.store.is_connected:
                    await self.store.connect()
                    self.session += 1
                    serving = self._tasks.start(self._serve(), "read from Valkey")
                if listening is None or listening.done():
                    listening = self._tasks.start(self._listen(), "listen to Valkey")
                await self.store.ask("PING")
                for beat in self.beats:
                    await beat()
            except StoreError as error:
                self.failed(error)
                self._miss(error)
                self.store.close()
            else:
                self._answered()
            if serving is not None and not self.store.is_connected:
                await asyncio.wait((serving,))
            self._has_beaten.set()
            await self._pause()

    def _answered(self) -> None:
        since = self._contact.since
        now = self._clock.now()
        if self._contact.answered(now):
            if self._is_missed:
                _log.warning("Valkey at %s is used again after %.1f s", self.store.address, now - since)
            self._is_missed = False
            self.changed()

    async def _pause(self) -> None:
        """Until the next beat: a second, or less if somebody wants it soon and the store is there."""
        try:
            async with asyncio.timeout(PROBE_S):
                await self._soon.wait()
        except TimeoutError:
            pass
        self._soon.clear()

    async def _serve(self) -> None:
        try:
            await self.store.serve()
        except StoreError as error:
            self.failed(error)

    async def _listen(self) -> None:
        with suppress(StoreError):  # the next beat tries again, and who waits looks again by itself
            await self.store.listen(f"turnout:wake:{self.member}", self._hear, self._look_again)

    def _hear(self, message: bytes) -> None:
        self.told(message)

    def _look_again(self) -> None:
        self.changed()  # what was said before we listened is missed

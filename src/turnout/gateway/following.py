"""Follows the books for changes to who may ask: within half a second in every gateway, at once where the database tells.

Waits for the next change, but no longer than LOOK_S, and then reads what changed since the last time: so the time of the last
reading also says whether the books can be reached at all, which the ring needs to know (gateway/keys.py). While they cannot,
it goes on trying and nobody whose key is known notices.
What is read is only ever newer than what is held, as each row has its revision; nothing is written.
A row that cannot be read refuses whom it is about, is named in the log once, and holds up nobody else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, Literal

from turnout.core.books.keys import Holder, holders
from turnout.core.books.people import rules
from turnout.core.books.reading import UNREADABLE, RulesRead
from turnout.core.books.statements import Steps
from turnout.core.redact import printable
from turnout.core.rules import Budget, Limit
from turnout.errors import ConfigError, StoreError
from turnout.gateway.clock import Clock
from turnout.gateway.keys import KeyRing
from turnout.gateway.tasks import Tasks
from turnout.stores import Database

LOOK_S: Final = 0.4
"""Between two readings at most: twice in the second that a change may take to hold everywhere (RELIABILITY E4)."""

TRY_S: Final = 0.2
"""Between two tries to reach books that cannot be reached."""

AT_ONCE: Final = 500
"""Keys that are taken in without giving the loop its turn: 3 ms."""

_TABLES: Final = ("admin", "virtual_key")

Given = tuple[Sequence[Limit], Sequence[Budget]]

_log = logging.getLogger("turnout.following")


async def _nothing() -> None:
    """What follows a change where nothing else does."""


class Following:
    """Keeps one ring as the books are. on_rules: told of the limits and budgets that were given at run time, when they may
    have changed. also: what else is read anew then; if it raises StoreError, it is asked again.
    check: asked once, before anything is read; raises ConfigError if these are not the books for us.
    """

    def __init__(
        self,
        database: Database,
        ring: KeyRing,
        clock: Clock,
        on_rules: Callable[[Given], object] = lambda _given: None,
        also: Callable[[], Awaitable[None]] = _nothing,
        check: Callable[[], Awaitable[None]] = _nothing,
    ) -> None:
        self._database = database
        self._ring = ring
        self._clock = clock
        self._on_rules = on_rules
        self._also = also
        self._check = check
        self._number = 0
        self._said: set[str] = set()
        self._state: Literal["followed", "away", "others"] = "followed"
        self._reading = asyncio.Lock()
        self._tasks = Tasks()

    async def start(self) -> None:
        """Read everything, then follow. Books that cannot be reached now are followed once they can.

        Raises ConfigError if they are not for us. If that is found later, no key of theirs is known, and it is logged.
        """
        self._ring.followed_at = float("-inf")
        with suppress(StoreError):
            await self.read()
        self._tasks.start(self._follow(), "follow who may ask")

    @property
    def has_read(self) -> bool:
        """Whether the books were reached since the start: until then nobody's key is known."""
        return self._ring.followed_at != float("-inf")

    async def stop(self) -> None:
        """Follow no longer."""
        await self._tasks.stop()

    async def read(self) -> None:
        """Take in what changed since the last time. Raises StoreError."""
        async with self._reading:
            if not self.has_read:
                await self._check()
            asked_at = self._clock.now()
            number, found, given = await self._database.read(lambda: _since(self._number))
            self._say([f"{_TABLES[one.role == 'key']} {one.id}" for one in found if one.grant == UNREADABLE])
            for begin in range(0, len(found), AT_ONCE):
                self._ring.learn(found[begin : begin + AT_ONCE])
                await asyncio.sleep(0)
            if given is not None:
                self._ring.unreadable = frozenset((one.scope, one.name) for one in given.broken)
                self._say([f"rule ({one.scope}, {one.name}, {one.kind})" for one in given.broken])
                self._on_rules((given.limits, given.budgets))
                await self._also()
            self._number = number
            self._ring.followed_at = asked_at

    def _say(self, rows: list[str]) -> None:
        """Say which rows cannot be read, each once."""
        for row in rows:
            if row not in self._said:
                _log.error(
                    "books: row %s cannot be read; whom it is about is refused, all others go on", printable(row)
                )
        self._said.update(rows)

    async def _follow(self) -> None:
        while True:
            try:
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):
                        await self._database.wait(self._number)
                await self.read()
            except StoreError as error:
                if self._state != "away":
                    _log.warning("the books cannot be reached; known keys go on: %s", error.message)
                self._state = "away"
                await asyncio.sleep(TRY_S)
            except ConfigError as error:
                if self._state != "others":
                    _log.error("no key in the books is known: %s", error.problems[0])
                self._state = "others"
                await asyncio.sleep(LOOK_S)
            else:
                if self._state != "followed":
                    _log.warning("the books are followed again")
                self._state = "followed"


def _since(number: int) -> Steps[tuple[int, list[Holder], RulesRead | None]]:
    """The number of the latest change, whose key changed since, and the rules if anything did."""
    latest, found = yield from holders(number)
    given = (yield from rules()) if latest > number or not number else None
    return latest, found, given

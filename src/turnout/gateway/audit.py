"""Writes the audit trail of a running gateway: every change, every refused attempt at the admin plane, refused keys as counts.

A change is written with it or before it (`write`, or core/books/audit.py's `recorded` in the same transaction): where the
trail cannot be written, nothing is changed. What was changed outside (a config file) is written within a second (`soon`).
Refusals are written within a second too, equal ones as one row with their number. However many somebody provokes, they cost
ROWS_A_MINUTE rows and KINDS entries of memory: what is beyond waits, and is counted. Keys that the data plane refused are
counted by whose they are, address and what they asked for, and written once a minute.
All text is redacted and printable before it is written: the trail never holds a key.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import msgspec

from turnout.core.books.audit import Head, Outcome, Record, append, append_all, pages
from turnout.core.redact import printable
from turnout.errors import StoreError
from turnout.gateway.clock import Clock
from turnout.gateway.tasks import Tasks
from turnout.stores import Database

FLUSH_S: Final = 1.0
KEYS_S: Final = 60.0
"""How often refused keys of the data plane are written."""

ROWS_A_MINUTE: Final = 120
"""Rows for refusals: somebody who tries keys for a year fills 20 GB at most, and is seen long before."""

KINDS: Final = 200
"""Refusals that are told apart while they wait; others are counted together."""

SOON: Final = 1_000
"""Changes made outside that wait for the database, at most."""

LONGEST: Final = 500
"""Characters of a name or an address; LONGEST_VALUE: of what was before or after, as JSON."""
LONGEST_VALUE: Final = 16_384

_log = logging.getLogger("turnout.audit")


class Actor(msgspec.Struct, frozen=True):
    """Who did or tried something. name: a key's or an admin's, "" for nobody we know. address: where they were seen."""

    name: str = ""
    role: str = ""
    address: str = ""


OTHERS: Final = Actor("(others)")
CONFIG: Final = Actor("config")


class _Kind(msgspec.Struct, frozen=True):
    """What equal refusals have in common."""

    actor: Actor
    action: str
    target: str
    outcome: Outcome
    reason: str


class _Count:
    """How many, and when the latest was (Unix milliseconds)."""

    __slots__ = ("at_ms", "times")

    def __init__(self) -> None:
        self.times = self.at_ms = 0


class Tally:
    """Counts refusals by kind; of more than KINDS kinds the rest together."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[_Kind, _Count] = {}

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, kind: _Kind, at_ms: int, times: int = 1) -> None:
        """Count one more. About 1 µs."""
        if kind not in self._counts and len(self._counts) >= KINDS:
            kind = _Kind(OTHERS, "", "", kind.outcome, kind.reason)  # few: reasons are ours
        count = self._counts.setdefault(kind, _Count())
        count.times += times
        count.at_ms = max(count.at_ms, at_ms)

    def take(self, most: int) -> list[tuple[_Kind, _Count]]:
        """Take out at most that many, the oldest kinds first."""
        return [(kind, self._counts.pop(kind)) for kind in list(self._counts)[:most]]

    def put_back(self, taken: list[tuple[_Kind, _Count]]) -> None:
        """What could not be written waits on."""
        for kind, count in taken:
            self.add(kind, count.at_ms, count.times)


class Trail:
    """The trail of one gateway. `start` once the database is open, `stop` before it is closed."""

    def __init__(self, database: Database, clock: Clock, redact: Callable[[str], str]) -> None:
        self._database = database
        self._clock = clock
        self._redact = redact
        self._refused = Tally()
        self._keys = Tally()
        self._soon: deque[Record] = deque(maxlen=SOON)
        self._room = float(ROWS_A_MINUTE)
        self._keys_at = clock.now() + KEYS_S
        self._is_failing = False
        self._ending = asyncio.Event()
        self._tasks = Tasks()

    # ── changes ──

    def record(
        self,
        actor: Actor,
        action: str,
        target: str = "",
        *,
        before: object = None,
        after: object = None,
        outcome: Outcome = "done",
        reason: str = "",
    ) -> Record:
        """Return a row about now. before, after: values that JSON can hold, structs among them; None for nothing."""
        return Record(
            self._now_ms(),
            self._text(actor.name),
            actor.role,
            self._text(actor.address),
            action,
            self._text(target),
            outcome,
            reason,
            before=self._value(before),
            after=self._value(after),
        )

    async def write(self, record: Record) -> Head:
        """Write a row, durably. Raises StoreError: then do not make the change."""
        return await self._database.write(lambda: append(record))

    def soon(self, record: Record) -> None:
        """Have a row written within a second: of a change that was made elsewhere. From any thread."""
        self._soon.append(record)

    def config(self, before: str, after: str) -> None:
        """Have it written that another configuration is in force: before, after: revisions, before is "" at a start."""
        was = {"revision": before} if before else None
        self.soon(self.record(CONFIG, "config.change", before=was, after={"revision": after}))

    # ── refusals ──

    def refused(self, actor: Actor, action: str, target: str, reason: str, outcome: Outcome = "refused") -> None:
        """Note an attempt at the admin plane that came to nothing. action: as of a change, or method and path. 3 µs."""
        short = Actor(actor.name[:LONGEST], actor.role, actor.address[:LONGEST])
        self._refused.add(_Kind(short, action[:LONGEST], target[:LONGEST], outcome, reason), self._now_ms())

    def refused_key(self, actor: Actor, reason: str, target: str = "") -> None:
        """Note that the data plane refused a key. actor: whose it is, if that is known. target: what was asked for. 2 µs.

        Models can be asked for by names without end: once half the room is taken, what was asked for is not told apart.
        """
        target = target[:LONGEST] if len(self._keys) < KINDS // 2 else ""
        short = Actor(actor.name[:LONGEST], actor.role, actor.address[:LONGEST])
        self._keys.add(_Kind(short, "data.ask", target, "refused", reason), self._now_ms())

    # ── life ──

    async def start(self) -> None:
        """Say in the log where the trail stands, for whoever wants to compare it later; then write what comes."""
        with suppress(StoreError):  # a database that is away now is waited for
            _, head = await self._database.read(lambda: pages(0, 0))
            _log.info("audit trail: %d rows, head %d:%s", head.seq, head.seq, head.hash)
        self._tasks.start(self._run(), "write the audit trail")

    async def stop(self) -> None:
        """Write what waits. Safe to call twice."""
        self._ending.set()  # not cancelled: a row that is being written would be lost or written twice
        await self._tasks.ended()
        self._room, self._keys_at = float(2 * KINDS + SOON), self._clock.now()
        await self.flush()

    async def _run(self) -> None:
        while not self._ending.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), FLUSH_S)
            self._room = min(self._room + FLUSH_S * ROWS_A_MINUTE / 60, ROWS_A_MINUTE)
            await self.flush()

    async def flush(self) -> None:
        """Write what waits, as far as there is room. What the database does not take now waits on."""
        soon = [self._soon.popleft() for _ in range(len(self._soon))]
        refused = self._refused.take(int(self._room))
        keys = self._keys.take(KINDS) if self._clock.now() >= self._keys_at else []
        records = [*soon, *(self._row(kind, count) for kind, count in (*refused, *keys))]
        if not records:
            return
        try:
            await self._database.write(lambda: append_all(records))
        except StoreError as error:
            self._soon.extendleft(reversed(soon))
            self._refused.put_back(refused)
            self._keys.put_back(keys)
            if not self._is_failing:
                _log.warning("the audit trail waits for its database: %s", error.message)
            self._is_failing = True
            return
        if self._is_failing:
            _log.warning("the audit trail is written again")
        self._is_failing = False
        self._room -= len(refused)
        if keys:
            self._keys_at = self._clock.now() + KEYS_S

    # ── what may be written ──

    def _row(self, kind: _Kind, count: _Count) -> Record:
        actor = kind.actor
        return Record(
            count.at_ms,
            self._text(actor.name),
            actor.role,
            self._text(actor.address),
            self._text(kind.action),
            self._text(kind.target),
            kind.outcome,
            kind.reason,
            count.times,
        )

    def _now_ms(self) -> int:
        return int(self._clock.wall() * 1000)

    def _text(self, text: str) -> str:
        return printable(self._redact(text[:LONGEST]))[:LONGEST]

    def _value(self, value: object) -> str:
        if value is None:
            return ""
        told = msgspec.json.encode(self._clear(msgspec.to_builtins(value, enc_hook=repr))).decode()
        if len(told) <= LONGEST_VALUE:
            return told
        return msgspec.json.encode({"cut": self._text(told), "characters": len(told)}).decode()

    def _clear(self, value: object) -> object:
        """The same value with every text in it fit to be written."""
        if isinstance(value, str):
            return printable(self._redact(value))
        if isinstance(value, dict):
            return {self._clear(key): self._clear(one) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [self._clear(one) for one in value]
        return value

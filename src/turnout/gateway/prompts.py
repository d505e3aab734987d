"""Keeps prompts where the configuration says so: without what is personal or secret, sealed, and no longer than it says.

Taking one is an append; a thread makes it impersonal and seals it, in batches. Prompts are no books: what the database does
not take is dropped and counted, and no request waits for it (fail open). They are deleted within a minute after their time,
also when prompts are not kept any more. Whoever reads one is in the audit trail first.
What is kept is the request with placeholders (core/privacy), not the answer. Pictures and other data in it are left out.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import msgspec

from turnout.core.books.audit import Outcome
from turnout.core.books.prompts import EXPIRED_AT_ONCE, SealedPrompt, add, expire, find, has_any
from turnout.core.catalog import Snapshot
from turnout.core.contracts import Call
from turnout.core.privacy.kinds import chosen
from turnout.core.privacy.masking import Mask
from turnout.core.privacy.requests import hidden
from turnout.core.rules import PrivacyRule
from turnout.core.sealing import Sealer, Unreadable
from turnout.errors import StoreError
from turnout.gateway.audit import Actor, Trail
from turnout.gateway.clock import Clock
from turnout.gateway.exchange import Exchange
from turnout.gateway.tasks import Tasks
from turnout.gateway.vault import nonce
from turnout.stores import Database

PURPOSE: Final = "stored prompt"

BATCH_S: Final = 0.5
EXPIRE_S: Final = 60.0

WAITING_BYTES: Final = 32 * 1024 * 1024
"""What waits for the database at most; beyond that prompts are dropped. Source: RELIABILITY A7 (everything is bounded)."""

LONGEST_BYTES: Final = 256 * 1024
"""Of one prompt, as it is kept; a longer one is cut."""

LONGEST_ID: Final = 256
DATA: Final = "<data>"
"""What stands for pictures, sound, files and signatures: whatever is not looked into and longer than an id."""

_log = logging.getLogger("turnout.prompts")


class Kept(msgspec.Struct, frozen=True):
    """A prompt that was kept. at: Unix seconds. fields: the members of its request.

    cut: instead of those, the beginning of one that was too long to be kept whole, "" for others.
    """

    request_id: str
    at: float
    dialect: str
    task: str
    fields: dict[str, msgspec.Raw]
    cut: str = ""


class _Waiting(msgspec.Struct, frozen=True):
    """A request that ended. size: of its body, in bytes."""

    request_id: str
    at: float
    call: Call
    task: str
    rule: PrivacyRule
    size: int


class Prompts:
    """The prompts of these books. root: the root key. snapshot: what holds now. redact: takes out the secrets that are known.

    dropped: how many could not be kept.
    """

    def __init__(
        self,
        database: Database,
        trail: Trail,
        clock: Clock,
        root: bytes,
        snapshot: Callable[[], Snapshot],
        redact: Callable[[str], str],
    ) -> None:
        self.dropped = 0
        self._database = database
        self._sealer = Sealer(root, PURPOSE)
        self._trail = trail
        self._clock = clock
        self._snapshot = snapshot
        self._redact = redact
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._is_well = True
        self._may_have_any = True
        self._expire_at = clock.now()
        self._ending = asyncio.Event()
        self._writing = asyncio.Lock()
        self._tasks = Tasks()

    def record(self, exchange: Exchange) -> None:
        """Take the prompt of an exchange that ended, if its configuration says so. O(1); 0.1 µs if not."""
        rule = exchange.snapshot.privacy
        if rule.prompts == "none":
            return
        call = exchange.call
        if self._waiting_bytes + call.size > WAITING_BYTES:
            self._drop(1, "they come faster than they can be written")
            return
        self._waiting_bytes += call.size
        self._waiting.append(
            _Waiting(exchange.request_id, exchange.at, call, exchange.ask.task or call.task, rule, call.size)
        )

    # ── life ──

    async def start(self) -> None:
        """Begin to write, and to delete. Once the database is open."""
        self._tasks.start(self._run(), "keep prompts")

    async def stop(self) -> None:
        """Write what waits. Safe to call twice; before the database is closed."""
        self._ending.set()  # not cancelled: what is being written would be lost
        await self._tasks.ended()
        await self.flush()

    async def _run(self) -> None:
        while not self._ending.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), BATCH_S)
            await self.flush()
            if self._clock.now() >= self._expire_at:
                self._expire_at = self._clock.now() + EXPIRE_S
                await self.expire()

    async def flush(self) -> None:
        """Write what waits, and wait for what is being written."""
        async with self._writing:
            if self._waiting:
                await self._write()

    async def _write(self) -> None:
        batch = [*self._waiting]
        self._waiting.clear()
        self._waiting_bytes = 0
        self._may_have_any = True
        try:
            sealed = await asyncio.to_thread(self._sealed, batch)
            await self._database.write(lambda: add(sealed))
        except StoreError as error:
            self._drop(len(batch), error.message)
        else:
            if not self._is_well:
                _log.warning("prompts are kept again")
            self._is_well = True

    def _drop(self, count: int, why: str) -> None:
        self.dropped += count
        if self._is_well:
            _log.warning("prompts cannot be kept and are dropped until they can: %s", why)
        self._is_well = False

    async def expire(self) -> None:
        """Delete those whose time is over, in batches. Nothing is written where none is kept."""
        if not self._may_have_any:
            return
        before_ms = self._since_ms()
        with suppress(StoreError):  # they are as little read as written then; the next minute deletes them
            while await self._database.write(lambda: expire(before_ms)) == EXPIRED_AT_ONCE:
                pass
            self._may_have_any = await self._database.read(has_any)

    def _since_ms(self) -> int:
        return int((self._clock.wall() - self._snapshot().privacy.keep_s) * 1000)

    # ── reading ──

    async def show(self, actor: Actor, request_id: str) -> Kept | Unreadable | None:
        """Return a prompt, None if none is kept, after noting in the audit trail who asked for it. Raises StoreError."""
        found = await self._database.read(lambda: find(request_id, self._since_ms()))
        outcome: Outcome = "failed" if found is None else "done"
        reason = "not_found" if found is None else ""
        await self._trail.write(self._trail.record(actor, "prompt.show", request_id, outcome=outcome, reason=reason))
        if found is None:
            return None
        plain = self._sealer.open(found.sealed, request_id)
        return plain if isinstance(plain, Unreadable) else msgspec.json.decode(plain, type=Kept)

    # ── in the thread ──

    def _sealed(self, batch: Sequence[_Waiting]) -> list[SealedPrompt]:
        by_id = {one.request_id: one for one in batch}  # a request's id is told once
        return [self._seal(one) for one in by_id.values()]

    def _seal(self, one: _Waiting) -> SealedPrompt:
        plain = msgspec.json.encode(self._kept(one))
        sealed = self._sealer.seal(plain, nonce(self._clock), one.request_id)
        return SealedPrompt(one.request_id, int(one.at * 1000), sealed)

    def _kept(self, one: _Waiting) -> Kept:
        scrub = _Scrub(Mask(chosen(one.rule.kinds)), self._redact)
        fields = hidden(one.call.fields, scrub)
        if not scrub.is_cut and sum(map(len, fields.values())) <= LONGEST_BYTES:
            return Kept(one.request_id, one.at, one.call.dialect, one.task, fields)
        written = msgspec.json.encode(
            msgspec.json.decode(msgspec.json.encode(fields))
        )  # anew: without the client's escapes
        cut = written[:LONGEST_BYTES].decode("utf-8", "ignore")
        return Kept(one.request_id, one.at, one.call.dialect, one.task, {}, cut)


class _Scrub:
    """What becomes of the texts of a prompt that is kept (a Hider): nothing secret, nothing personal, no data.

    is_cut: there was more text than LONGEST_BYTES. What is beyond is not looked at, so that no prompt takes long.
    """

    def __init__(self, mask: Mask, redact: Callable[[str], str]) -> None:
        self.is_cut = False
        self._mask = mask
        self._redact = redact
        self._left = LONGEST_BYTES

    def hide(self, text: str, before: str = "") -> str:
        if len(text) > self._left:
            self.is_cut = True
            text = text[: self._left].rpartition(" ")[0]  # not within a word: half an address is not known for one
        self._left -= len(text)
        return self._mask.hide(self._redact(text), before)

    def keep(self, data: str) -> str:
        return data if len(data) <= LONGEST_ID else DATA

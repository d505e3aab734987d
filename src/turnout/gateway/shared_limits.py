"""Shares limits with the other gateways of one database: looks who is there, takes what is short, gives back what others want.

Alone, it looks four times a second whether somebody came, which is one read, and requests meet no database. With others it
holds a part of each limit (core/leasing.py), so most requests meet none either; one that needs more than is held waits for a
transaction, and at most two looks longer, for what others may give back. Rules.
- Who was silent for SILENT_S is gone. Who cannot say that he is here for so long asks before he goes on: a claim to
  everything holds for LONE_S after the last look, a part for SILENT_S after the last beat. So limits hold however long a
  process stood still.
- While the database cannot be reached, each goes on with what it holds, and somebody new to it with the part that everybody
  could have: a limit may be passed by that, requests are not refused for it (RELIABILITY F5, D4). It is found out once, by
  requests that wait for PATIENCE_S; then nobody waits.
Sources: RELIABILITY E2, R3, R6, T21, T36, T65.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from math import inf

from turnout.core.books.grants import (
    GONE,
    Beaten,
    Heard,
    Other,
    Wish,
    beat,
    hear,
    leave,
    publish,
    turn,
)
from turnout.core.leasing import Lease, halfway, kept, unheard
from turnout.core.limit_names import Meters
from turnout.core.limiting import Meter
from turnout.core.rules import Rates
from turnout.errors import StoreError
from turnout.gateway.clock import Clock
from turnout.gateway.tasks import Tasks
from turnout.stores import Database

LOOK_S = 0.25
"""Between two looks: how long a newcomer waits for us, and somebody who wants what we do not use."""

BEAT_S = 5.0
"""Between two signs of life. Each is a write to the disk."""

SILENT_S = 14.0
"""Who was silent for so long is gone, and his places are free: with a look and a beat on top within 15 s (T36)."""

LONE_S = 1.0
"""The same for who claims everything: a gateway that was killed keeps its successor waiting for no longer."""

LATER_S = 0.25
"""How much longer others wait than we rely on."""

PATIENCE_S = 0.5
"""How long a request waits for a transaction: ten times what one takes on a busy disk."""

JOIN_S = 2.0
"""How long a request waits, just after a start, for whoever claims everything still."""

ROUNDS = 3
"""How often a request asks: at once, and after each of two looks. What others do not use is here by then."""

DRY_S = 1.0
"""After that, how long it is known that there is no more. Asking goes on meanwhile, but nobody waits for it."""

_log = logging.getLogger("turnout.limits")


class SharedLimits:
    """One gateway's part in limits that several share. `start` before the first request, `stop` after the last.

    sure_until: monotonic seconds until which what the meters say may be relied on. is_cut: the database cannot be reached.
    """

    def __init__(self, database: Database, writer: str, clock: Clock, meters: Meters) -> None:
        self.sure_until = -inf
        self.is_cut = False
        self._database = database
        self._writer = writer
        self._clock = clock
        self._meters = meters
        self._is_alone = False
        self._seen: dict[str, tuple[Other, float]] = {}
        self._beaten_at = -inf
        self._restless: dict[str, Meter] = {}
        self._lock = asyncio.Lock()
        self._looked = asyncio.Event()
        self._taken: asyncio.Event | None = None
        self._tasks = Tasks()
        meters.is_shared = True

    @property
    def others(self) -> int:
        """How many other gateways there are."""
        return len(self._seen)

    async def start(self) -> None:
        """Look who is there, and go on looking."""
        await self.look()
        self._tasks.start(self._run(), "share limits")

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            await self.look()

    async def stop(self) -> None:
        """Leave to the others what we held, and to a successor what was used. Safe to call twice."""
        await self._tasks.stop()
        if self._beaten_at == -inf:  # the books never knew us
            return
        self._beaten_at = -inf
        now = self._clock.now()
        used = {meter.name: meter.used(now) for meter in self._meters}
        left = {name: Rates(one.requests_minute, one.tokens_minute) for name, one in used.items()}
        try:
            await self._database.write(partial(leave, self._writer, left, int(self._clock.wall())))
        except StoreError as error:
            _log.warning("limits: others hold back our part for a quarter of a minute: %s", error.message)

    # ── for requests ──

    async def be_sure(self) -> None:
        """Wait until the meters may be relied on again: after a start, and after the process stood still."""
        until = self._clock.now() + JOIN_S
        while self.sure_until <= self._clock.now() < until:
            await self._wait_for(self._looked)

    async def more(self, meters: Sequence[Meter], tokens: int, round_: int) -> bool:
        """Ask for more of what a request is short of. False: there is no use in looking again.

        round_: how often it has asked before. Takes as long as a transaction, or as the next look.
        """
        now = self._clock.now()
        short = [meter for meter in meters if meter.is_short(tokens, now)]
        if self.is_cut:
            return self._go_on_with(short, tokens, now)
        leases = [meter.lease for meter in short if meter.lease is not None]
        may_wait = round_ < ROUNDS and all(lease.dry_until <= now for lease in leases)
        for lease in leases:
            lease.lack(tokens, now, waits=may_wait)
            if not may_wait:
                lease.dry_until = now + DRY_S
        self._restless.update((meter.name, meter) for meter in short)
        if may_wait:
            await self._wait_for(self._looked if round_ else self._take_soon())
        return may_wait

    def used_more(self, meter: Meter) -> None:
        """It used more than was taken for it: others should know."""
        self._restless[meter.name] = meter

    def changed(self) -> None:
        """Limits are others than they were: what is held of them is to be looked at."""
        self._restless.update((meter.name, meter) for meter in self._meters)

    def _go_on_with(self, short: Sequence[Meter], tokens: int, now: float) -> bool:
        """Let them have what everybody could have; return whether that is enough."""
        for meter in short:
            if meter.lease is not None:
                meter.may(unheard(meter.limit, meter.lease.held, len(self._seen)))
        return not any(meter.is_short(tokens, now) for meter in short)

    async def _wait_for(self, event: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                await event.wait()
        except TimeoutError:
            self._lose(f"no answer within {PATIENCE_S:g} s")

    def _take_soon(self) -> asyncio.Event:
        """Return what is set after the next transaction, that all who are short share."""
        if self._taken is None:
            self._taken = asyncio.Event()
            self._tasks.start(self._take(self._taken), "take more of a limit")
        return self._taken

    async def _take(self, taken: asyncio.Event) -> None:
        async with self._lock:
            self._taken = None
            try:
                await self._turn()
            except StoreError as error:
                self._lose(error.message)
        taken.set()

    # ── looking ──

    async def look(self) -> None:
        """Hear who is there; beat if it is time, inherit, give back and take. Never raises.

        Alone, a look that takes too long is found out here, before a request would have to wait for it.
        """
        async with self._lock:
            late_s = LONE_S - 2 * LOOK_S if self._is_alone else SILENT_S
            late = asyncio.get_running_loop().call_later(late_s, self._lose, f"no answer within {late_s:g} s")
            try:
                await self._look()
            except StoreError as error:
                self._lose(error.message)
            finally:
                late.cancel()
        looked, self._looked = self._looked, asyncio.Event()
        looked.set()

    async def _look(self) -> None:
        begun = self._clock.now()
        heard = await self._database.read(partial(hear, self._writer))
        self._observe(heard.others)
        self._meters.expire(begun)
        others, is_ours = heard.others, heard.is_known
        silent = self._silent()
        if self._is_beat_due(heard, silent, begun):
            beaten = await self._database.write(partial(beat, self._writer, silent, int(self._clock.wall())))
            self._beaten_at = begun
            others, is_ours = beaten.others, beaten.was_known
            self._inherit(beaten)
        if not others:
            self._be_alone()
            if not self.is_cut or self._clock.now() < begun + LONE_S:  # else it is no use yet
                self._find_again(begun + LONE_S)
            return
        if heard.is_alone or self._is_alone or not is_ours:
            await self._be_one_of_several(is_ours=is_ours)
        self._hear(heard)
        is_settled = not any(one.is_alone for one in others)
        self._find_again(self._beaten_at + SILENT_S if is_settled else -inf)
        await self._turn()

    def _observe(self, others: Sequence[Other]) -> None:
        """Note since when each has stood still, of the time that we could see it."""
        now = self._clock.now()
        before = {} if self.is_cut else self._seen
        self._seen = {}
        for one in others:
            last = before.get(one.name)
            self._seen[one.name] = last if last is not None and last[0] == one else (one, now)

    def _silent(self) -> dict[str, int]:
        now = self._clock.now()
        return {
            name: one.beat
            for name, (one, since) in self._seen.items()
            if now >= since + LATER_S + (LONE_S if one.is_alone else SILENT_S)
        }

    def _is_beat_due(self, heard: Heard, silent: dict[str, int], now: float) -> bool:
        if heard.is_alone and not heard.others:
            return False
        is_anybody_gone = bool(silent) or any(one.beat == GONE for one in heard.others)
        return not heard.is_known or not heard.others or is_anybody_gone or now >= self._beaten_at + BEAT_S

    def _inherit(self, beaten: Beaten) -> None:
        now = self._clock.now()
        left = {one.name for one in beaten.others}
        self._seen = {name: seen for name, seen in self._seen.items() if name in left}
        for name, used in beaten.inherited.items():
            self._meters.inherit(name, used, now)

    def _be_alone(self) -> None:
        """All of every limit is ours."""
        if not self._is_alone:
            self._is_alone = True
            self._meters.is_shared = False
            self._meters.forgotten.clear()
            self._restless.clear()
            for meter in self._meters:
                meter.lease = None
                meter.may(meter.limit)

    async def _be_one_of_several(self, *, is_ours: bool) -> None:
        """Say what we hold: half of what is left of everything that was ours, or what we use, if the books lost us."""
        was_alone, self._is_alone = self._is_alone, False
        self._meters.is_shared = True
        now = self._clock.now()
        held = {}
        for meter in self._meters:
            used = meter.used(now)
            if was_alone and is_ours:
                meter.lease = Lease(halfway(meter.limit, used))
            else:
                meter.lease = Lease(kept(meter.limit, used, used, gives_back=True), is_sure=False)
                self._restless[meter.name] = meter
            meter.may(meter.lease.usable(meter.limit))
            held[meter.name] = meter.lease.held
        try:
            is_known = await self._database.write(partial(publish, self._writer, held))
        except StoreError:
            if was_alone:
                self._be_alone()  # the books say so still
            raise
        for meter in self._meters:
            if meter.lease is not None and is_known:
                meter.lease.written = (held.get(meter.name, Rates()), False)

    def _hear(self, heard: Heard) -> None:
        for name in heard.rivals:
            meter = self._meters.get(name)
            if meter is not None:
                self._restless[name] = meter
        for name, meter in self._restless.items():
            if meter.lease is not None:
                meter.lease.rivals = heard.rivals.get(name, 0)

    # ── giving and taking ──

    async def _turn(self) -> None:
        """Write what changed of what we hold, and take what is short. Raises StoreError."""
        now = self._clock.now()
        released = [(name, Rates(), False) for name in self._meters.forgotten]
        rows: dict[str, tuple[Meter, Rates]] = {}
        asked: dict[str, Meter] = {}
        wishes = []
        for name, meter in list(self._restless.items()):
            lease = meter.lease
            if lease is None or self._meters.get(name) is not meter:
                del self._restless[name]
                continue
            used = meter.used(now)
            lease.keep(meter.limit, used)
            meter.may(lease.usable(meter.limit))  # before it is written: from then on it may be somebody else's
            if lease.is_wanting(now):
                asked[name] = meter
                wishes.append(Wish(name, meter.limit, used, lease.held, lease.need()))
            elif lease.written != (lease.held, False):
                rows[name] = (meter, lease.held)
            elif lease.is_sure and not lease.rivals:
                del self._restless[name]
        if not (released or rows or wishes):
            return
        written = [*released, *((name, held, False) for name, (_, held) in rows.items())]
        got = await self._database.write(partial(turn, self._writer, written, wishes))
        if got is None:  # somebody claims everything, or we were taken for gone: the next look knows
            self.sure_until = -inf
            return
        del self._meters.forgotten[: len(released)]
        for meter, held in rows.values():
            if meter.lease is not None:
                meter.lease.written = (held, False)
        for name, taken in got.items():
            meter = asked[name]
            if meter.lease is not None:
                meter.lease.took(taken)
                meter.may(meter.lease.usable(meter.limit))

    # ── contact ──

    def _lose(self, why: str) -> None:
        if not self.is_cut:
            _log.warning("limits: the books cannot be reached, this gateway goes on with its part of each: %s", why)
        self.is_cut = True
        self.sure_until = inf

    def _find_again(self, sure_until: float) -> None:
        if self.is_cut:
            _log.warning("limits: the books can be reached again")
            self.is_cut = False
            for meter in self._meters:
                if meter.lease is not None:
                    meter.may(meter.lease.usable(meter.limit))
                    self._restless[meter.name] = meter
        self.sure_until = sure_until

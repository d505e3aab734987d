"""Reserves money before a vendor is asked, out of leases that this writer holds of each budget, and gives back what is idle.

Fast: what the leases cover is reserved in memory, without a wait. Else the books are asked (core/books/budgets.py), by one
transaction at a time for all who wait, so a thousand requests at the end of a budget cost a few transactions, and each gets
what it needs of every budget that binds it, or nothing.
A lease is ours until LEASE_S after it was last renewed. A writer that cannot reach the books for that long stops using it,
before another may take it. A budget whose rest is held idle by other writers is recalled from them, once.
What cannot be known is no refusal of money: where the books do not answer, it is 503 (RELIABILITY F5).
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from turnout.core.books.budgets import Held, Standing, held, lease, standings, tend
from turnout.core.books.entry import Charge
from turnout.core.budgeting import Account, Binding, Granted, Named, Window, account, binding, by_name, window
from turnout.core.catalog import Snapshot
from turnout.core.principal import Who
from turnout.core.rules import Budget, Tier
from turnout.errors import BudgetExceeded, BudgetUnknown, StoreError
from turnout.gateway.clock import Clock
from turnout.gateway.purses import AGAIN_S, IDLE_LOOKS, Purse, Reservation, Waiting, reserved
from turnout.gateway.tasks import Tasks
from turnout.stores import Database

LEASE_S = 600
"""How long the books keep what a dead writer holds, if nobody can read its journal (it is on another machine)."""

RENEW_S = 60.0
"""Between two renewals of all leases."""

SURE_S = LEASE_S - 60.0
"""How long after a renewal a lease is used at most: clocks of two machines may be a minute apart."""

TEND_S = 0.5
"""Between two looks at what is held: an idle lease goes back, a recalled one too, and what was spent is read."""

KNOWN = 4096
"""So many callers are known with their budgets; one more, and they are looked up anew. 10 µs each."""

_log = logging.getLogger("turnout.budgets")

OnSpent = Callable[[Budget, Account, int], None]
"""Called with what the books say was spent, often, also where nothing has changed. The int: nano-dollars."""

FOREVER = math.inf


class _Bound(msgspec.Struct, frozen=True):
    """What binds somebody, from one instant (Unix seconds) until before another."""

    begins_at: float
    ends_at: float
    purses: tuple[Purse, ...]


def _unknown_whether() -> bool:
    return False


class Budgets:
    """The budgets of one writer. `start` before the first request; `stop` after the last, once the ledger has all of it.

    writer: its name in the books. on_spent: told what was spent. is_booked: whether the ledger has all that was settled;
    then what the books still hold for an idle purse is in no journal, and goes back. refused: requests by the scope that had no room for them.
    """

    def __init__(
        self,
        database: Database,
        writer: str,
        clock: Clock,
        on_spent: OnSpent | None = None,
        is_booked: Callable[[], bool] = _unknown_whether,
    ) -> None:
        self._database = database
        self._writer = writer
        self._clock = clock
        self._on_spent = on_spent
        self._is_booked = is_booked
        self._tasks = Tasks()
        self._stopping = asyncio.Event()
        self._budgets: tuple[Budget, ...] = ()
        self._named: Named = {}
        self._tiers: Mapping[str, Tier] = {}
        self._purses: dict[Charge, Purse] = {}
        self._bound: dict[Who, _Bound] = {}
        self._queue: list[Waiting] = []
        self._is_asking = False
        self._failed_until = 0.0
        self._failure = ""
        self._is_neglected = False
        self._renewed_at = clock.now()
        self.refused: dict[str, int] = {}

    # ── life ──

    def start(self) -> None:
        """Begin to look after leases."""
        self._tasks.start(self._look_after(), "look after leases of budgets")

    async def stop(self) -> None:
        """Give everything back. Safe to call twice."""
        self._stopping.set()
        await self._tasks.ended()
        for purse in self._purses.values():
            purse.is_touched, purse.looks = False, IDLE_LOOKS
        await self.look()

    def install(self, snapshot: Snapshot, key_budgets: Sequence[Budget] = ()) -> None:
        """Go by these budgets from the next request on; reservations that are open stay what they are."""
        self._budgets = (*snapshot.budgets, *key_budgets)
        self._named = by_name(self._budgets)
        self._tiers = snapshot.tiers
        self._bound.clear()

    # ── reserving ──

    async def reserve(self, who: Who, nano_usd: int | None) -> Reservation:
        """Take what an attempt may cost at most out of every budget that binds `who`. None: it has no price.

        Raises BudgetExceeded (also for what has no price where a budget may refuse), StoreError if that cannot be known:
        then nothing is reserved. Does not suspend where the leases cover it. 2 µs with two budgets.
        """
        bound = self._bound.get(who)
        wall = self._clock.wall()
        if bound is None or not bound.begins_at <= wall < bound.ends_at:
            bound = self._bind(who, wall)
        purses = bound.purses
        if nano_usd is None:
            nano_usd = self._unpriced(purses)
        for purse in purses:
            if not purse.has(nano_usd):
                return await self._ask(purses, nano_usd)
        for purse in purses:
            purse.free_nano_usd -= nano_usd
        return reserved(purses, nano_usd)

    def _unpriced(self, purses: Sequence[Purse]) -> int:
        for purse in purses:
            if purse.account.is_hard:
                self._count(purse)
                refused = BudgetExceeded(
                    f"This model has no price, so nobody knows what it takes of the budget {purse.account.charge.budget!r}. Give "
                    "it a `price` in the config, or use a model that has one."
                )
                raise purse.named(refused)
        return 0

    def _bind(self, who: Who, wall: float) -> _Bound:
        """Find the purses of `who` for now."""
        found = binding(self._named, self._tiers, who)
        windows = [window(one.budget.period, one.budget.zone, one.budget.starts_at, wall) for one in found]
        if len(self._bound) >= KNOWN:
            self._bound.clear()
        bound = self._bound[who] = _Bound(
            max([at.starts_at for at in windows], default=-FOREVER),
            min([at.ends_at for at in windows if at.ends_at is not None], default=FOREVER),
            tuple(map(self._purse, found, windows)),
        )
        return bound

    def _purse(self, one: Binding, at: Window) -> Purse:
        wanted = account(one, at)
        purse = self._purses.get(wanted.charge)
        if purse is None:
            purse = self._purses[wanted.charge] = Purse(wanted, one.budget)
        else:
            purse.adopt(wanted, one.budget)
        return purse

    def _count(self, purse: Purse) -> None:
        scope = purse.account.scope
        self.refused[scope] = self.refused.get(scope, 0) + 1

    # ── asking the books ──

    async def _ask(self, purses: Sequence[Purse], nano_usd: int) -> Reservation:
        now = self._clock.now()
        for purse in purses:
            if purse.is_dry(nano_usd, now):
                self._count(purse)
                raise purse.exceeded(nano_usd)
        if self._failure and now < self._failed_until:
            raise _unknown(self._failure)
        waiting = Waiting(purses, nano_usd, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._ask_soon()
        try:
            return await waiting.done
        except asyncio.CancelledError:
            waiting.leave()
            raise

    def _ask_soon(self) -> None:
        if not self._is_asking:
            self._is_asking = True
            self._tasks.start(self._ask_all(), "lease parts of budgets")

    async def _ask_all(self) -> None:
        try:
            while self._queue:
                batch, self._queue = self._queue, []
                await self._ask_for(batch)
        finally:
            self._is_asking = False

    async def _ask_for(self, batch: Iterable[Waiting]) -> None:
        """Serve all of `batch` by one transaction; what is free here by now goes first."""
        positions: dict[Purse, int] = {}
        asks: list[list[tuple[int, int]]] = []
        askers: list[Waiting] = []
        for waiting in batch:
            if waiting.done.done():
                continue
            for purse in waiting.purses:
                if not purse.is_known:
                    purse.put_aside()  # what was leased under another limit
            lacking = waiting.take()
            if not any(lacking) and all(purse.is_known for purse in waiting.purses):
                waiting.succeed()
                continue
            places = [positions.setdefault(purse, len(positions)) for purse in waiting.purses]
            asks.append([(at, lack) for at, lack in zip(places, lacking, strict=True) if lack])
            askers.append(waiting)
        if not askers:
            return
        purses = list(positions)
        returned = [purse.back_nano_usd for purse in purses]
        for purse in purses:
            purse.back_nano_usd = 0
        accounts = [purse.account for purse in purses]
        wall = self._clock.wall()
        try:
            granted = await self._database.write(
                lambda: lease(self._writer, accounts, asks, returned, wall, int(wall) + LEASE_S)
            )
        except StoreError as error:
            for purse, back in zip(purses, returned, strict=True):
                purse.back_nano_usd += back
            self._failed(error, askers)
        else:
            if self._failure:
                _log.warning("what budgets have left can be asked again")
            self._failure = ""
            for purse, asked, room, leased in zip(purses, accounts, granted.rooms, granted.leased, strict=True):
                purse.leased(asked, room, leased)
            self._hand_out(purses, asks, askers, granted)

    def _hand_out(
        self,
        purses: Sequence[Purse],
        asks: Sequence[Sequence[tuple[int, int]]],
        askers: Sequence[Waiting],
        granted: Granted,
    ) -> None:
        now = self._clock.now()
        patient: list[Waiting] = []
        for waiting, ask, refused in zip(askers, asks, granted.refused, strict=True):
            if refused is None:
                for at, lack in ask:
                    purses[at].free_nano_usd -= lack
                waiting.succeed()
                continue
            waiting.put_back()
            purse = purses[refused]
            if refused in granted.recalled and waiting.may_wait(purse, now):
                patient.append(waiting)
            else:
                self._count(purse)
                waiting.fail_at(purse, now)
        for purse in purses:
            if not purse.is_known:  # another limit has come meanwhile
                purse.put_aside()
        if patient:
            self._tasks.start(self._ask_again(patient), "wait for leases of budgets that were recalled")

    async def _ask_again(self, patient: Iterable[Waiting]) -> None:
        await asyncio.sleep(AGAIN_S)
        self._queue.extend(patient)
        self._ask_soon()

    def _failed(self, error: StoreError, askers: Iterable[Waiting]) -> None:
        """Tell who waits, and for a moment those who come, that it cannot be known."""
        if not self._failure:
            _log.error("what budgets have left cannot be asked: %s", error.message)
        self._failure, self._failed_until = error.message, self._clock.now() + AGAIN_S
        for waiting in askers:
            waiting.put_back()
            waiting.fail(_unknown(error.message))

    # ── looking after leases ──

    async def _look_after(self) -> None:
        while not self._stopping.is_set():
            try:
                async with asyncio.timeout(TEND_S):
                    await self._stopping.wait()
            except TimeoutError:
                await self.look()

    async def look(self) -> None:
        """Give back what is idle, renew the rest, read what was spent; once more at once for what was recalled."""
        now = self._clock.now()
        leased = [purse for purse in self._purses.values() if purse.is_leased]
        if not leased:
            self._renewed_at = now
        is_sure = now - self._renewed_at < SURE_S
        for purse in self._purses.values():
            purse.look(is_sure=is_sure)
        if leased and await self._tend(leased, now):
            await self._tend([purse for purse in leased if purse.is_leased], now)
        self._forget()

    async def _tend(self, leased: Sequence[Purse], now: float) -> bool:
        """Return whether others want something back that is ours to give."""
        wall = self._clock.wall()
        returning = [purse for purse in leased if purse.back_nano_usd or purse.is_idle]
        returned = [(purse.account.charge, purse.back_nano_usd) for purse in returning]
        takes = [purse.takes for purse in leased]
        for purse in returning:
            purse.back_nano_usd = 0
        renew = now - self._renewed_at >= RENEW_S
        is_booked = self._is_booked()
        try:
            if returned or renew:
                rows = await self._database.write(
                    lambda: tend(self._writer, returned, wall, int(wall) + LEASE_S, renew=renew)
                )
            else:
                rows = await self._database.read(lambda: held(self._writer, wall))
        except StoreError as error:
            if not self._is_neglected:
                _log.warning("leases of budgets cannot be looked after: %s", error.message)
            self._is_neglected = True
            for purse, (_, back) in zip(returning, returned, strict=True):
                purse.back_nano_usd += back
            return False
        if self._is_neglected:
            _log.warning("leases of budgets are looked after again")
        self._is_neglected = False
        if renew:
            self._renewed_at = now
        return self._learn(leased, takes, {row.charge: row for row in rows}, is_booked=is_booked)

    def _learn(
        self, leased: Sequence[Purse], takes: Sequence[int], rows: Mapping[Charge, Held], *, is_booked: bool
    ) -> bool:
        is_wanted = False
        for purse, before in zip(leased, takes, strict=True):
            row = rows.get(purse.account.charge)
            if row is not None:
                is_wanted = purse.saw(row, is_booked=is_booked) or is_wanted
                if self._on_spent is not None:
                    self._on_spent(purse.budget, purse.account, row.spent_nano_usd)
            elif purse.takes == before and purse.is_empty:
                purse.is_leased = False
        return is_wanted

    def _forget(self) -> None:
        """Purses that nobody uses any more, once there are many, or their period is over."""
        wall, are_many = self._clock.wall(), len(self._purses) > KNOWN
        idle = [
            charge
            for charge, purse in self._purses.items()
            if purse.is_idle and not purse.is_leased and (are_many or wall >= (purse.account.ends_at or FOREVER))
        ]
        for charge in idle:
            del self._purses[charge]
        if idle:
            self._bound.clear()

    # ── what is told ──

    def known(self, most: int) -> list[Purse]:
        """Return purses of now, the most used first, at most `most`: for metrics."""
        wall = self._clock.wall()
        now = [
            purse
            for purse in self._purses.values()
            if purse.account.charge.starts_at <= wall < (purse.account.ends_at or FOREVER)
        ]
        return sorted(now, key=lambda purse: purse.left_nano_usd / (purse.account.limit_nano_usd + 1))[:most]

    async def status(self, most: int) -> list[Standing]:
        """Return how every budget stands, as `standings` of core/books/budgets.py. Raises StoreError."""
        wall = self._clock.wall()
        return await self._database.read(lambda: standings(self._budgets, self._tiers, wall, most))


def _unknown(why: str) -> BudgetUnknown:
    return BudgetUnknown(f"Whether a budget has room cannot be known now: {why}", retry_after_s=1.0)

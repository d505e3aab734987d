"""Keeps what this writer may use of each budget, and what requests have reserved of it.

A purse is one budget's period as this process knows it. `free_nano_usd` is what may be reserved without asking the books:
what was leased, less what is reserved, less what was settled since. Nothing here waits, and nothing here is lost on
cancellation: a Reservation is settled or released once, in one place, and what comes after that does nothing (RELIABILITY R3).
Cost: 0.3 µs a budget to reserve, as much to settle.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from turnout.core.books.budgets import Held
from turnout.core.books.entry import Charge
from turnout.core.budgeting import Account, Room
from turnout.core.pricing import format_usd
from turnout.core.rules import Budget
from turnout.errors import BudgetExceeded, GatewayError
from turnout.gateway.downstream import Head

IDLE_LOOKS = 4
"""A lease that nobody used for so many looks (gateway/budgets.py) goes back."""

RECALL_S = 1.5
"""How long a request waits for what others hold idle: three looks of theirs."""

UNRECALLED_S = 10.0
"""For so long they are not waited for again: what did not come back is in use."""

AGAIN_S = 0.25
"""Between two questions to the books about a budget that is spent."""


class Purse:
    """One budget of one caller in one period. Not thread-safe: the event loop's alone.

    free_nano_usd: may be below 0 where vendors took more than was reserved; for a budget that refuses nothing it only counts.
    back_nano_usd: on its way back to the books. reserved: how many reservations are open. room_nano_usd: what is left
    beside it, as the books last said. is_known: the books have the period, with this limit, and it
    is not passed. is_leased: they may
    have a lease of ours. looks: at it since it was last used. takes: how often something was leased. recalls: how often others
    had wanted it back. dry_until, dry_nano_usd: until when (monotonic) the books need not be asked for that much or more, as
    they had just said no. unrecalled_until: until when (monotonic) others are not waited for.
    """

    __slots__ = (
        "account",
        "back_nano_usd",
        "budget",
        "dry_nano_usd",
        "dry_until",
        "free_nano_usd",
        "head",
        "is_known",
        "is_leased",
        "is_touched",
        "looks",
        "recalls",
        "reserved",
        "room_nano_usd",
        "spent_nano_usd",
        "takes",
        "unrecalled_until",
    )

    def __init__(self, account: Account, budget: Budget) -> None:
        self.account = account
        self.budget = budget
        self.free_nano_usd = 0
        self.back_nano_usd = 0
        self.reserved = 0
        self.room_nano_usd = account.limit_nano_usd
        self.spent_nano_usd = 0
        self.is_known = False
        self.is_leased = False
        self.is_touched = True
        self.looks = 0
        self.takes = 0
        self.recalls = 0
        self.dry_until = 0.0
        self.dry_nano_usd = 0
        self.unrecalled_until = 0.0
        self.head: Head | None = None

    def adopt(self, account: Account, budget: Budget) -> None:
        """Go on under what the config says now. Another limit is asked for anew: what was leased under the old one goes back."""
        before = (self.account.limit_nano_usd, self.account.is_hard)
        self.account, self.budget = account, budget
        if (account.limit_nano_usd, account.is_hard) != before:
            self.room_nano_usd += account.limit_nano_usd - before[0]
            self.is_known, self.head = False, None
            self.dry_until = self.unrecalled_until = 0.0
            self.put_aside()

    @property
    def left_nano_usd(self) -> int:
        """What may be spent yet, as far as known here. Never negative."""
        return max(0, self.room_nano_usd + self.free_nano_usd)

    @property
    def is_idle(self) -> bool:
        """Whether nobody has used it for a while, and nobody is using it."""
        return self.looks >= IDLE_LOOKS and not self.reserved

    @property
    def is_empty(self) -> bool:
        """Whether nothing of it is here."""
        return not (self.free_nano_usd or self.back_nano_usd or self.reserved)

    def has(self, nano_usd: int) -> bool:
        """Whether that much may be reserved at once. What costs nothing always may."""
        return (self.is_known and (self.free_nano_usd >= nano_usd or not self.account.is_hard)) or not nano_usd

    def is_dry(self, nano_usd: int, now: float) -> bool:
        """Whether the books have just said that there is not so much."""
        return (
            self.account.is_hard
            and now < self.dry_until
            and nano_usd >= self.dry_nano_usd
            and nano_usd > self.free_nano_usd
        )

    def take(self, nano_usd: int) -> int:
        """Take what is free of it; return how much that was, less than nothing where more was spent than was had."""
        part = min(self.free_nano_usd, nano_usd) if self.account.is_hard and nano_usd else nano_usd
        self.free_nano_usd -= part
        return part

    def put_aside(self) -> None:
        """What is free here is free here no more: it goes back."""
        if self.free_nano_usd > 0:
            self.back_nano_usd += self.free_nano_usd
            self.free_nano_usd = 0

    def put_all_aside(self) -> None:
        """The same for a purse that is idle: what vendors took beyond it is in what was spent, and need not be kept here."""
        self.back_nano_usd += self.free_nano_usd
        self.free_nano_usd = 0

    def look(self, *, is_sure: bool) -> None:
        """Time goes by. is_sure: whether what is leased is surely ours yet; else it may not be used."""
        self.looks = 0 if self.is_touched else self.looks + 1
        self.is_touched = False
        if not is_sure:
            self.put_aside()
        if self.is_idle:
            self.put_all_aside()

    def leased(self, asked: Account, room: Room, nano_usd: int) -> None:
        """The books have given `nano_usd`, to whom `asked` was the account, out of `room`."""
        self.free_nano_usd += nano_usd
        self.spent_nano_usd = room.spent_nano_usd
        self.room_nano_usd = room.left_nano_usd - nano_usd
        self.recalls = room.recalls
        self.is_known = self.account == asked and (room.left_nano_usd >= 0 or not asked.is_hard)
        self.is_leased = True
        self.takes += 1

    def saw(self, row: Held, *, is_booked: bool) -> bool:
        """Take what the books say of our lease; return whether others want something of it that is free here.

        is_booked: the ledger had all that was settled when they were asked.
        """
        self.spent_nano_usd = row.spent_nano_usd
        unheld = self.account.limit_nano_usd - row.spent_nano_usd - row.leased_nano_usd
        self.room_nano_usd = unheld - min(0, row.amount_nano_usd)
        if is_booked and self.is_idle and not self.is_touched and self.is_empty:
            self.back_nano_usd = row.amount_nano_usd
        is_wanted = self.free_nano_usd > 0 and (row.recalls > self.recalls or unheld < 0)
        if is_wanted:  # below nothing: the limit was lowered, or a vendor took more than it was to
            self.put_aside()
        self.recalls = row.recalls
        return is_wanted

    def ran_dry(self, nano_usd: int, now: float) -> None:
        """The books have no room for that much."""
        is_dry = now < self.dry_until
        self.dry_nano_usd = min(nano_usd, self.dry_nano_usd) if is_dry else nano_usd
        self.dry_until = now + AGAIN_S

    def exceeded(self, nano_usd: int) -> BudgetExceeded:
        """Return the refusal of a request that may cost `nano_usd`."""
        account = self.account
        until = "It is for life: raise it to go on."
        if account.ends_at is not None:
            until = f"It begins anew at {moment(account.ends_at)}; raise it to go on before."
        left = format_usd(self.left_nano_usd)
        error = BudgetExceeded(
            f"The budget {account.charge.budget!r} of {format_usd(account.limit_nano_usd)} has no room for this request, which "
            f"may cost up to {format_usd(nano_usd)}: {left} of it is left, apart from requests under way. {until}"
        )
        return self.named(error)

    def named(self, error: BudgetExceeded) -> BudgetExceeded:
        """Say in a refusal, for programs, which budget it is about."""
        account = self.account
        error.budget, error.limit_nano_usd, error.resets_at = (
            account.charge.budget,
            account.limit_nano_usd,
            account.ends_at,
        )
        return error


class Reservation:
    """What one attempt may cost at most, taken out of every budget that binds it. charges: what its ledger entry is booked to.

    Exactly one of `settle` and `release` counts, the first.
    """

    __slots__ = ("_is_open", "_nano_usd", "_purses", "charges")

    def __init__(self, purses: Sequence[Purse], nano_usd: int) -> None:
        """purses: from which `nano_usd` each has been taken already."""
        self._purses = purses
        self._nano_usd = nano_usd
        self._is_open = True
        self.charges: tuple[Charge, ...] = tuple([purse.account.charge for purse in purses])

    def settle(self, cost_nano_usd: int | None) -> None:
        """The attempt cost this, and its entry goes to the ledger; None: unpriced. More than was reserved counts as it is."""
        if not self._is_open:
            return
        self._is_open = False
        unused = self._nano_usd - (cost_nano_usd or 0)
        for purse in self._purses:
            purse.free_nano_usd += unused
            purse.reserved -= 1
            purse.is_touched = purse.is_leased = True

    def release(self) -> None:
        """The attempt was not made, and costs nothing."""
        self.settle(0)

    def left(self, cost_nano_usd: int | None = None) -> Head:
        """Return what an answer's headers say: the budget with the least left, as far as known here.

        cost_nano_usd: what the attempt cost, where that is known before it is settled: the rest of the reservation is left.
        """
        if not self._purses:
            return ()
        least = min(self._purses, key=_by_left)
        if cost_nano_usd is None or not self._is_open:
            return head_of(least)
        return head_of(least, self._nano_usd - cost_nano_usd)


class Waiting:
    """One request that needs the books. until: how long (monotonic) it waits for what others hold, None if it need not."""

    __slots__ = ("_nano_usd", "_taken", "done", "purses", "until")

    def __init__(self, purses: Sequence[Purse], nano_usd: int, done: asyncio.Future[Reservation]) -> None:
        self.purses = purses
        self._nano_usd = nano_usd
        self.done = done
        self._taken: tuple[int, ...] = ()
        self.until: float | None = None

    def take(self) -> list[int]:
        """Take what is free here; return what is lacking of each purse, and of one below nothing that much more."""
        self._taken = tuple([purse.take(self._nano_usd) for purse in self.purses])
        return [self._nano_usd - part for part in self._taken]

    def put_back(self) -> None:
        """Undo it."""
        for purse, part in zip(self.purses, self._taken, strict=True):
            purse.free_nano_usd += part

    def succeed(self) -> None:
        """All that is needed is taken. Who has left meanwhile needs nothing."""
        reservation = reserved(self.purses, self._nano_usd)
        if self.done.done():
            reservation.release()
        else:
            self.done.set_result(reservation)

    def may_wait(self, purse: Purse, now: float) -> bool:
        """Whether to ask again for what others hold of a purse, since it may come back."""
        if self.until is None:
            if now < purse.unrecalled_until:
                return False
            self.until = now + RECALL_S
        if now < self.until:
            return True
        purse.unrecalled_until = now + UNRECALLED_S
        return False

    def leave(self) -> None:
        """Whoever waited has left: nothing is kept for it, even if it had just got it."""
        if not self.done.done() or self.done.cancelled():
            self.done.cancel()
        elif self.done.exception() is None:
            self.done.result().release()

    def fail(self, error: GatewayError) -> None:
        """It cannot be had."""
        if not self.done.done():
            self.done.set_exception(error)

    def fail_at(self, purse: Purse, now: float) -> None:
        """One purse has not enough, and the books neither."""
        purse.ran_dry(self._nano_usd, now)
        self.fail(purse.exceeded(self._nano_usd))


def reserved(purses: Sequence[Purse], nano_usd: int) -> Reservation:
    """Return a reservation of what was taken of each of `purses` just now."""
    for purse in purses:
        purse.reserved += 1
        purse.is_touched = True
    return Reservation(purses, nano_usd)


def _by_left(purse: Purse) -> int:
    return purse.left_nano_usd


def head_of(purse: Purse, unused_nano_usd: int = 0) -> Head:
    """Return one budget as headers. unused_nano_usd: of what is reserved, what will not be needed. 2 µs."""
    fixed = purse.head
    if fixed is None:
        account = purse.account
        fixed = purse.head = (
            (b"x-turnout-budget", _text(account.charge.budget)),
            (b"x-turnout-budget-limit", _usd(account.limit_nano_usd)),
            *(((b"x-turnout-budget-reset", b"%d" % account.ends_at),) if account.ends_at is not None else ()),
        )
    return (
        *fixed,
        (b"x-turnout-budget-remaining", _usd(max(0, purse.room_nano_usd + purse.free_nano_usd + unused_nano_usd))),
    )


def _usd(nano_usd: int) -> bytes:
    return format_usd(nano_usd)[1:].encode()


def _text(name: str) -> bytes:
    """A name as a header can carry it: printable ASCII, the rest as %-escapes of its UTF-8."""
    return b"".join(
        b"%c" % byte if 0x21 <= byte < 0x7F and byte != 0x25 else b"%%%02X" % byte for byte in name.encode()
    )


def moment(at: int) -> str:
    """An instant for people and programs, in UTC: `2026-12-01 00:00:00 UTC`."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")

"""Decides how much of a limit one of several processes holds, so that all of them together never use more than the limit.

What a process holds it may use again and again, in its own sliding window: a part of the *rate*, not an amount. It gives
back only what is not in its window, and takes only what nobody else holds. So whatever lies in any 60 seconds, of all
processes together, is held by somebody at their end: no clock is compared with another's, and steady traffic asks nobody.
Where much is left, more is taken than is needed; where little is, one by one, so that none lies idle. Where others want
some, what is not in use goes back, and nobody goes beyond a fair part: so that a process which came late has its own within
a minute. What is used beyond what was taken (a vendor wrote more than it should, a limit was lowered, the books were out of
reach) is held as well, but nobody is let in on it: it goes as it leaves the window.
Sources: RELIABILITY E2, T21; DESIGN §5 (leases that were deducted before).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from turnout.core.rules import Rates

SHARE = 16
"""Besides what is needed, one part in so many of what is left then is taken. Of less than that nothing is: one by one."""

WANT_S = 1.0
"""How long after somebody was short of something more of it is asked for."""


class Need(msgspec.Struct, frozen=True):
    """What the requests that wait would use together. tokens_least: of the smallest of them."""

    requests: int
    tokens: int
    tokens_least: int


class Held(msgspec.Struct, frozen=True):
    """What a process holds after it asked. others: what everybody else holds. rivals: how many of them want more.

    wants: whether it got less than it needs. is_sure: whether all together hold no more than the limit, as far as it goes.
    """

    rates: Rates
    others: Rates
    rivals: int
    wants: bool
    is_sure: bool


class Lease:
    """One process's part of one limit. held: what it may rely on. written: what the books say: what is its own, and whether
    it wants more.

    others, rivals, is_sure: as in Held, as far as is known. dry_until: no use in waiting for more before. Monotonic seconds.
    """

    __slots__ = (
        "_needs",
        "_short_at",
        "_tokens",
        "_tokens_least",
        "dry_until",
        "held",
        "is_sure",
        "others",
        "rivals",
        "wants",
        "written",
    )

    def __init__(self, held: Rates, *, is_sure: bool = True) -> None:
        self.held = held
        self.is_sure = is_sure
        self.written = (Rates(), False)
        self.others = Rates()
        self.rivals = 0
        self.wants = False
        self.dry_until = 0.0
        self._needs = 0
        self._tokens = 0
        self._tokens_least = 0
        self._short_at = 0.0

    def lack(self, tokens: int, now: float, *, waits: bool) -> None:
        """A request is short of something. waits: it will look again; else it was refused."""
        self.wants = True
        self._short_at = now
        self._tokens_least = min(self._tokens_least, tokens) if self._needs else tokens
        if waits:
            self._needs += 1
            self._tokens += tokens

    def is_wanting(self, now: float) -> bool:
        """Whether more is to be asked for. Forgets a want that is old."""
        self.wants = self.wants and now < self._short_at + WANT_S
        return self.wants or bool(self._needs)

    def need(self) -> Need:
        """Return what is to be asked for, and begin to collect anew."""
        need = Need(max(1, self._needs), max(self._tokens, self._tokens_least), self._tokens_least)
        self._needs = self._tokens = 0
        return need

    def took(self, held: Held) -> None:
        """The books say so. What could not be had is still wanted, until that is old: who was refused may come again."""
        self.wants = self.wants and held.wants
        if not held.wants:
            self.dry_until = 0.0
        self.is_sure = self.is_sure or held.is_sure
        self.held = held.rates
        self.written = (held.rates, held.wants)
        self.others = held.others
        self.rivals = held.rivals

    def inherit(self, used: Rates) -> None:
        """It was added to what we hold, in the books too."""
        self.held = _of_each(int.__add__, self.held, used)
        self.written = (_of_each(int.__add__, self.written[0], used), self.written[1])

    @property
    def is_in_books(self) -> bool:
        """Whether the books have a row of it."""
        return self.written != (Rates(), False)

    def keep(self, limit: Rates, used: Rates) -> None:
        """Let go of what is not needed: of all that is not in use, where others want some or we hold more than we took."""
        if kept(limit, used, self.held, gives_back=False) != self.held:
            self.is_sure = False
        self.held = kept(limit, used, self.held, gives_back=bool(self.rivals) or not self.is_sure)
        self.is_sure = self.is_sure or self.held == Rates()

    def usable(self, limit: Rates) -> Rates:
        """Return what may be used: all that is held, or a fair part of the limit where others want some; nothing as long as
        it is not sure that it is ours.
        """
        if not self.is_sure:
            return Rates()
        if not self.rivals:
            return self.held
        return _of_each(min, self.held, _fair(limit, (1, self._tokens_least, 1), self.rivals))


def take(limit: Rates, used: Rates, held: Rates, need: Need, others: Rates, rivals: int) -> Held:
    """Return what a process holds that uses `used` now and needs more. O(1).

    Where not even the smallest request would fit, nothing is taken for it: it would only be missing elsewhere.
    """
    least = (1, need.tokens_least, 1)
    needs = (need.requests, need.tokens, need.requests)
    most = _of_each(lambda limit, others: limit - others, limit, others)
    if rivals:
        most = _of_each(min, most, _fair(limit, least, rivals))
    parts = list(zip(_tuple(limit), _tuple(used), _tuple(held), _tuple(most), least, needs, strict=True))
    if any(of and use + smallest > top for of, use, _, top, smallest, _ in parts):
        kept_ = Rates(*(max(use, has) if of else 0 for of, use, has, *_ in parts))
        return Held(kept_, others, rivals, wants=True, is_sure=False)
    got = []
    wants = False
    for of, use, has, top, _, more in parts:
        spare = 0 if rivals else max(0, top - use - more) // SHARE
        got.append(max(use, has, min(use + more + spare, top)) if of else 0)
        wants |= bool(of) and got[-1] < use + more
    return Held(Rates(*got), others, rivals, wants, is_sure=True)


def kept(limit: Rates, used: Rates, held: Rates, *, gives_back: bool) -> Rates:
    """Return what a process holds of what it held: never less than it uses; and no more, where it gives back."""
    keeps = used if gives_back else _of_each(max, used, held)
    return _of_each(lambda of, keep: keep if of else 0, limit, keeps)


def halfway(limit: Rates, used: Rates) -> Rates:
    """Return what a process keeps that was alone until now: half of what it does not use is for whoever comes."""
    return _of_each(lambda of, use: max(use, use + (of - use) // 2) if of else 0, limit, used)


def unheard(limit: Rates, held: Rates, others: int) -> Rates:
    """Return what may be used while the books cannot be reached: what is held, or as much as everybody could have.

    others: how many other processes there were.
    """
    return _of_each(lambda of, has: max(has, of // (others + 1), min(of, 1)), limit, held)


def _fair(limit: Rates, least: Sequence[int], rivals: int) -> Rates:
    """Return a fair part of a limit, rounded up to whole requests of the smallest size: a part of one is of no use."""
    parts = (-(-of // (rivals + 1)) for of in _tuple(limit))
    return Rates(*(-(-part // max(1, size)) * max(1, size) for part, size in zip(parts, least, strict=True)))


def _tuple(rates: Rates) -> tuple[int, int, int]:
    return rates.requests_minute, rates.tokens_minute, rates.at_once


def _of_each(decide: Callable[[int, int], int], one: Rates, other: Rates) -> Rates:
    return Rates(*map(decide, _tuple(one), _tuple(other)))

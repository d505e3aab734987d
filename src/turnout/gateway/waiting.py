"""Holds one request that asks for a turn: what it wants, what became of it while it waits, and the turn that it got.

The scheduler fills it in, and hears of what comes of a turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING

import msgspec

from turnout.core.catalog import Priority
from turnout.core.eligible import Choice
from turnout.core.queueing import JOB, Lane, Ticket, is_high, rank_of
from turnout.core.quota import Need, Taken
from turnout.errors import QuotaExhausted

if TYPE_CHECKING:
    from turnout.core.follow_ups import Kept
    from turnout.gateway.scheduler import Scheduler
    from turnout.gateway.shared_quotas import Grant


class Want(msgspec.Struct):
    """What a request needs of a turn. deadline: monotonic seconds, after which a turn is of no use.

    caller: between whom turns are shared out. tokens: an estimate of what the call uses. follow_ups: calls that are expected to come
    after it. is_continuing: it is such a call. by: when a job must be done, monotonic; None for what is wanted now.
    is_again: it had a turn, and its vendor failed it: it was let in once, and is not refused for who waits before it.
    """

    caller: Hashable
    priority: Priority
    deadline: float
    tokens: int = 0
    follow_ups: int = 0
    is_continuing: bool = False
    by: float | None = None
    is_again: bool = False


class Turn:
    """A grant: `choice` may be asked once. Whoever has it calls `give_back` if nothing was sent, else `end`; the first counts.

    waited_s: how long it took. grant: the leave of the other gateways, if quotas are shared.
    """

    __slots__ = ("_kept", "_scheduler", "_taken", "choice", "grant", "is_open", "waited_s")

    def __init__(self, scheduler: Scheduler, choice: Choice, taken: Taken, kept: Kept | None, waited_s: float) -> None:
        self._scheduler = scheduler
        self._taken = taken
        self._kept = kept
        self.choice = choice
        self.waited_s = waited_s
        self.grant: Grant | None = None
        self.is_open = True

    def sent(self) -> None:
        """It is sent only now, as it had to connect first: that is when its vendor counts it."""
        self._scheduler.sent(self._taken)
        if self.grant is not None:
            self.grant.sent()

    @property
    def is_curious(self) -> bool:
        """Whether `told` wants to hear of an answer that went well and says nothing of limits."""
        return self._scheduler.is_curious(self.choice)

    def told(self, headers: Mapping[str, str], status: int) -> None:
        """The vendor's answer has begun. headers: names in lower case."""
        self._scheduler.told(self.choice, headers, status)

    def refused(self, retry_after_s: float | None) -> None:
        """The vendor said "not now"; for how long, if it did."""
        self._scheduler.refused(self.choice, retry_after_s)

    def end(self, tokens: int, *, goes_on: bool = False) -> None:
        """The call is over. tokens: what it used. goes_on: its answer calls tools, so that more calls follow."""
        if self.is_open:
            self.is_open = False
            if self.grant is not None:
                self.grant.end(tokens)
            self._scheduler.ended(self._taken, tokens, self._kept, goes_on=goes_on)

    def give_back(self) -> None:
        """Nothing was sent."""
        if self.is_open:
            self.is_open = False
            if self.grant is not None:
                self.grant.give_back()
            self._scheduler.given_back(self._taken, self._kept)


LAST_S = 60.0
"""How long before its time is over a request gets its turn whatever it costs others; a quarter of its time at most."""


class Waiting(Ticket):
    """One request in the line. choices: by lane. taken: once it has its quota. turn: what `heard` tells that it has."""

    __slots__ = ("_need", "choices", "heard", "taken", "turn", "want")

    def __init__(self, want: Want, choices: Sequence[Choice], now: float) -> None:
        by_lane: dict[Lane, Choice] = {}
        for choice in choices:
            by_lane.setdefault(choice.candidate.quotas, choice)
        rank = rank_of(want.priority, is_continuing=want.is_continuing, is_job=want.by is not None)
        super().__init__(want.caller, rank, tuple(by_lane), now, want.by or 0.0)
        self.want = want
        self.choices = by_lane
        self._need = Need(tokens=want.tokens, is_high=is_high(rank), is_spare=rank == JOB)
        self.last_at = want.deadline - min(LAST_S, (want.deadline - now) / 4)
        self.heard: asyncio.Future[None] | None = None
        self.taken: Taken | None = None
        self.turn: Turn | None = None

    def need(self, now: float) -> Need:
        """What it takes. Who waits in the line was promised a turn, and nobody waits for nothing: the day's pace is not kept any
        longer for who has waited for long, nor for a job whose time is near, and shortly before the end not even the reserve.
        """
        if now >= self.claims_at and not self._need.is_due:
            self._need = msgspec.structs.replace(self._need, is_due=True)
        if self.heard is not None and now >= self.last_at:
            self._need = self.promised
        return self._need

    @property
    def promised(self) -> Need:
        """What it takes at last."""
        return self._need if self._need.is_high else msgspec.structs.replace(self._need, is_high=True)

    def refusal(self, wait_s: float) -> QuotaExhausted:
        """Return what it is told when it cannot have a turn in time. wait_s: until it could have one; inf: never."""
        models = ", ".join(choice.candidate.key for choice in self.choices.values())
        if wait_s == inf:
            return QuotaExhausted(f"{models}: this request is larger than the quota, now and later; nothing was sent")
        could_s = max(0.0, self.want.deadline - self.arrived)
        room = f"the quota has room in about {wait_s:.0f} s, and this request could wait {could_s:.0f} s"
        return QuotaExhausted(f"{models}: {room}; nothing was sent", retry_after_s=max(1.0, wait_s))

    def changes_at(self, now: float) -> float:
        """When `need` will be another, inf for never."""
        return min((at for at in (self.claims_at, self.last_at) if at > now), default=inf)

"""Grants turns: chooses candidate and moment together, so that what vendors allow is used to the full and never exceeded.

A request that needs no quota does not come here. One that does goes at once where a quota has room; else it waits in the
line (core/queueing.py) until one has, and is refused at once, before anything is spent, when none will in time. Rules:

* Nothing polls. The next grant comes by an event (an attempt ended, a vendor told us something, the config changed), or by one
  timer, armed for the earliest moment that is known (where only an attempt's end frees a place, for when that is expected).
* Taking is one step with choosing: whoever is granted has its quota. If it leaves before it hears of that, it gives it back.
* Where quotas are shared with other gateways, a turn needs their leave as well, and without it goes back to where it waited.
* Not thread-safe: everything runs on the loop, but `install`, which a thread may call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from math import inf

import msgspec

from turnout.core.catalog import Priority, Quota
from turnout.core.eligible import Choice
from turnout.core.follow_ups import FOLLOWS_S, FollowUps, Kept
from turnout.core.queueing import Lane, Line, Ticket, is_continuing, is_high, rank_of
from turnout.core.quota import Need, Quotas, Taken
from turnout.errors import QuotaExhausted
from turnout.gateway.clock import Clock
from turnout.gateway.shared_quotas import SharedQuotas
from turnout.gateway.waiting import Turn, Waiting, Want

MINUTE_S = 61.0
"""What takes longer to come free is not the minute's but the day's."""

LATE_S = 0.001
"""A timer comes a little late rather than a little early: an event loop counts in milliseconds."""


class Scheduler:
    """Everybody who waits for a turn, and everything that turns are taken from.

    quotas: the books. changes: a number that grows with every change of them; news: set with it. granted, waited, exhausted:
    turns that were granted, those of them that were waited for, and requests that were refused, by priority: for the metrics.
    """

    def __init__(self, quotas: Mapping[str, Quota], clock: Clock) -> None:
        self._clock = clock
        self._known = self._wanted = quotas
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._line = Line()
        self._follow_ups = FollowUps()
        self._now = 0.0
        self._next_at = inf
        self._late: list[Waiting] = []
        self.quotas = Quotas(quotas, clock.now(), clock.wall())
        self.shared: SharedQuotas | None = None
        self.changes = 0
        self.news = asyncio.Event()
        self.granted: dict[Priority, int] = {"high": 0, "medium": 0, "low": 0}
        self.waited = dict(self.granted)
        self.exhausted = dict(self.granted)

    def __len__(self) -> int:
        """How many wait."""
        return len(self._line)

    def install(self, quotas: Mapping[str, Quota]) -> None:
        """Count against these from now on; what was used stays. From any thread."""
        self._wanted = quotas
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._refit)

    def _refit(self) -> None:
        if self._wanted is not self._known:
            self._known = self._wanted
            self.quotas.install(self._known, self._clock.now())
            if self.shared is not None:
                self.shared.install(self._known)
            self._stir()

    def share(self, shared: SharedQuotas) -> None:
        """Ask for the other gateways' leave from now on."""
        self.shared = shared
        shared.changed = self._changed
        shared.used_by_all = self.quotas.used_by_all

    # ── asking ──

    def easy(self, choice: Choice, tokens: int, priority: Priority) -> Turn | None:
        """Return a turn if nothing at all is in the way of a request without tools that is no job: that of nearly every one.

        None says nothing: ask `free_now`.
        """
        if len(self._line) or self.shared is not None or self._follow_ups or self._wanted is not self._known:
            return None
        taken = self.quotas.take_easily(choice.candidate.quotas, tokens, self._clock.now())
        return None if taken is None else self._granted(Turn(self, choice, taken, None, 0.0), priority)

    def free_now(self, choices: Sequence[Choice], want: Want) -> Turn | None:
        """Return a turn if nobody waits, no room is kept or to be kept, and a quota has room; None says nothing: ask `turn`."""
        if len(self._line) or want.follow_ups or self.shared is not None or self._follow_ups or want.by is not None:
            return None
        self._refit()
        self._now = now = self._clock.now()
        need = Need(want.tokens, is_high=is_high(rank_of(want.priority, is_continuing=want.is_continuing)))
        for choice in choices:
            lane = choice.candidate.quotas
            taken = self.quotas.take(lane, need, now)
            if taken is not None:
                self.quotas.wanted(choices[0].candidate.quotas, now)
                self.quotas.look_ahead(lane, want.tokens, now)
                return self._granted(Turn(self, choice, taken, None, 0.0), want.priority)
        return None

    async def turn(self, choices: Sequence[Choice], want: Want) -> Turn:
        """Return a turn at one of `choices` (each counts against quotas; the best first), as soon as one is free.

        Raises QuotaExhausted if none is in time: at once where that is known, at `want.deadline` at the latest.
        """
        one = self._new(choices, want)
        turn = self._at_once(one) or await self._wait(one, is_back=want.is_again)
        while self.shared is not None and not await self._has_leave(self.shared, turn, one):
            self._undo(turn, one)
            turn = await self._wait(one, is_back=True)
        return turn

    async def _wait(self, one: Waiting, *, is_back: bool = False) -> Turn:
        """Wait in the line. is_back: at its head, where it was."""
        one.lanes = self._within_reach(one)
        ahead = [] if is_back else self._ahead(one)
        self._line.join(one, is_back=is_back)
        self._stir()
        if one.turn is not None:
            return one.turn
        if self._now + self._earliest_s(one, ahead) > one.want.deadline:
            self._line.leave(one)
            self._stir()
            raise self._refusal(one, ahead)
        return await self._hear(one)

    async def _has_leave(self, shared: SharedQuotas, turn: Turn, one: Waiting) -> bool:
        """Ask the other gateways. Takes as long as one command to the shared store may take, at most."""
        rank = 0 if one.claims_at <= self._now else one.rank
        arrived = one.arrived - self._now + self._clock.wall()
        try:
            turn.grant = await shared.take(turn.choice.candidate.quotas, one.want.tokens, rank, arrived)
        except BaseException:
            turn.give_back()
            raise
        return turn.grant is not None

    def _undo(self, turn: Turn, one: Waiting) -> None:
        """It has no leave: as if it had not been granted."""
        self._now = self._clock.now()
        self.granted[one.want.priority] -= 1
        self.waited[one.want.priority] -= one.heard is not None
        one.heard = one.taken = one.turn = None
        turn.give_back()

    async def now(self, choices: Sequence[Choice], want: Want) -> Turn | None:
        """As `now_or_never`, with the other gateways' leave, for which it waits a moment."""
        turn = self._now_or_never(one := self._new(choices, want))
        if turn is None or self.shared is None or await self._has_leave(self.shared, turn, one):
            return turn
        self._undo(turn, one)
        return None

    def now_or_never(self, choices: Sequence[Choice], want: Want) -> Turn | None:
        """Return a turn if one is free now, and not somebody else's; of shared quotas only what we may use alone."""
        one = self._new(choices, want)
        turn = self._now_or_never(one)
        if turn is not None and self.shared is not None:
            turn.grant = self.shared.take_alone(turn.choice.candidate.quotas, want.tokens)
            if turn.grant is None:
                self._undo(turn, one)
                return None
        return turn

    def _now_or_never(self, one: Waiting) -> Turn | None:
        if (turn := self._at_once(one)) is None and len(self._line):
            self._line.join(one)
            self._stir()
            if (turn := one.turn) is None:
                self._line.leave(one)
                self._stir()
        return turn

    def _new(self, choices: Sequence[Choice], want: Want) -> Waiting:
        self._refit()
        self._now = now = self._clock.now()
        one = Waiting(want, choices, now)
        if want.by is None:  # a job asks for what others leave over: it is no demand that anything is kept for
            self.quotas.wanted(one.lanes[0], now)
        return one

    def _at_once(self, one: Waiting) -> Turn | None:
        """With nobody waiting, a turn if there is one."""
        if not len(self._line):
            for lane in one.lanes:
                if not self._in_the_way(one, lane):
                    return self._grant(one, lane)
        return None

    async def _hear(self, one: Waiting) -> Turn:
        self._loop = loop = asyncio.get_running_loop()
        one.heard = loop.create_future()
        now = self._clock.now()
        timers = (
            loop.call_later(max(0.0, one.last_at - now), self._nearly_over, one),
            loop.call_later(max(0.0, one.want.deadline - now), self._expired, one),
        )
        try:
            await one.heard
        except asyncio.CancelledError:
            if one.turn is not None:
                one.turn.give_back()
            raise
        finally:
            for timer in timers:
                timer.cancel()
            if one in self._line:
                self._line.leave(one)
                self._stir()
        assert one.turn is not None
        return one.turn

    # ── granting ──

    def _stir(self) -> None:
        """Grant whatever can be granted now, and arm the timer for what comes next."""
        self._now = now = self._clock.now()
        while len(self._line):
            self._next_at = inf
            self._late = []
            found = self._line.next(now, self._in_the_way)
            if found is not None:
                one, lane = found
                assert isinstance(one, Waiting)
                if one.taken is not None:
                    self._grant(one, lane)
                    if one.heard is not None:
                        one.heard.set_result(None)
            elif not self._late:
                break
            for late in self._late:
                self._too_late(late)
        self._arm()

    def _in_the_way(self, one: Ticket, lane: Lane) -> Collection[str]:
        """Which quotas keep `one` waiting, with the moment noted at which that may end; none: it has what it needs."""
        assert isinstance(one, Waiting)
        if one.heard is not None and one.heard.done():
            return ()  # it has left, and will say so
        now, need = self._now, one.need(self._now)
        room_s = self._room_s(one, lane)
        if not room_s and (self.shared is None or not self.shared.wait_s(lane, now)):
            one.taken = self.quotas.take(lane, need, now)
            if one.taken is not None:
                return ()
        wait_s = self._wait_s(lane, need, now)
        if not wait_s:
            self._next_at = min(self._next_at, now + room_s)
            return lane
        self._next_at = min(self._next_at, now + wait_s, one.changes_at(now))
        if wait_s > MINUTE_S and one.heard is not None:
            at_last_s = min(
                self._wait_s(lane, one.promised, now) for lane in one.lanes
            )  # as was promised, before anybody
            if now + at_last_s > one.want.deadline:
                self._late.append(one)
        return [name for name in lane if self._wait_s((name,), need, now)]

    def _room_s(self, one: Waiting, lane: Lane) -> float:
        """In how many seconds it leaves enough for the calls that are still to come, of others and its own: so that none of
        these has to wait for longer than they are apart. 0.0: it does now.
        """
        now = self._now
        room = 0 if is_continuing(one.rank) else self._follow_ups.room(lane, now) + one.want.follow_ups
        if not room:
            return 0.0
        wait_s = self.quotas.wait_s(lane, msgspec.structs.replace(one.need(now), held=room), now)
        lapses_at = self._follow_ups.lapses_at()
        lapse_s = inf if lapses_at is None else lapses_at - now
        return 0.0 if wait_s > MINUTE_S else max(0.0, min(wait_s - FOLLOWS_S * room, lapse_s))

    def _grant(self, one: Waiting, lane: Lane) -> Turn:
        assert one.taken is not None
        want, now = one.want, self._now
        kept: Kept | None = None
        if want.is_continuing:
            kept = self._follow_ups.use(want.caller, now)
        elif want.follow_ups:
            kept = self._follow_ups.keep(want.caller, lane, want.follow_ups, now)
        if one.heard is not None:
            self.waited[want.priority] += 1
        one.turn = self._granted(Turn(self, one.choices[lane], one.taken, kept, now - one.arrived), want.priority)
        return one.turn

    def _granted(self, turn: Turn, priority: Priority) -> Turn:
        self.changes += 1
        self.news.set()
        self.granted[priority] += 1
        return turn

    def _arm(self) -> None:
        """Wake up at the earliest moment that is known."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if len(self._line) and self._next_at < inf:
            self._loop = loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.0, self._next_at - self._now) + LATE_S, self._stir)

    # ── refusing ──

    def _within_reach(self, one: Waiting) -> tuple[Lane, ...]:
        """Return the lanes in which it could ever go in time, all if there is none: in the others it would only keep back
        those who could, a request too large for a quota for example.
        """
        now, need = self._now, one.need(self._now)
        waits = ((lane, self._wait_s(lane, need, now)) for lane in one.lanes)
        lanes = tuple(lane for lane, wait_s in waits if wait_s <= MINUTE_S or now + wait_s <= one.want.deadline)
        return lanes or one.lanes

    def _ahead(self, one: Waiting) -> list[int]:
        return [self._line.ahead(lane, one.rank, one.caller) for lane in one.lanes]

    def _earliest_s(self, one: Waiting, ahead: Sequence[int] = ()) -> float:
        """In how many seconds, at the earliest, it could have a turn. ahead: how many go first, by lane; () for nobody."""
        now = self._now
        counts = ahead or [0] * len(one.lanes)
        pairs = zip(one.lanes, counts, strict=True)
        return min(max(self._wait_s(lane, one.need(now), now, count), self._room_s(one, lane)) for lane, count in pairs)

    def _wait_s(self, lane: Lane, need: Need, now: float, ahead: int = 0) -> float:
        shared_s = 0.0 if self.shared is None else self.shared.wait_s(lane, now)
        return max(shared_s, self.quotas.wait_s(lane, need, now, ahead=ahead))

    def _nearly_over(self, one: Waiting) -> None:
        self._line.urge(one)
        self._stir()

    def _expired(self, one: Waiting) -> None:
        self._too_late(one)
        self._stir()  # it may have kept back others

    def _too_late(self, one: Waiting) -> None:
        """No turn comes in time any more."""
        if one.heard is not None and not one.heard.done():
            self._line.leave(one)
            self._now = self._clock.now()
            one.heard.set_exception(self._refusal(one, self._ahead(one)))

    def _refusal(self, one: Waiting, ahead: Sequence[int]) -> QuotaExhausted:
        self.exhausted[one.want.priority] += 1
        return one.refusal(self._earliest_s(one, ahead))

    # ── what happened to a turn ──

    def sent(self, taken: Taken) -> None:
        """See Turn.sent."""
        self.quotas.sent(taken, self._clock.now())

    def is_curious(self, choice: Choice) -> bool:
        """See Turn.is_curious."""
        return self.quotas.is_curious(choice.candidate.quotas, self._clock.now())

    def told(self, choice: Choice, headers: Mapping[str, str], status: int) -> None:
        """See Turn.told."""
        self.quotas.told(choice.candidate.quotas, headers, status, self._clock.now())
        self._changed()

    def refused(self, choice: Choice, retry_after_s: float | None) -> None:
        """See Turn.refused."""
        self.quotas.refused(choice.candidate.quotas, retry_after_s, self._clock.now())
        self._changed()

    def ended(self, taken: Taken, tokens: int, kept: Kept | None, *, goes_on: bool) -> None:
        """See Turn.end."""
        now = self._clock.now()
        self.quotas.settle(taken, tokens, now)
        self.quotas.end(taken, now)
        if kept is not None and goes_on:
            self._follow_ups.renew(kept, now)
        elif kept is not None:
            self._follow_ups.give_back(kept)
        self._changed()

    def given_back(self, taken: Taken, kept: Kept | None) -> None:
        """See Turn.give_back."""
        self.quotas.give_back(taken, self._clock.now())
        if kept is not None:
            self._follow_ups.give_back(kept)
        self._changed()

    def _changed(self) -> None:
        self.changes += 1
        self.news.set()
        if len(self._line):
            self._stir()

"""Counts the use of one quota, and says when a call may go.

Rules. A quota counts requests and tokens over any minute and over the vendor's day, and attempts under way. What may be
used is the vendor's limit less our margin, but at least one request; a call whose tokens fit the vendor's limit and not
ours goes alone. A limit that config does not know may be learned from the vendor; a learned one never widens a known one.
`offset` turns monotonic seconds into steady wall seconds: set once, so that a wall clock that is set anew does no harm.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, inf

import msgspec

from turnout.core.catalog import Quota
from turnout.core.pacing import HOURS, Allowance, Claim, Demand, free_at, reserved
from turnout.core.quota_day import SKEW_S, DayBook, DayUse
from turnout.core.quota_headers import Told
from turnout.core.quota_window import SPAN_S, WINDOW_S, Slot, Window

TOOK_S = 1.0
"""How long a call is taken to take before we have seen one: rather short, so that nobody is refused because of a guess."""

NEWEST = 0.2
"""Weight of the latest call in how long calls take and how many tokens they use."""

DAYLIKE_S = 3600.0
"""A limit that resets later than this is a day's; one that resets within the minute is a minute's."""

DAY_S = 86_400.0

CLOCK_EVERY_S = 10.0
"""Reading a date costs 6 µs, as much as everything else that is done with an answer here."""

LONGEST_PAUSE_S = 60.0
"""After refusals that named no time. Source: FACTS §3, a model rests 60 s."""


EASY_CALLS = 32
"""How many calls are looked at together: where there is room for as many, the next ones go without a look of their own."""

EASY_S = 0.25
"""For how long: what a look says of the day's pace is then no older than a slot of the minute."""


class Share(msgspec.Struct, gc=False):
    """What one call took of one quota. slot: where the minute counts it. day: the day's number."""

    meter: Meter
    slot: Slot
    day: int
    tokens: int


class Meter:
    """One quota's use. Not thread-safe; `now` is monotonic seconds and never goes back. O(1) amortised per call."""

    def __init__(self, quota: Quota, now: float, offset: float) -> None:
        self.offset = offset
        self.window = Window()
        self.in_flight = 0
        self.closed_until = -inf
        self.refusals = 0
        self.took_s = 0.0
        self.tokens_each = 0.0
        self.learned: dict[str, int] = {}
        self._easy_until = -inf
        self._easy_calls = 0
        self._easy_tokens = 0
        self._doubt = offset
        self._clock_due = now
        self.today = DayBook(quota, now + offset)
        self.demand = Demand(self.today.hours(now + offset))
        self._obey(quota)

    def configure(self, quota: Quota, now: float) -> None:
        """Obey another configuration; what was used stays, but what was used yesterday is not today's."""
        self.bring_up(now)
        self.today.configure(quota, self.wall(now))
        self._obey(quota)

    def _obey(self, quota: Quota) -> None:
        self.quota = quota
        self._limit()

    def _limit(self) -> None:
        self._easy_until = -inf
        self.requests_minute = self._usable("requests_minute", least=1)
        self.tokens_minute = self._usable("tokens_minute", least=0)
        self.requests_day = self._usable("requests_day", least=1)
        self.tokens_day = self._usable("tokens_day", least=0)

    def limit(self, what: str) -> int:
        """Return the vendor's own limit, margin included; 0: none is known."""
        known: int = getattr(self.quota, what)
        learned = self.learned.get(what, 0)
        return min(known, learned) if known and learned else known or learned

    def _usable(self, what: str, *, least: int) -> int:
        limit = self.limit(what)
        return max(int(limit * (1 - self.quota.margin) + 1e-9), least) if limit else 0

    # ── may it go? ──

    def is_easy(self, tokens: int, now: float) -> bool:
        """Return whether a call may go, whoever makes it, because there was room for many a moment ago. False says nothing.

        Takes nothing: `charge_easy` does, in the same step. A fifth of the work of `wait_s` and `charge`.
        """
        return (
            now < self._easy_until
            and self._easy_calls > 0
            and tokens <= self._easy_tokens
            and not 0 < self.quota.at_once <= self.in_flight
        )

    def charge_easy(self, tokens: int, now: float) -> Share:
        """Count a call that `is_easy`. It is asked for as well: see `wanted`."""
        self._use_up(tokens)
        self.demand.more()
        self.today.requests += 1
        self.today.tokens += tokens
        self.in_flight += 1
        return Share(self, self.window.add(now, 1, tokens), self.today.day.number, tokens)

    def _use_up(self, tokens: int) -> None:
        """One call of those that were looked at together has gone, whichever way it went."""
        self._easy_calls -= 1
        self._easy_tokens -= tokens

    def look_ahead(self, tokens: int, now: float, calls: int = EASY_CALLS) -> None:
        """See whether the next `calls` will be easy, of about `tokens` each: there is room for all of them, at any priority."""
        many = calls * max(tokens, 1)
        if 0 < self.requests_minute < calls:
            return
        if self.closed_until > now or self._minute_wait_s(calls, many, now, 0):
            return
        if (self.requests_day or self.tokens_day) and self._day_wait_s(calls, many, "usual", now, 0):
            return
        self._easy_calls, self._easy_tokens = calls, many
        # Before the day's last second, in which calls count for two days.
        self._easy_until = min(now + EASY_S, self.today.late_from - self.offset)

    def room(self, held: int) -> int:
        """Return for how many of `held` further calls there can be room at all, besides one."""
        if held and self.requests_minute:
            held = min(held, self.requests_minute - 1)
        if held and self.requests_day:
            held = min(held, self.requests_day - 1)
        return held

    def wait_s(self, calls: int, tokens: int, claim: Claim, now: float, ahead: int) -> float:
        """Return how long until a call may go that takes `calls` places and `tokens`, after `ahead` like it; 0.0: now.

        As far as is known; inf: never. O(1) for now, else O(slots).
        """
        wait = self.closed_until - now if self.closed_until > now else 0.0
        at_once = self.quota.at_once
        if at_once and self.in_flight + ahead >= at_once:
            wait = max(wait, (self.took_s or TOOK_S) * ceil((self.in_flight + ahead + 1 - at_once) / at_once))
        wait = max(wait, self._minute_wait_s(calls, tokens, now, ahead))
        if self.requests_day or self.tokens_day:
            wait = max(wait, self._day_wait_s(calls, tokens, claim, now, ahead))
        return wait

    def _minute_wait_s(self, calls: int, tokens: int, now: float, ahead: int) -> float:
        window = self.window
        window.expire(now)
        rounds = over_requests = over_tokens = 0
        most = self.requests_minute
        if most:
            rounds, more = divmod(ahead, most // calls)
            over_requests = window.requests + (more + 1) * calls - most
        if self.tokens_minute and tokens:
            if tokens > self.limit("tokens_minute"):
                return inf
            most = max(self.tokens_minute, tokens)
            token_rounds, more = divmod(ahead, most // tokens)
            over_tokens = window.tokens + (more + 1) * tokens - most
            rounds = max(rounds, token_rounds)
        if over_requests <= 0 and over_tokens <= 0:
            return rounds * SPAN_S
        return window.free_at(over_requests, over_tokens) - now + rounds * SPAN_S

    def _day_wait_s(self, calls: int, tokens: int, claim: Claim, now: float, ahead: int) -> float:
        wall, today = self.wall(now), self.today
        today.turn(wall)
        if tokens > (self.limit("tokens_day") or inf):
            return inf
        position, reserve = today.position(wall), self.quota.reserve
        wait = 0.0
        if self.requests_day:
            of = Allowance(self.requests_day, today.requests, position, reserve, self.requests_minute)
            wait = self._allowed_in_s(of, calls, claim, wall, ahead)
        if self.tokens_day and tokens:
            limit, each = max(self.tokens_day, tokens), self.tokens_each or tokens
            of = Allowance(limit, today.tokens, position, reserve, self.tokens_minute, each)
            wait = max(wait, self._allowed_in_s(of, tokens, claim, wall, ahead))
        return wait

    def _allowed_in_s(self, of: Allowance, one: int, claim: Claim, wall: float, ahead: int) -> float:
        wanted = one * (ahead + 1)
        at = free_at(self.demand, of, wanted, claim)
        if at == of.position:
            return 0.0
        if at < inf:
            return self.today.wall_of(at) - wall
        days, more = divmod(wanted - max(of.limit - of.used, 0) - 1, of.limit)
        then = Allowance(of.limit, 0, 0.0, of.reserve, of.ahead, of.each)
        further_days = days + free_at(self.demand, then, more + 1, claim) / HOURS
        return self.today.ends + DAY_S * further_days - wall

    # ── the day ──

    def wall(self, now: float) -> float:
        """Return steady Unix seconds."""
        return now + self.offset

    def reserved(self, now: float) -> int:
        """Return how many of the day's requests are for high priority alone."""
        return reserved(self.requests_day, self.quota.reserve, self.demand, self.today.position(self.wall(now)))

    def wanted(self, now: float) -> None:
        """One more call is asked for, whether it will go or not."""
        wall = self.wall(now)
        self.today.turn(wall)
        self.demand.asked(self.today.hours(wall))

    # ── what was used ──

    def charge(self, tokens: int, now: float) -> Share:
        """Count a call."""
        self._use_up(tokens)
        slot = self.window.add(now, 1, tokens)
        self.today.add(1, tokens, self.wall(now))
        self.in_flight += 1
        return Share(self, slot, self.today.day.number, tokens)

    def move(self, share: Share, now: float) -> None:
        """Count a call as of now instead: it was sent late. In a day, it stays counted where it was as well."""
        if now >= share.slot.ends:
            self._use_up(share.tokens)
            self.window.expire(now)
            self.window.take_back(share.slot, 1, share.tokens)
            share.slot = self.window.add(now, 1, share.tokens)
            wall = self.wall(now)
            self.today.turn(wall)
            if share.day != self.today.day.number or self.today.is_late(wall):
                self.today.add(1, share.tokens, wall)
                share.day = self.today.day.number

    def settle(self, share: Share, tokens: int, now: float) -> None:
        """Count what was really used: less as if it had never been taken, more as of now."""
        more = tokens - share.tokens
        share.tokens = tokens
        if tokens:
            self.tokens_each += NEWEST * (tokens - self.tokens_each) if self.tokens_each else tokens
        if more < 0:
            self._take_back(share, 0, -more, now)
        elif more:
            self._easy_tokens -= more
            self.window.expire(now)
            self.window.add(now, 0, more)
            self.today.add(0, more, self.wall(now))

    def give_back(self, share: Share, now: float) -> None:
        """Count nothing: it was never sent."""
        self.in_flight -= 1
        self._take_back(share, 1, share.tokens, now)
        share.tokens = 0

    def _take_back(self, share: Share, requests: int, tokens: int, now: float) -> None:
        self.window.take_back(share.slot, requests, tokens)
        self.today.take_back(share.day, requests, tokens, self.wall(now))

    def end(self, took_s: float) -> None:
        """One fewer is under way."""
        self.in_flight -= 1
        self.took_s += NEWEST * (took_s - self.took_s) if self.took_s else took_s

    def is_in_use(self, now: float) -> bool:
        """Return whether anything is counted that has not run out yet."""
        self.bring_up(now)
        return bool(self.window.slots() or self.today.requests or self.today.tokens or self.in_flight)

    def bring_up(self, now: float) -> None:
        """Forget what is over."""
        self.window.expire(now)
        self.today.turn(self.wall(now))

    # ── what the vendor says ──

    def answered(self, found: Sequence[Told], now: float, *, is_refusal: bool) -> None:
        """Take what an answer's headers say. What the vendor counted and we did not, counts from now on."""
        if not is_refusal:
            self.refusals = 0
        for told in found:
            what = self._which(told)
            if what:
                self.learn(what, told.limit)
            if told.remaining == 0 and told.reset_s is not None:
                self.today.turn(self.wall(now))  # a day may have begun since the call was counted
                until = min(told.reset_s, max(self.today.ends - self.wall(now), WINDOW_S))
                self.closed_until = max(self.closed_until, now + until)
                self._easy_until = -inf
            elif what:
                self._repair(what, told.limit - told.remaining, now)

    def _which(self, told: Told) -> str:
        """Which limit a header speaks of, as it seldom says: the one that config knows by that number, else by its reset."""
        minute, day = f"{told.kind}_minute", f"{told.kind}_day"
        is_minute, is_day = (told.limit == getattr(self.quota, what) for what in (minute, day))
        if is_minute != is_day:
            return minute if is_minute else day
        if told.reset_s is None:
            return ""
        return minute if told.reset_s <= WINDOW_S + SKEW_S else day if told.reset_s > DAYLIKE_S else ""

    def learn(self, what: str, limit: int) -> None:
        """Believe that the vendor's limit `what` is `limit`, until it says something else."""
        if self.learned.get(what) != limit:
            self.learned[what] = limit
            self._limit()

    def _repair(self, what: str, used: int, now: float) -> None:
        self._easy_until = -inf
        self.window.expire(now)
        if what == "requests_minute":
            self.window.add(now, max(used - self.window.requests, 0), 0)
        elif what == "tokens_minute":
            self.window.add(now, 0, max(used - self.window.tokens, 0))
        elif what == "requests_day":
            self.today.at_least(used, 0, self.wall(now))
        else:
            self.today.at_least(0, used, self.wall(now))

    def refused(self, retry_after_s: float | None, now: float) -> None:
        """The vendor said "not now"; see `Quotas.refused`."""
        self.refusals += 1
        self._easy_until = -inf
        if self.refusals > 1:
            pause_s = (
                min(2.0 ** min(self.refusals - 1, 10), LONGEST_PAUSE_S) if retry_after_s is None else retry_after_s
            )
            self.closed_until = max(self.closed_until, now + max(pause_s, 0.0))

    def is_curious(self, now: float) -> bool:
        """Return whether an answer says something to us even if it says nothing of limits."""
        return self.refusals > 0 or now >= self._clock_due

    def is_clock_due(self, now: float) -> bool:
        """Return whether the vendor's clock is to be looked at again."""
        return now >= self._clock_due

    def synchronise(self, wall: float | None, now: float) -> None:
        """Follow the vendor's own clock, once two looks in a row say that ours is wrong. wall: its Unix seconds; None: it does
        not say, or was not looked at.

        A machine that slept comes back with a monotonic clock that did not go on, one without a battery starts in 1970.
        """
        if now >= self._clock_due:
            self._clock_due = now + CLOCK_EVERY_S
        if wall is None:
            return
        offset = wall - now
        if abs(offset - self.offset) > 2 * SKEW_S and abs(offset - self._doubt) <= SKEW_S:
            self.offset = offset
            self.today.set_back(wall)
            self._easy_until = -inf
        self._doubt = offset

    # ── for people, and over restarts ──

    def runs_out_at(self, now: float) -> float | None:
        """Return the Unix seconds at which usual demand will have used the day's requests; None: it will not."""
        at = self.demand.used_up_at(self.today.position(self.wall(now)), self.requests_day - self.today.requests)
        return None if at is None else self.today.wall_of(at)

    def restore(self, slots: Sequence[Slot], used: DayUse, hours: Sequence[float | None], now: float) -> None:
        """Count what an earlier run used."""
        self.today.turn(self.wall(now))
        self.today.restore(used)
        self.demand = Demand(self.today.hours(self.wall(now)), hours)
        self.window.restore(slots)
        self.window.expire(now)

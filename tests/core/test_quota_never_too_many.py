"""core/quota.py: whatever happens, a vendor never sees more than it allows."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from email.utils import format_datetime
from math import inf

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from turnout.core.catalog import Quota
from turnout.core.quota import Need, Quotas
from turnout.core.quota_window import TRAVEL_S, WINDOW_S

NOON = 1_800_014_400.0
NOW = 5000.0
BOTH = ("account", "account/model")


class NeverTooMany(RuleBasedStateMachine):
    """Whatever happens, the vendor never sees more than it allows: a model that keeps exact times.

    True time passes, the vendor's clock is a little off, calls travel for up to TRAVEL_S, some connect first. The machine's wall
    clock is set at will, the gateway restarts with or without its machine, config is reloaded, answers cost less than was
    thought, some calls are never sent. Everybody asks as much and as soon as they may.
    """

    quotas: dict[str, Quota] = {}  # noqa: RUF012 - every machine sets its own

    @initialize(
        requests=st.integers(1, 6),
        day=st.integers(2, 12),
        at_once=st.integers(1, 12),
        midnight_in_s=st.sampled_from([20.0, 43_200.0]),
        vendor_off=st.floats(-0.7, 0.7),
    )
    def begin(self, requests, day, at_once, midnight_in_s, vendor_off):
        """A vendor, its quotas, and a gateway that starts."""
        self.quotas = {
            "account": Quota("account", "a", requests_minute=requests, requests_day=day, at_once=at_once),
            "account/model": Quota("account/model", "a", requests_minute=max(1, requests - 1), tokens_minute=100),
        }
        self.true = NOON + 43_200 - midnight_in_s
        self.vendor_off = vendor_off
        self.mono = NOW
        self.wall_off = 0.0
        self.books = Quotas(self.quotas, self.mono, self.true)
        self.seen = []  # what the vendor saw: [when, names, tokens]
        self.flying = []  # what was taken and has not ended: (taken, what the vendor saw of it, or None)

    def pass_time(self, seconds):
        """For everybody."""
        self.true += seconds
        self.mono += seconds

    def ask(self, names, tokens, travel_s):
        """One call, sent at once if it may go, easily where it can; travel_s: None for one that is not sent yet."""
        need = Need(tokens=tokens, is_high=True)
        may_go = self.books.wait_s(names, need, self.mono) == 0.0
        taken = self.books.take_easily(names, tokens, self.mono)
        assert taken is None or may_go
        if taken is None:
            taken = self.books.take(names, need, self.mono)
            if taken is not None:
                self.books.look_ahead(names, tokens, self.mono, calls=2)
        assert may_go == (taken is not None)
        if taken is not None:
            self.flying.append((taken, None if travel_s is None else self.arrive(names, tokens, travel_s)))
        return may_go

    def arrive(self, names, tokens, travel_s):
        """The vendor sees a call."""
        self.seen.append([self.true + travel_s, names, tokens])
        return self.seen[-1]

    @rule(seconds=st.one_of(st.floats(0, 2), st.floats(0, 70), st.sampled_from([59.9, 3600.0, 90_000.0])))
    def time_passes(self, seconds):
        """As it does."""
        self.pass_time(seconds)

    @rule(after_s=st.floats(-1.2, 1.3))
    def it_is_midnight(self, after_s):
        """Or just before, or just after."""
        until = (self.true // 86_400 + 1) * 86_400 + after_s
        self.pass_time(until - self.true)

    @rule(names=st.sampled_from([BOTH, BOTH[:1], BOTH[1:]]), tokens=st.integers(0, 60), travel_s=st.floats(0, TRAVEL_S))
    def as_many_as_may_go(self, names, tokens, travel_s):
        """And after a moment some more, by a quicker way."""
        for _ in range(13):
            self.ask(names, tokens, travel_s)
        self.pass_time(travel_s)
        for _ in range(13):
            self.ask(names, tokens, 0.0)

    @rule(names=st.sampled_from([BOTH, BOTH[:1]]), tokens=st.integers(0, 60))
    def as_soon_as_one_may_go(self, names, tokens):
        """At the very moment that is named."""
        wait_s = self.books.wait_s(names, Need(tokens=tokens, is_high=True), self.mono)
        self.pass_time(wait_s)
        for _ in range(13):
            self.ask(names, tokens, 0.0)

    @rule(names=st.sampled_from([BOTH, BOTH[:1]]), connect_s=st.floats(0, 80), goes=st.booleans())
    def one_that_connects_first(self, names, connect_s, goes):
        """It is sent late, or never."""
        if self.ask(names, 5, None):
            taken, _ = self.flying.pop()
            self.pass_time(connect_s)
            if goes:
                self.books.sent(taken, self.mono)
                self.flying.append((taken, self.arrive(names, 5, 0.1)))
            else:
                self.books.give_back(taken, self.mono)

    @rule(part=st.sampled_from([0.0, 0.5, 1.0]), count=st.integers(1, 20))
    def some_end(self, part, count):
        """Less than was thought: the vendor, which counted what they might use, corrects that too."""
        for taken, seen in self.flying[:count]:
            seen[2] = int(seen[2] * part)
            self.books.settle(taken, seen[2], self.mono)
            self.books.end(taken, self.mono)
        del self.flying[:count]

    @rule(off=st.sampled_from([3600.0, -3600.0, 86_400.0, -86_400.0, 3e8]))
    def the_wall_is_set(self, off):
        """By hand, or by NTP."""
        self.wall_off += off

    @rule(names=st.sampled_from([BOTH, BOTH[:1], ()]))
    def config_changes_and_changes_back(self, names):
        """A quota is gone for a while."""
        self.books.install({name: self.quotas[name] for name in names}, self.mono)
        self.books.install(self.quotas, self.mono)

    @rule(away_s=st.floats(0, 100), is_reboot=st.booleans(), off=st.sampled_from([0.0, 3600.0, -3600.0]))
    def the_gateway_restarts(self, away_s, is_reboot, off):
        """Its wall may be wrong by an hour, but then not next to midnight: no clock could tell."""
        state = self.books.dump(self.mono, self.true + self.wall_off)
        self.true += away_s
        self.mono = away_s if is_reboot else self.mono + away_s
        self.wall_off = off if 7200 < self.true % 86_400 < 79_200 else 0.0
        self.books = Quotas(self.quotas, self.mono, self.true + self.wall_off)
        self.books.load(state, self.mono, self.true + self.wall_off)
        if self.wall_off:  # the vendor's dates put it right before the next midnight
            date = format_datetime(datetime.fromtimestamp(int(self.true + self.vendor_off), UTC), usegmt=True)
            for _ in range(2):
                self.books.told(BOTH, {"date": date}, 429, self.mono)
        self.flying = []

    @invariant()
    def the_vendor_never_sees_too_many(self):
        """In no minute, wherever it begins; in none of its days; at once."""
        for name, quota in self.quotas.items():
            mine = sorted((at, tokens) for at, names, tokens in self.seen if name in names)
            for begin, _ in mine[-20:]:
                minute = [tokens for at, tokens in mine if begin <= at < begin + WINDOW_S - 1e-6]
                assert len(minute) <= quota.requests_minute
                assert sum(minute) <= (quota.tokens_minute or inf)
            if quota.requests_day:
                days = Counter((at + self.vendor_off) // 86_400 for at, _ in mine)
                assert max(days.values(), default=0) <= quota.requests_day
                assert sum(1 for _, seen in self.flying if name in seen[1]) <= quota.at_once


NeverTooMany.TestCase.settings = settings(max_examples=100, stateful_step_count=25, deadline=None)
TestNeverTooMany = NeverTooMany.TestCase

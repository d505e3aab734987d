"""T35: reserving, settling, shipping, crashing, recovering, new limits and new days in any order keep budgets exact: none is passed, none refuses what it has, and in the end each has spent what the ledger says and holds nothing.

A model that only adds is asked beside the real thing: two writers over one set of books, in virtual time.
"""

from __future__ import annotations

import itertools
from asyncio import sleep
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from tests.faults.memory_books import MemoryBooks
from turnout.core.books.budgets import release
from turnout.core.books.entry import Charge, Entry
from turnout.core.books.ledger import append
from turnout.core.books.statements import Sql
from turnout.core.catalog import Server, Snapshot
from turnout.core.principal import Who
from turnout.core.rules import Budget
from turnout.errors import BudgetExceeded
from turnout.gateway.budgets import LEASE_S, Budgets
from turnout.gateway.purses import AGAIN_S
from turnout.gateway.virtual_time import VirtualClock, VirtualLoop

USERS = ("anna", "bert")
LIMITS = {"all": 1000, "user:*": 600}
DAY_S = 86400
EMPTY = MemoryBooks().snapshot()
HELD = """
SELECT budget_period.budget, spent_nano_usd + coalesce(sum(max(amount_nano_usd, 0)), 0)
FROM budget_period LEFT JOIN lease
    ON lease.budget = budget_period.budget AND lease.starts_at = budget_period.starts_at
GROUP BY budget_period.budget, budget_period.starts_at, spent_nano_usd
"""
LEASES = "SELECT writer, budget, starts_at, amount_nano_usd FROM lease"


def rows(text):
    """The rows of a query."""
    return list((yield Sql(text)))


class Clock(VirtualClock):
    """One whose days are short: its wall may be set ahead."""

    ahead_s = 0.0

    def wall(self) -> float:
        return super().wall() + self.ahead_s


@dataclass
class Attempt:
    """One reservation, as the model knows it. cost: None while it is under way."""

    number: int
    user: str
    need: int
    reservation: object
    cost: int | None = None


@dataclass
class Writer:
    """One gateway. died_at: None while it lives. open: under way. unshipped: settled, and in its journal alone."""

    name: str
    budgets: Budgets
    died_at: float | None = None
    open: list[Attempt] = field(default_factory=list)
    unshipped: list[Attempt] = field(default_factory=list)


class Money(RuleBasedStateMachine):
    """Two writers, two users, a day's budget for all and one for each user."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        self.books = MemoryBooks.of(EMPTY)
        self.clock = Clock(self.loop, began=1_800_000_000 // DAY_S * DAY_S)
        self.numbers = itertools.count(1)
        self.limits = dict(LIMITS)
        self.spent: dict[Charge, int] = {}
        self.writers = [self.begin(), self.begin()]
        self.dead: list[Writer] = []
        self.is_exact = True

    def run(self, work):
        return self.loop.run_until_complete(work)

    def begin(self) -> Writer:
        """A gateway starts."""

        async def started():
            name = f"w{next(self.numbers)}"
            unshipped: list[Attempt] = []
            budgets = Budgets(self.books, name, self.clock, is_booked=lambda: not unshipped)
            budgets.start()
            return Writer(name, budgets, unshipped=unshipped)

        writer = self.run(started())
        self.install(writer)
        return writer

    def install(self, writer: Writer) -> None:
        budgets = [
            Budget(name, name.partition(":")[0], "*", limit, period="day") for name, limit in self.limits.items()
        ]
        writer.budgets.install(Snapshot("r", Server(), {}, {}, {}, {}, {}, {}, {}, budgets=tuple(budgets)))

    # ── what happens ──

    @rule(
        at=st.integers(0, 1),
        user=st.sampled_from(USERS),
        needs=st.lists(st.sampled_from([0, 1, 50, 120, 200, 300, 400, 600]), min_size=1, max_size=4),
    )
    def reserve(self, at, user, needs):
        """Somebody asks, perhaps several times."""
        for need in needs:
            self.ask(at, user, need)

    def ask(self, at, user, need):
        """Who is refused may have asked too soon, so a moment goes by first."""
        self.pass_time(AGAIN_S + 0.01)
        writer = self.writers[at]
        try:
            reservation = self.run(writer.budgets.reserve(Who(user=user), need))
        except BudgetExceeded:
            self.check_refusal(writer, user, need)
            return
        number = next(self.numbers)
        for charge in reservation.charges:
            if need:
                committed = self.committed(charge, writer)
                assert committed + need <= self.limit(charge), (charge, committed, need)
        writer.open.append(Attempt(number, user, need, reservation))

    @precondition(lambda self: any(writer.open for writer in self.writers))
    @rule(at=st.integers(0, 1), which=st.integers(0, 99), part=st.sampled_from([0.0, 0.3, 1.0, 1.0, 1.0]))
    def settle(self, at, which, part):
        """One ends, and cost what it was to cost at most, or less."""
        self.end(at, which, lambda need: int(need * part))

    @precondition(lambda self: any(writer.open for writer in self.writers))
    @rule(at=st.integers(0, 1), which=st.integers(0, 99), over=st.integers(1, 900))
    def settle_above(self, at, which, over):
        """A vendor took more than it was to."""
        if self.end(at, which, lambda need: need + over):
            self.is_exact = False

    def end(self, at, which, cost):
        writer = self.writers[at] if self.writers[at].open else self.writers[1 - at]
        attempt = writer.open.pop(which % len(writer.open))
        attempt.cost = cost(attempt.need)
        attempt.reservation.settle(attempt.cost)
        writer.unshipped.append(attempt)
        return True

    @precondition(lambda self: any(writer.unshipped for writer in self.writers))
    @rule(at=st.integers(0, 1), is_twice=st.booleans())
    def ship(self, at, is_twice):
        """A journal goes to the books; perhaps once more."""
        for _ in range(1 + is_twice):
            self.book(self.writers[at])
        self.writers[at].unshipped.clear()

    def book(self, writer: Writer) -> None:
        entries = [self.entry(one) for one in writer.unshipped]
        if entries and self.run(self.books.write(lambda: append(writer.name, entries))):
            for one in writer.unshipped:
                for charge in one.reservation.charges:
                    self.spent[charge] = self.spent.get(charge, 0) + one.cost

    def entry(self, one: Attempt) -> Entry:
        at_ms = int(self.clock.wall() * 1000)
        names = (f"a{one.number}", "r", at_ms, "", one.user, "", "", "", "", "m", "p", "m", "", "ok", "exact")
        return Entry(*names, 0, 0, 0, 0, 0, one.cost, one.reservation.charges)

    @rule(seconds=st.sampled_from([0.1, 0.5, 0.5, 1.0, 1.0, 3.0, 3.0, 70.0, 650.0]))
    def pass_time(self, seconds):
        """Leases are looked after meanwhile."""
        self.run(sleep(seconds))

    @rule()
    def next_day(self):
        """What is under way stays on the day before."""
        self.clock.ahead_s += DAY_S - self.clock.wall() % DAY_S

    @rule(name=st.sampled_from(list(LIMITS)), limit=st.integers(0, 1500))
    def limit_changes(self, name, limit):
        """Everywhere; what was reserved stays reserved."""
        self.limits[name] = limit
        self.is_exact = False
        for writer in self.writers:
            self.install(writer)

    @rule(at=st.integers(0, 1))
    def crash(self, at):
        """A gateway is killed, and another starts in its place."""
        writer = self.writers[at]
        writer.died_at = self.clock.now()
        self.run(writer.budgets._tasks.stop())
        self.dead.append(writer)
        self.writers[at] = self.begin()

    @precondition(lambda self: self.dead)
    @rule(which=st.integers(0, 9))
    def recover(self, which):
        """A dead gateway's journal is found: what was under way is booked at what was set aside for it."""
        writer = self.dead.pop(which % len(self.dead))
        for attempt in writer.open:
            attempt.cost = attempt.need
        writer.unshipped += writer.open
        writer.open = []
        self.book(writer)
        writer.unshipped.clear()
        self.run(self.books.write(lambda: release(writer.name)))

    # ── what must hold ──

    def limit(self, charge: Charge) -> int:
        return self.limits["all" if charge.budget == "all" else "user:*"]

    def committed(self, charge: Charge, asker: Writer) -> int:
        """What is spent or promised for sure. Of others only what their leases cover, as nobody can know of the rest yet: a
        vendor that took more than it was to has used up what covered others, until that gateway looks after its leases. Of
        the dead only while their leases last.
        """
        total = self.spent.get(charge, 0)
        leases = {row[:3]: row[3] for row in self.run(self.books.read(lambda: rows(LEASES)))}
        lasting = [one for one in self.dead if self.clock.now() - one.died_at < LEASE_S - 120]
        for writer in (*self.writers, *lasting):
            promised = 0
            for one in (*writer.open, *writer.unshipped):
                if charge in one.reservation.charges:
                    cost = one.need if one.cost is None else one.cost
                    promised += cost if writer is asker else min(cost, one.need)
            is_covered = writer is asker or self.is_exact
            covered = max(0, leases.get((writer.name, charge.budget, charge.starts_at), 0))
            total += promised if is_covered else min(promised, covered)
        return total

    def check_refusal(self, writer: Writer, user: str, need: int) -> None:
        """It was for want of what is neither spent, nor this writer's own promise, nor held by another."""
        day = int(self.clock.wall() // DAY_S * DAY_S)
        wall = int(self.clock.wall())
        leases = self.run(self.books.read(lambda: rows("SELECT * FROM lease")))
        short = []
        for charge in (Charge("all", day), Charge(f"user:*/{user}", day)):
            others = sum(
                max(0, amount)
                for name, budget, starts_at, amount, until in leases
                if (budget, starts_at) == (charge.budget, charge.starts_at) and name != writer.name and until > wall
            )
            own = sum(
                one.need if one.cost is None else one.cost
                for one in (*writer.open, *writer.unshipped)
                if charge in one.reservation.charges
            )
            short.append(self.spent.get(charge, 0) + others + own + need > self.limit(charge))
        assert any(short), (user, need)

    @invariant()
    def nothing_is_passed(self):
        """Where every vendor keeps to its word and no limit was lowered: what is spent and held fits, at every instant (I9)."""
        if not self.is_exact:
            return
        if not self.dead:
            held = self.run(self.books.read(lambda: rows(HELD)))
            assert all(total <= self.limit(Charge(name, 0)) for name, total in held), held

    @invariant()
    def leases_are_what_is_free_or_promised(self):
        """What the books hold for a writer is what it may use, what it has promised, and what is on its way: nothing drifts."""
        leases = {row[:3]: row[3] for row in self.run(self.books.read(lambda: rows(LEASES)))}
        for writer in self.writers:
            for purse in writer.budgets.known(99):
                charge = purse.account.charge
                promised = sum(
                    one.need if one.cost is None else one.cost
                    for one in (*writer.open, *writer.unshipped)
                    if charge in one.reservation.charges
                )
                here = purse.free_nano_usd + purse.back_nano_usd + promised
                assert here == leases.get((writer.name, charge.budget, charge.starts_at), 0), (writer.name, charge)

    def teardown(self):
        """In the end all is settled, in the ledger and given back; and what is left can be had to the last nano-dollar."""
        try:
            self.wind_up()
        finally:
            for writer in self.writers:
                self.run(writer.budgets._tasks.stop())
            self.run(self.loop.shutdown_default_executor())
            self.run(self.books.close())
            self.loop.close()

    def wind_up(self):
        while self.dead:
            self.recover(0)
        for at, writer in enumerate(self.writers):
            while writer.open:
                self.settle(at, 0, 0.3)
        for at in range(2):
            self.ship(at, is_twice=False)
        self.leases_are_what_is_free_or_promised()
        self.pass_time(5.0)
        kept = self.run(self.books.read(lambda: rows("SELECT budget, starts_at, spent_nano_usd FROM budget_period")))
        assert {charge: cost for charge, cost in self.spent.items() if cost} == {
            Charge(*row[:2]): row[2] for row in kept if row[2]
        }
        assert [] == self.run(self.books.read(lambda: rows("SELECT * FROM lease")))
        day = int(self.clock.wall() // DAY_S * DAY_S)
        left = self.limits["all"] - self.spent.get(Charge("all", day), 0)
        left = min(left, self.limits["user:*"])  # carl's own
        if left > 0:
            self.run(self.writers[0].budgets.reserve(Who(user="carl"), left)).release()
        try:
            self.run(self.writers[1].budgets.reserve(Who(user="carl"), max(left, 0) + 1))
        except BudgetExceeded:
            return
        raise AssertionError("more was granted than there is")


@pytest.mark.timeout(900)
def test_t35_any_order_of_events(size, proof):
    """Examples of up to 15 events each; Hypothesis shrinks one that fails."""
    examples = size(150, 10_000)
    run_state_machine_as_test(
        Money,
        settings=settings(
            max_examples=examples,
            stateful_step_count=15,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate, Phase.shrink),
        ),
    )
    proof(
        f"{examples:,} histories of up to 15 events: no budget passed, none refused what it had, all exact in the end"
    )

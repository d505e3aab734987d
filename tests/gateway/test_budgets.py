"""gateway/budgets.py: money is reserved before a vendor is asked, out of what this writer holds of each budget."""

from __future__ import annotations

import asyncio

import pytest

from tests.gateway.lab import StillClock
from turnout.core.books.budgets import held, lease
from turnout.core.books.entry import Charge, Entry
from turnout.core.books.ledger import append
from turnout.core.budgeting import Account
from turnout.core.catalog import Server, Snapshot
from turnout.core.principal import Who
from turnout.core.rules import SHIPPED_TIERS, Budget
from turnout.errors import BudgetExceeded, StoreError
from turnout.gateway.budgets import KNOWN, LEASE_S, RENEW_S, Budgets
from turnout.gateway.purses import IDLE_LOOKS

ALL = Budget("all", "all", "*", 1000)
EACH = Budget("user:*", "user", "*", 500)
ANNA = Who(user="anna")
MONTH = 1_798_761_600
"""1 January 2027, when the clock's month began."""


def snapshot(*budgets: Budget, **more) -> Snapshot:
    """A configuration of budgets alone."""
    return Snapshot("r", Server(), {}, {}, {}, {}, {}, {}, {}, budgets=budgets, **more)


def made(database, *budgets: Budget, writer="w", clock=None, **more) -> Budgets:
    """The budgets of one writer."""
    made = Budgets(database, writer, clock or StillClock(), **more)
    made.install(snapshot(*budgets))
    return made


def entry(attempt: str, cost: int, charges, user="anna") -> Entry:
    """A ledger's line."""
    at_ms = 1_800_001_000_000
    names = (attempt, "r", at_ms, "", user, "", "", "", "", "gpt", "sim", "gpt", "", "ok", "exact")
    return Entry(*names, 1, 1, 0, 0, 0, cost, charges)


async def book(database, attempt, cost, reservation, writer="w"):
    """An attempt ends: settled here, and in the ledger."""
    reservation.settle(cost)
    await database.write(lambda: append(writer, [entry(attempt, cost, reservation.charges)]))


async def leases(database, writer="w"):
    """What the books hold for a writer."""
    return [(one.charge.budget, one.amount_nano_usd) for one in await database.read(lambda: held(writer, 0))]


async def idle(budgets, looks=IDLE_LOOKS + 1):
    """Let time go by."""
    for _ in range(looks):
        await budgets.look()


async def test_who_has_no_budget_reserves_nothing(database):
    """And is charged nothing."""
    reservation = await made(database, EACH).reserve(Who(key="k"), 10**15)
    assert ((), ()) == (reservation.charges, reservation.left())
    reservation.settle(5)


async def test_all_budgets_that_bind_are_charged(database):
    """Each its own period; what is left is told by the tightest."""
    budgets = made(database, ALL, EACH)
    reservation = await budgets.reserve(ANNA, 100)
    assert (Charge("all", MONTH), Charge("user:*/anna", MONTH)) == reservation.charges
    assert (b"x-turnout-budget", b"user:*/anna") == reservation.left()[0]
    assert (b"x-turnout-budget-remaining", b"0.000000400") == reservation.left()[-1]
    assert [("all", 100), ("user:*/anna", 100)] == await leases(database)


async def test_a_lease_is_used_without_asking(database):
    """Sixty-four parts of a large budget: the books are asked once."""
    budgets = made(database, Budget("all", "all", "*", 640_000))
    first = await budgets.reserve(ANNA, 10)
    assert [("all", 10_000)] == await leases(database)
    await database.close()
    others = [await budgets.reserve(ANNA, 10) for _ in range(999)]
    assert 1000 == len({id(one) for one in (first, *others)})
    with pytest.raises(StoreError):
        await budgets.reserve(ANNA, 10)


@pytest.mark.parametrize("writers", [1, 3])
async def test_a_thousand_requests_of_a_cent_against_a_dollar(databases, writers):
    """Exactly a hundred, whoever asks; and in the end the books say so."""
    several = [await databases() for _ in range(writers)]
    all_budgets = [made(one, ALL, writer=f"w{at}") for at, one in enumerate(several)]

    async def ask(number):
        try:
            reservation = await all_budgets[number % writers].reserve(ANNA, 10)
        except BudgetExceeded:
            return 0
        await book(several[number % writers], f"a{number}", 10, reservation, writer=f"w{number % writers}")
        return 1

    assert 100 == sum(await asyncio.gather(*map(ask, range(1000))))
    (standing,) = await all_budgets[0].status(10)
    assert (1000, 0) == (standing.spent_nano_usd, standing.leased_nano_usd)


async def test_a_refusal_takes_nothing_of_the_other_budgets(database):
    """All or nothing (C6); it is counted by whose budget it was."""
    budgets = made(database, ALL, EACH)
    with pytest.raises(BudgetExceeded, match="user:\\*/anna"):
        await budgets.reserve(ANNA, 501)
    with pytest.raises(BudgetExceeded):
        await budgets.reserve(ANNA, 501)
    assert {"user": 2} == budgets.refused
    assert [("all", 500), ("user:*/bert", 500)] == [
        (charge.budget, 500) for charge in (await budgets.reserve(Who(user="bert"), 500)).charges
    ]
    (await budgets.reserve(Who(user="carl"), 500)).release()


async def test_a_cost_above_its_reservation_refuses_the_next(database):
    """It is booked as it was (T23); what is left after that is had to the last."""
    budgets = made(database, ALL)
    await book(database, "a", 700, await budgets.reserve(ANNA, 100))
    with pytest.raises(BudgetExceeded):
        await budgets.reserve(ANNA, 301)
    (await budgets.reserve(ANNA, 300)).release()
    await idle(budgets)
    assert [] == await leases(database)
    assert [700] == [one.spent_nano_usd for one in await budgets.status(9)]


async def test_what_was_spent_beyond_the_limit_refuses_everything_but_what_is_free(database):
    """A free model costs no budget anything."""
    budgets = made(database, ALL)
    await book(database, "a", 5000, await budgets.reserve(ANNA, 100))
    with pytest.raises(BudgetExceeded, match=r"\$0.00 of it is left"):
        await budgets.reserve(ANNA, 1)
    (await budgets.reserve(ANNA, 0)).settle(0)


async def test_what_has_no_price_is_refused_where_a_budget_may_refuse(database):
    """Nobody knows what it takes of it. Where none does, it goes."""
    budgets = made(database, ALL)
    with pytest.raises(BudgetExceeded, match="has no price"):
        await budgets.reserve(ANNA, None)
    soft = made(database, Budget("user:*", "user", "*", 5, is_hard=False), writer="v")
    (await soft.reserve(ANNA, None)).settle(None)


async def test_a_soft_budget_counts_and_refuses_nothing(database):
    """What was spent is known, above the limit too."""
    budgets = made(database, Budget("all", "all", "*", 50, is_hard=False))
    for number in range(3):
        await book(database, f"a{number}", 40, await budgets.reserve(ANNA, 60))
    assert [120] == [one.spent_nano_usd for one in await budgets.status(9)]
    await idle(budgets)
    assert [] == await leases(database)


async def test_who_leaves_while_the_books_are_asked_leaves_nothing_reserved(database):
    """At whatever moment: what it was to get is free again (T22)."""
    for steps in range(6):
        budgets = made(database, ALL, writer=f"w{steps}")
        task = asyncio.create_task(budgets.reserve(ANNA, 1000))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        (await budgets.reserve(ANNA, 1000)).release()
        await budgets.stop()
        assert [] == await leases(database, f"w{steps}")


async def test_a_new_period_begins_anew_and_the_old_one_is_left_behind(database):
    """What was reserved before is booked to where it was reserved."""
    clock = StillClock()
    budgets = made(database, Budget("all", "all", "*", 1000, period="day"), clock=clock)
    before = await budgets.reserve(ANNA, 1000)
    with pytest.raises(BudgetExceeded):
        await budgets.reserve(ANNA, 1)
    clock.at += 86400
    after = await budgets.reserve(ANNA, 1000)
    assert 86400 == after.charges[0].starts_at - before.charges[0].starts_at
    before.release()
    await idle(budgets)
    assert [("all", 1000)] == await leases(database)
    assert [after.charges[0].budget] == [one.account.charge.budget for one in budgets.known(5)]


async def test_an_idle_lease_goes_back_and_is_forgotten(database):
    """Two seconds after it was used, not sooner; what is reserved stays."""
    budgets = made(database, Budget("all", "all", "*", 640_000))
    reservation = await budgets.reserve(ANNA, 10)
    await idle(budgets)
    assert [("all", 10_000)] == await leases(database)
    reservation.settle(10)
    await idle(budgets, IDLE_LOOKS)
    assert [("all", 10_000)] == await leases(database)
    await budgets.look()
    assert [("all", 10)] == await leases(database)  # its entry is on its way
    await database.write(lambda: append("w", [entry("a", 10, reservation.charges)]))
    await budgets.look()
    assert [] == await leases(database)


async def test_what_another_writer_holds_idle_comes_back_to_who_needs_it(databases):
    """Within two of its looks."""
    first, second = await databases(), await databases()
    rich = made(first, Budget("all", "all", "*", 64_000), writer="rich")
    poor = made(second, Budget("all", "all", "*", 64_000), writer="poor")
    (await rich.reserve(ANNA, 10)).release()
    assert [("all", 1000)] == await leases(first, "rich")
    task = asyncio.create_task(poor.reserve(ANNA, 64_000))
    while not task.done():
        await rich.look()
        await asyncio.wait([task], timeout=0.05)
    assert (b"x-turnout-budget-remaining", b"0.00") == task.result().left()[-1]


async def test_another_limit_holds_from_the_next_request_on(database):
    """Lower: what was leased under the old one is not used. Higher: what was refused is served."""
    budgets = made(database, Budget("all", "all", "*", 640_000))
    (await budgets.reserve(ANNA, 10)).release()
    budgets.install(snapshot(Budget("all", "all", "*", 100)))
    with pytest.raises(BudgetExceeded):
        await budgets.reserve(ANNA, 101)
    budgets.install(snapshot(Budget("all", "all", "*", 200)))
    (await budgets.reserve(ANNA, 101)).release()
    budgets.install(snapshot())
    assert () == (await budgets.reserve(ANNA, 10**15)).charges


async def test_budgets_of_keys_are_budgets(database):
    """They come from the books, beside the config's."""
    budgets = Budgets(database, "w", StillClock())
    budgets.install(snapshot(tiers={tier.name: tier for tier in SHIPPED_TIERS}), [Budget("key:k", "key", "k", 10)])
    reservation = await budgets.reserve(Who(key="k", user="anna", tier="default"), 7)
    assert ["key:k", "tier:default/anna"] == [charge.budget for charge in reservation.charges]


async def test_leases_in_use_are_renewed(database):
    """Once a minute, all of them."""
    clock = StillClock()
    budgets = made(database, Budget("all", "all", "*", 640_000), clock=clock)
    reservation = await budgets.reserve(ANNA, 10)
    clock.at += LEASE_S - RENEW_S - 1
    await budgets.look()
    clock.at += LEASE_S - RENEW_S - 1
    await budgets.look()
    clock.at += RENEW_S
    assert [10_000] == [one.leased_nano_usd for one in await budgets.status(9)]
    clock.at += LEASE_S
    assert [0] == [one.leased_nano_usd for one in await budgets.status(9)]
    reservation.release()


async def test_what_was_spent_is_told(database):
    """Of each budget that was used, with each look."""
    told = []
    budgets = made(database, ALL, EACH, on_spent=lambda *seen: told.append((seen[0].name, seen[1].who, seen[2])))
    await book(database, "a", 70, await budgets.reserve(ANNA, 100))
    await budgets.look()
    assert [("all", "", 70), ("user:*", "anna", 70)] == sorted(told)


async def test_what_no_journal_has_goes_back(database):
    """As after a transaction of which nobody knows whether it was made; not while the ledger may have something to book."""
    is_booked = False
    budgets = made(database, ALL, is_booked=lambda: is_booked)
    (await budgets.reserve(ANNA, 100)).release()
    account = Account(Charge("all", MONTH), None, "all", "all", "", 1000, is_hard=True)
    await database.write(lambda: lease("w", [account], [[(0, 300)]], [0], 0, 600))
    await idle(budgets, 20)
    assert [("all", 300)] == await leases(database)
    is_booked = True
    await idle(budgets, 2)
    assert [] == await leases(database)


async def test_what_was_settled_without_a_lease_is_made_up_for(database):
    """A free model that cost something after all, booked before or after anybody looks, or asks."""
    for number, looks in enumerate((0, 1, 9)):
        budgets = made(database, ALL, writer=f"w{number}")
        reservation = await budgets.reserve(ANNA, 0)
        reservation.settle(1)
        await idle(budgets, looks)
        (await budgets.reserve(ANNA, 5)).release()
        names = [entry(f"a{number}", 1, reservation.charges)]
        await database.write(lambda number=number, names=names: append(f"w{number}", names))
        await idle(budgets)
        assert [] == await leases(database, f"w{number}")
        assert [number + 1] == [one.spent_nano_usd for one in await budgets.status(9)]


async def test_every_budget_has_a_standing(database):
    """Those of keys and tiers too, as far as they were used."""
    budgets = Budgets(database, "w", StillClock())
    budgets.install(snapshot(ALL, tiers={tier.name: tier for tier in SHIPPED_TIERS}), [Budget("key:k", "key", "k", 10)])
    await book(database, "a", 7, await budgets.reserve(Who(key="k", user="anna", tier="default"), 7))
    told = [(one.budget, one.spent_nano_usd, one.period) for one in await budgets.status(9)]
    assert [("key:k", 7, "month"), ("all", 7, "month"), ("tier:default/anna", 7, "30d")] == told


async def test_callers_are_known_up_to_a_bound(database):
    """A flood of names is forgotten once it is idle; who comes again is looked up anew."""
    budgets = made(database, Budget("user:*", "user", "*", 5, is_hard=False))
    for number in range(KNOWN + 1):
        (await budgets.reserve(Who(user=f"u{number}"), 0)).release()
    assert KNOWN + 1 == len(budgets.known(10**6))
    await idle(budgets)
    assert [] == budgets.known(10**6)
    (await budgets.reserve(Who(user="u1"), 0)).release()
    assert ["user:*/u1"] == [one.account.charge.budget for one in budgets.known(5)]


async def test_a_limit_that_comes_while_the_books_are_asked_holds(database):
    """What was leased under the old one is not used."""
    budgets = made(database, Budget("all", "all", "*", 640_000))
    task = asyncio.create_task(budgets.reserve(ANNA, 10))
    await asyncio.sleep(0)
    budgets.install(snapshot(Budget("all", "all", "*", 15)))
    other = asyncio.create_task(budgets.reserve(ANNA, 10))
    await asyncio.wait([task, other])
    assert isinstance(other.exception(), BudgetExceeded)
    task.result().release()


async def test_it_looks_after_leases_by_itself_and_gives_all_back_in_the_end(database):
    """Once it is started, until it is stopped; twice is once."""
    told = asyncio.Event()
    budgets = made(database, Budget("all", "all", "*", 640_000), on_spent=lambda *_seen: told.set())
    budgets.start()
    (await budgets.reserve(ANNA, 10)).release()
    await asyncio.wait_for(told.wait(), 5)
    assert [("all", 10_000)] == await leases(database)
    await budgets.stop()
    await budgets.stop()
    assert [] == await leases(database)

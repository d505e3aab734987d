"""core/books/budgets.py: what was spent and who holds what, over both databases."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from turnout.core.books.budgets import Held, Standing, consume, held, lease, release, standing_told, standings, tend
from turnout.core.books.entry import Charge, Entry
from turnout.core.books.ledger import append
from turnout.core.books.statements import Sql
from turnout.core.budgeting import Account
from turnout.core.rules import Budget, Tier

WALL = 1_800_000_000
START = WALL - 5000
CHARGE = Charge("user:*/anna", START)
ANNA = Account(CHARGE, WALL + 5000, "user:*", "user", "anna", 1000, is_hard=True)
ALL = Account(Charge("all", START), None, "all", "all", "", 5000, is_hard=True)


def entry(number: int, cost: int | None, *charges: Charge, **other) -> Entry:
    """One line of the ledger, of anna's."""
    fixed = dict.fromkeys(("key_id", "workspace", "team", "session", "task", "arm"), "")
    told = {
        **fixed,
        "attempt_id": f"r{number}-1",
        "request_id": f"r{number}",
        "at_ms": WALL * 1000,
        "user": "anna",
        "model": "gpt",
        "provider": "sim",
        "vendor_model": "gpt",
        "outcome": "ok",
        "basis": "exact",
        "input_tokens": 1,
        "output_tokens": 1,
        "cache_read_input_tokens": 0,
        "cache_write_input_tokens": 0,
        "reasoning_output_tokens": 0,
        "cost_nano_usd": cost,
        "charges": charges,
    }
    return Entry(**{**told, **other})


async def take(database, writer, needs, *, account=ANNA, returned=0, wall=WALL):
    """Lease what each of `needs` asks of one account."""
    asks = [[(0, need)] for need in needs]
    return await database.write(lambda: lease(writer, [account], asks, [returned], wall, wall + 600))


async def rows(database, writer="w"):
    """What a writer holds: (amount, spent) of each lease."""
    found = await database.read(lambda: held(writer, WALL))
    return [(one.amount_nano_usd, one.spent_nano_usd) for one in found]


def everything(text):
    """The rows of a query."""
    return list((yield Sql(text)))


async def test_what_is_leased_is_there_for_nobody_else(database):
    """Two writers together never hold more than the limit, and the refused learns what others hold."""
    assert (None,) == (await take(database, "w", [600])).refused
    granted = await take(database, "v", [500, 400])
    assert (0, None) == granted.refused
    assert (600, frozenset([0])) == (granted.rooms[0].others_nano_usd, granted.recalled)
    assert [(600, 0)] == await rows(database)
    assert [(400, 0)] == await rows(database, "v")


async def test_an_entry_is_spent_and_no_longer_held(database):
    """The sum of what is spent and held stays the same, so nothing opens in between."""
    await take(database, "w", [600])
    await database.write(lambda: append("w", [entry(1, 250, CHARGE)]))
    assert [(350, 250)] == await rows(database)
    assert (0,) == (await take(database, "v", [401])).refused
    assert (None,) == (await take(database, "v", [400])).refused


async def test_an_entry_that_comes_again_is_not_booked_again(database):
    """A batch is shipped until it is known to be there."""
    await take(database, "w", [600])
    for _ in range(3):
        await database.write(lambda: append("w", [entry(1, 250, CHARGE)]))
    assert [(350, 250)] == await rows(database)


async def test_a_cost_above_its_reservation_is_booked_as_it_was(database):
    """The next is refused; what the writer then needs makes up for it, and nothing is counted twice."""
    await take(database, "w", [100])
    await database.write(lambda: append("w", [entry(1, 400, CHARGE)]))
    assert [(-300, 400)] == await rows(database)
    assert (0,) == (await take(database, "v", [601])).refused
    assert (0,) == (await take(database, "w", [901])).refused
    assert (None,) == (await take(database, "w", [900])).refused
    assert [(600, 400)] == await rows(database)


async def test_what_costs_nothing_or_is_unpriced_moves_nothing(database):
    """Nor does an entry without charges."""
    await take(database, "w", [100])
    await database.write(lambda: consume("w", [entry(1, 0, CHARGE), entry(2, None, CHARGE), entry(3, 7)]))
    assert [(100, 0)] == await rows(database)


async def test_a_correction_changes_what_was_spent_and_nobodys_lease(database):
    """Whoever makes it: it is the difference, which may be negative."""
    await take(database, "w", [600])
    await database.write(lambda: append("w", [entry(1, 250, CHARGE)]))
    await database.write(lambda: consume("w", [entry(2, -50, CHARGE, corrects="r1-1")]))
    assert [(350, 200)] == await rows(database)


async def test_a_period_that_is_new_begins_with_what_the_ledger_has_of_it(database):
    """For whom it is about, since it began: from the sums by the hour, and from entries of its first hour."""
    hour = WALL // 3600 * 3600
    old = [
        entry(1, 10, at_ms=(START - 1) * 1000),
        entry(2, 20, at_ms=START * 1000),
        entry(3, 30, at_ms=hour * 1000),
        entry(4, 40, user="bert"),
        entry(5, None),
    ]
    await database.write(lambda: append("v", old))
    granted = await database.write(lambda: lease("w", [ANNA, ALL], [[(0, 1), (1, 1)]], [0, 0], WALL, WALL + 600))
    assert [50, 90] == [room.spent_nano_usd for room in granted.rooms]
    await take(database, "w", [1])
    assert [50, 90] == sorted(spent for _, spent in await rows(database))


async def test_what_was_reserved_in_the_last_period_is_not_of_the_next(database):
    """Though it ended in it, before anybody else asked."""
    before = msgspec.structs.replace(ANNA, charge=Charge(CHARGE.budget, START - 9000), ends_at=START)
    await take(database, "w", [500], account=before)
    await database.write(lambda: append("w", [entry(1, 500, before.charge)]))
    granted = await take(database, "w", [1])
    assert 0 == granted.rooms[0].spent_nano_usd


@pytest.mark.parametrize(
    ("scope", "field"),
    [("team", "team"), ("workspace", "workspace"), ("key", "key_id"), ("task", "task"), ("model", "model")],
)
async def test_each_scope_finds_its_own_entries(database, scope, field):
    """By the name in the entry, in the first hour and later."""
    old = [
        entry(1, 10, at_ms=START * 1000, **{field: "mine"}),
        entry(2, 20, **{field: "mine"}),
        entry(3, 40, **{field: "other"}),
    ]
    await database.write(lambda: append("v", old))
    mine = msgspec.structs.replace(ANNA, scope=scope, who="mine")
    granted = await take(database, "w", [1], account=mine)
    assert 30 == granted.rooms[0].spent_nano_usd


async def test_what_was_charged_before_a_period_was_known_is_counted_once(database):
    """As after a restored backup: its entries are in the ledger too."""
    await database.write(lambda: append("v", [entry(1, 250, CHARGE), entry(2, 30)]))
    granted = await take(database, "w", [1])
    assert 280 == granted.rooms[0].spent_nano_usd
    kept = await database.read(lambda: everything("SELECT spent_nano_usd, seeded_nano_usd, rule FROM budget_period"))
    assert [(280, 30, "user:*")] == kept


async def test_a_dead_writers_lease_counts_until_it_is_released_or_expires(database):
    """Its journal may hold entries that nobody has booked yet."""
    await take(database, "dead", [700])
    assert (0,) == (await take(database, "w", [400], wall=WALL + 599)).refused
    assert (None,) == (await take(database, "w", [400], wall=WALL + 600)).refused
    await take(database, "gone", [100], wall=WALL + 600)
    await database.write(lambda: release("gone"))
    assert [] == await rows(database, "gone")
    assert (None,) == (await take(database, "w", [500], wall=WALL + 601)).refused


async def test_a_lease_that_is_given_back_is_there_for_others(database):
    """In the same transaction that asks for more, or by itself; at nothing it is forgotten."""
    await take(database, "w", [600])
    assert (None,) == (await take(database, "w", [900], returned=600)).refused
    assert [(900, 0)] == await rows(database)
    back = await database.write(lambda: tend("w", [(CHARGE, 300)], WALL, WALL + 600, renew=False))
    assert [Held(CHARGE, 600, 0, 0, 600)] == back
    assert [] == await database.write(lambda: tend("w", [(CHARGE, 600)], WALL, WALL + 600, renew=False))
    assert [] == await database.write(lambda: tend("w", [(CHARGE, 0)], WALL, WALL + 600, renew=False))
    assert (None,) == (await take(database, "v", [1000])).refused


async def test_what_was_spent_beyond_a_lease_is_forgotten_once_it_is_idle(database):
    """It is in what was spent: giving back a negative rest makes the lease nothing."""
    await take(database, "w", [100])
    await database.write(lambda: append("w", [entry(1, 400, CHARGE)]))
    assert [] == await database.write(lambda: tend("w", [(CHARGE, -300)], WALL, WALL + 600, renew=False))
    assert (0,) == (await take(database, "v", [601])).refused
    assert (None,) == (await take(database, "v", [600])).refused


async def test_a_renewal_is_of_all_leases_of_a_writer(database):
    """And of nobody else's."""
    await take(database, "w", [300])
    await take(database, "v", [300])
    await database.write(lambda: tend("w", [], WALL, WALL + 5000, renew=True))
    kept = await database.read(lambda: everything("SELECT writer, expires_at FROM lease ORDER BY writer"))
    assert [("v", WALL + 600), ("w", WALL + 5000)] == kept


async def test_whoever_holds_something_learns_that_it_is_wanted(database):
    """Each refusal that others could have spared counts."""
    await take(database, "w", [600])
    await take(database, "v", [500])
    await take(database, "v", [500])
    assert [2] == [one.recalls for one in await database.read(lambda: held("w", WALL))]


async def test_nothing_asked_only_opens(database):
    """A budget that refuses nothing holds nothing; its lease only counts what is on its way."""
    soft = msgspec.structs.replace(ANNA, is_hard=False)
    await database.write(lambda: lease("w", [soft], [[]], [0], WALL, WALL + 600))
    await database.write(lambda: append("w", [entry(1, 4000, CHARGE)]))
    assert [(-4000, 4000)] == await rows(database)


LIFE = Budget("user:*", "user", "*", 1000, period="life", starts_at=START)
ALWAYS = Budget("all", "all", "*", 5000, period="life", starts_at=START)


async def standing(database, *budgets, wall=WALL, most=9, tiers=None):
    """How these budgets stand."""
    return await database.read(lambda: standings(budgets, tiers or {}, wall, most))


async def test_standings_are_of_now_and_the_most_used_come_first(database):
    """Of the budgets that there are, in the period that they are in; with the limit that they have now."""
    over = msgspec.structs.replace(ANNA, charge=Charge("user:*/old", START - 10), ends_at=WALL)
    await database.write(lambda: lease("w", [ANNA, ALL, over], [[(0, 400), (1, 600)]], [0] * 3, WALL, WALL + 600))
    await database.write(lambda: append("w", [entry(1, 300, CHARGE, ALL.charge)]))
    await database.write(lambda: consume("w", [entry(2, 7, Charge("unopened", START))]))
    expected = [
        Standing("user:*/anna", START, WALL + 5000, "user:*", "user", "anna", 1000, 300, 100, "life"),
        Standing("all", START, None, "all", "all", "", 2000, 300, 300, "life", is_hard=False),
    ]
    now = msgspec.structs.replace(ALWAYS, limit_nano_usd=2000, is_hard=False)
    assert expected == await standing(database, LIFE, now)
    assert [600, 1400] == [one.left_nano_usd for one in expected]
    assert expected[:1] == await standing(database, LIFE, now, most=1)
    assert [0, 0] == [one.leased_nano_usd for one in await standing(database, LIFE, now, wall=WALL + 601)]
    assert expected[:1] == await standing(database, LIFE)
    assert [] == await standing(database, msgspec.structs.replace(LIFE, starts_at=1))


async def test_a_budget_for_a_name_stands_before_it_is_used(database):
    """One for each of many does not: nobody has it yet. A tier's is one of those."""
    team = Budget("team:t", "team", "t", 5, period="life")
    told = await standing(
        database,
        team,
        LIFE,
        ALWAYS,
        tiers={"default": Tier("default", budget=Budget("tier:default", "user", "*", 5, period="30d"))},
    )
    assert [
        Standing("team:t", 0, None, "team:t", "team", "t", 5, 0, 0, "life"),
        Standing("all", START, None, "all", "all", "", 5000, 0, 0, "life"),
    ] == told


def test_a_standing_is_told_in_dollars_too():
    """And never that less than nothing is left."""
    told = standing_told(Standing("all", START, None, "all", "all", "", 2_000_000_000, 2_500_000_000, 0, "life"))
    assert {
        "budget": "all",
        "scope": "all",
        "who": "",
        "period": "life",
        "hard": True,
        "starts_at": START,
        "resets_at": None,
        "limit_nano_usd": 2_000_000_000,
        "spent_nano_usd": 2_500_000_000,
        "held_nano_usd": 0,
        "left_nano_usd": 0,
        "limit_usd": "2.00",
        "spent_usd": "2.50",
        "held_usd": "0.00",
        "left_usd": "0.00",
    } == told


async def test_writers_that_ask_at_once_get_the_limit_and_no_more(databases):
    """Four gateways, each its own connection, forty requests of 100 against 1,000."""
    several = [await databases() for _ in range(4)]

    async def ask(number):
        return (await take(several[number % 4], f"w{number % 4}", [100])).refused

    refused = await asyncio.gather(*map(ask, range(40)))
    assert 10 == refused.count((None,))
    assert 1000 == sum([amount for at in range(4) for amount, _ in await rows(several[0], f"w{at}")])

"""gateway/purses.py: what may be used of a budget without asking, and what is reserved of it."""

from __future__ import annotations

import asyncio

import pytest

from turnout.core.books.budgets import Held
from turnout.core.books.entry import Charge
from turnout.core.budgeting import Account, Room
from turnout.core.rules import Budget
from turnout.errors import BudgetExceeded
from turnout.gateway.purses import AGAIN_S, IDLE_LOOKS, RECALL_S, UNRECALLED_S, Purse, Waiting, reserved

CHARGE = Charge("user:*/anna", 100)


def purse(free: int = 0, *, limit: int = 1000, is_hard: bool = True, name: str = "user:*/anna") -> Purse:
    """A purse that the books know, with something free."""
    rule = Budget("user:*", "user", "*", limit, is_hard=is_hard)
    made = Purse(Account(Charge(name, 100), 1_796_083_200, "user:*", "user", "anna", limit, is_hard), rule)
    made.leased(made.account, Room(limit), free)
    return made


def take(*purses: Purse, nano_usd: int):
    """Reserve of purses that have enough."""
    for one in purses:
        one.free_nano_usd -= nano_usd
    return reserved(purses, nano_usd)


def test_what_is_reserved_is_free_no_more_and_what_is_left_of_it_is_again():
    """It counts in every budget; what it is charged to is said by name and period."""
    first, second = purse(500), purse(300, name="all")
    reservation = take(first, second, nano_usd=100)
    assert (CHARGE, Charge("all", 100)) == reservation.charges
    assert (400, 200, 1, 1) == (first.free_nano_usd, second.free_nano_usd, first.reserved, second.reserved)
    reservation.settle(30)
    assert (470, 270, 0, 0) == (first.free_nano_usd, second.free_nano_usd, first.reserved, second.reserved)


def test_only_the_first_end_of_a_reservation_counts():
    """However many paths lead to one."""
    one = purse(500)
    reservation = take(one, nano_usd=100)
    reservation.release()
    reservation.release()
    reservation.settle(100)
    assert (500, 0) == (one.free_nano_usd, one.reserved)
    take(one, nano_usd=100).settle(None)
    assert 500 == one.free_nano_usd


def test_a_cost_above_its_reservation_counts_as_it_was():
    """Below nothing if need be: then nothing more fits."""
    one = purse(100)
    take(one, nano_usd=100).settle(350)
    assert -250 == one.free_nano_usd
    assert not one.has(1)
    assert 650 == one.left_nano_usd
    one.saw(Held(CHARGE, -250, 350, 0, 0), is_booked=False)
    assert 650 == one.left_nano_usd


def test_what_costs_nothing_fits_always_and_a_budget_that_refuses_nothing_takes_all():
    """As long as the books know the period; a free model needs no books."""
    spent, soft = purse(-5), purse(0, is_hard=False)
    assert spent.has(0)
    assert soft.has(10**12)
    soft.is_known = False
    assert not soft.has(1)


def test_a_refusal_says_which_budget_how_much_and_until_when():
    """And what the request could have cost."""
    error = purse(20).exceeded(1_500_000_000)
    assert isinstance(error, BudgetExceeded)
    assert (
        "The budget 'user:*/anna' of $0.000001 has no room for this request, which may cost up to $1.50: $0.000001 of it "
        "is left, apart from requests under way. It begins anew at 2026-12-01 00:00:00 UTC; raise it to go on before."
    ) == error.message
    life = purse(0)
    life.account = Account(CHARGE, None, "user:*", "user", "anna", 1000, is_hard=True)
    assert life.exceeded(1).message.endswith("It is for life: raise it to go on.")


def test_an_answers_headers_name_the_budget_with_the_least_left():
    """Money in dollars, the reset in Unix seconds; a name of any letters."""
    rich, poor = purse(10**9, limit=5 * 10**9, name="all"), purse(400, limit=10**9, name="user:*/Åse %\n")
    poor.room_nano_usd = 600
    assert [
        (b"x-turnout-budget", b"user:*/%C3%85se%20%25%0A"),
        (b"x-turnout-budget-limit", b"1.00"),
        (b"x-turnout-budget-reset", b"1796083200"),
        (b"x-turnout-budget-remaining", b"0.000001"),
    ] == list(reserved((rich, poor), 0).left())
    poor.adopt(Account(CHARGE, None, "user:*", "user", "anna", 1000, is_hard=True), poor.budget)
    assert [b"x-turnout-budget", b"x-turnout-budget-limit", b"x-turnout-budget-remaining"] == [
        name for name, _ in reserved((poor,), 0).left()
    ]
    assert () == reserved((), 0).left()


def test_another_limit_is_asked_for_anew():
    """What was leased under the old one goes back; the same limit changes nothing."""
    one = purse(500)
    one.adopt(one.account, one.budget)
    assert (500, True) == (one.free_nano_usd, one.is_known)
    rule = Budget("user:*", "user", "*", 700)
    one.adopt(Account(CHARGE, 1_796_083_200, "user:*", "user", "anna", 700, is_hard=True), rule)
    assert (0, 500, False, 200) == (one.free_nano_usd, one.back_nano_usd, one.is_known, one.left_nano_usd)


def test_a_purse_is_idle_once_nobody_used_it_for_a_while():
    """Then all that is free goes back, what vendors took beyond it too; not while something is reserved."""
    one = purse(-70)
    reservation = reserved((one,), 0)
    for _ in range(9):
        one.look(is_sure=True)
    assert not one.is_idle
    reservation.release()
    for _ in range(IDLE_LOOKS):
        one.look(is_sure=True)
        assert -70 == one.free_nano_usd
    one.look(is_sure=True)
    assert (0, -70) == (one.free_nano_usd, one.back_nano_usd)


def test_a_lease_that_may_have_run_out_is_not_used():
    """Somebody else may have it by now."""
    one = purse(500)
    one.look(is_sure=False)
    assert (0, 500) == (one.free_nano_usd, one.back_nano_usd)


@pytest.mark.parametrize(
    ("recalls", "spent", "expected"), [(0, 0, (False, 500)), (1, 0, (True, 0)), (0, 600, (True, 0))]
)
def test_what_others_want_or_the_limit_no_longer_allows_goes_back(recalls, spent, expected):
    """Told once for each recall."""
    one = purse(500)
    assert expected == (one.saw(Held(CHARGE, 500, spent, recalls, 500), is_booked=False), one.free_nano_usd)
    assert not one.saw(Held(CHARGE, 500, 0, recalls, 500), is_booked=False)


def test_what_the_books_hold_for_nobody_goes_back():
    """Once nobody uses it and the ledger has all that was settled: it is in no journal."""
    one, held = purse(0), Held(CHARGE, 30, 0, 0, 30)
    for _ in range(IDLE_LOOKS):
        one.look(is_sure=True)
        one.saw(held, is_booked=True)
        assert one.is_empty
    one.look(is_sure=True)
    one.saw(held, is_booked=False)
    assert one.is_empty
    one.saw(held, is_booked=True)
    assert (30, False) == (one.back_nano_usd, one.is_empty)


def test_books_that_said_no_are_not_asked_again_at_once():
    """For as much or more; what is free here is had anyway."""
    one = purse(5)
    one.ran_dry(100, 10.0)
    assert one.is_dry(100, 10.0)
    assert not one.is_dry(99, 10.0)
    assert not one.is_dry(100, 10.0 + AGAIN_S)
    one.ran_dry(40, 10.1)
    one.ran_dry(70, 10.2)
    assert one.is_dry(40, 10.2)
    one.free_nano_usd = 40
    assert not one.is_dry(40, 10.2)


async def test_a_request_takes_what_is_free_and_lacks_the_rest():
    """Of a purse below nothing it lacks that much more; put back, it was as if it had not been."""
    full, low, soft = purse(900), purse(-50), purse(0, is_hard=False)
    waiting = Waiting((full, low, soft), 100, asyncio.get_running_loop().create_future())
    assert [0, 150, 0] == waiting.take()
    assert [800, 0, -100] == [one.free_nano_usd for one in (full, low, soft)]
    waiting.put_back()
    assert [900, -50, 0] == [one.free_nano_usd for one in (full, low, soft)]


async def test_nothing_is_kept_for_who_has_left():
    """Before it was served, and after, whatever it was to get."""
    loop, one = asyncio.get_running_loop(), purse(300)
    for serve in (
        lambda waiting: (waiting.leave(), waiting.succeed()),
        lambda waiting: (waiting.succeed(), waiting.leave()),
    ):
        waiting = Waiting((one,), 100, loop.create_future())
        waiting.take()
        serve(waiting)
        assert (300, 0) == (one.free_nano_usd, one.reserved)
    for serve in (
        lambda waiting: (waiting.leave(), waiting.fail_at(one, 1.0)),
        lambda waiting: (waiting.fail_at(one, 1.0), waiting.leave()),
    ):
        waiting = Waiting((one,), 100, loop.create_future())
        serve(waiting)
        assert waiting.done.done()


async def test_what_others_hold_is_waited_for_once():
    """For three looks of theirs; if nothing came back, it is in use, and the next do not wait."""
    loop, one = asyncio.get_running_loop(), purse(0)
    first = Waiting((one,), 100, loop.create_future())
    assert first.may_wait(one, 10.0)
    assert first.may_wait(one, 10.0 + RECALL_S - 0.01)
    assert not first.may_wait(one, 10.0 + RECALL_S)
    assert not Waiting((one,), 100, loop.create_future()).may_wait(one, 12.0)
    assert Waiting((one,), 100, loop.create_future()).may_wait(one, 10.0 + RECALL_S + UNRECALLED_S)

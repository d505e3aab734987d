"""core/budgeting.py: which budgets bind a request, in which period, and how much of one a writer may hold."""

from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core import budgeting
from turnout.core.books.entry import Charge
from turnout.core.budgeting import (
    Account,
    Binding,
    Room,
    Window,
    account,
    by_name,
    first_day,
    grant,
    reached,
    window,
    windows,
)
from turnout.core.principal import Who
from turnout.core.rules import SHIPPED_TIERS, Budget, Tier

USD = 10**9
TIERS = {tier.name: tier for tier in SHIPPED_TIERS}


def binding(budgets, tiers, who):
    """What binds somebody."""
    return budgeting.binding(by_name(budgets), tiers, who)


def at(text: str, zone: str = "UTC", fold: int = 0) -> int:
    """Unix seconds of a local time."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp())


def budget(name: str, limit: int = USD, **more) -> Budget:
    """A budget whose name is its scope and match."""
    scope, _, match = name.partition(":")
    return Budget(name, scope, match or "*", limit, **more)


# ── periods ──


@pytest.mark.parametrize(
    ("period", "begins", "ends"),
    [
        ("day", "2026-11-21", "2026-11-22"),
        ("week", "2026-11-16", "2026-11-23"),
        ("month", "2026-11-01", "2026-12-01"),
    ],
)
def test_periods_of_a_calendar_are_half_open(period, begins, ends):
    """A Saturday's day, its week from Monday, its month; the end is the next one's beginning."""
    expected = Window(at(begins), at(ends))
    assert expected == window(period, "UTC", 0, at("2026-11-21T12:00"))
    assert expected == window(period, "UTC", 0, expected.starts_at)
    assert expected == window(period, "UTC", 0, expected.ends_at - 0.001)
    assert expected.ends_at == window(period, "UTC", 0, expected.ends_at).starts_at


def test_a_period_begins_at_its_zones_midnight():
    """In Tokyo it is tomorrow already: nothing is reset an offset late (F20)."""
    expected = Window(at("2026-12-01", "Asia/Tokyo"), at("2027-01-01", "Asia/Tokyo"))
    assert expected == window("month", "Asia/Tokyo", 0, at("2026-11-30T15:00"))
    assert at("2026-11-30T15:00") == expected.starts_at


@pytest.mark.parametrize(
    ("noon", "hours"), [("2026-03-08T12:00", 23), ("2026-11-01T12:00", 25), ("2026-06-01T12:00", 24)]
)
def test_a_day_is_as_long_as_its_clocks_make_it(noon, hours):
    """New York changes its clocks at 02:00."""
    zone = "America/New_York"
    found = window("day", zone, 0, at(noon, zone))
    assert hours * 3600 == found.ends_at - found.starts_at


def test_thirty_days_count_from_their_start_both_ways():
    """Exactly thirty times a day's seconds, whatever clocks do, and before the start as well."""
    start, days = at("2026-01-05T10:00"), 30 * 86400
    assert Window(start, start + days) == window("30d", "Europe/Paris", start, start)
    assert Window(start + days, start + 2 * days) == window("30d", "Europe/Paris", start, start + days)
    assert Window(start - days, start) == window("30d", "Europe/Paris", start, start - 0.5)


def test_life_has_no_end():
    """And everything since its start is in it."""
    assert Window(7, None) == window("life", "UTC", 7, at("2026-01-01"))
    assert Window(7, None).has(10**12)
    assert not Window(7, None).has(6.9)
    assert not Window(7, 9).has(9)


def test_a_date_that_comes_twice_is_one_day():
    """St. John's set its clocks back at 00:01, to 23:01 of the day before: that hour belongs to the day that had begun."""
    zone = "America/St_Johns"
    begins = at("2010-11-07", zone)
    again = at("2010-11-06T23:30", zone, fold=1)
    assert begins < again
    assert begins == window("day", zone, 0, again).starts_at
    assert at("2010-11-08", zone) == window("day", zone, 0, again).ends_at


def test_a_day_whose_midnight_was_skipped_begins_as_long_after_as_the_clock_would_have_shown():
    """Toronto went from 23:30 to 00:30 in 1919: what is before the skipped midnight belongs to the day before."""
    zone = "America/Toronto"
    begins = at("1919-03-31T01:00", zone)
    assert begins == window("day", zone, 0, begins).starts_at
    assert begins == window("day", zone, 0, at("1919-03-31T00:45", zone)).ends_at


def test_a_date_that_a_zone_left_out_has_no_instant():
    """Samoa had no 30 December 2011; the day before ends where the day after begins."""
    zone = "Pacific/Apia"
    last = at("2011-12-29T23:59", zone)
    after = window("day", zone, 0, last + 60)
    assert after.starts_at == last + 60 == window("day", zone, 0, last).ends_at
    assert at("2012-01-01", zone) == after.ends_at


@given(
    st.sampled_from(["day", "week", "month", "30d"]),
    st.sampled_from(["UTC", "Asia/Tokyo", "America/New_York", "America/St_Johns", "Pacific/Apia", "Asia/Beirut"]),
    st.floats(0, 2e9),
)
def test_periods_cover_time_without_gap_or_overlap(period, zone, wall):
    """Whatever the instant: it is in its period, and both its ends agree with the neighbours'."""
    found = window(period, zone, 0, wall)
    assert found.has(wall)
    assert found == window(period, zone, 0, found.starts_at)
    assert found.ends_at == window(period, zone, 0, found.ends_at).starts_at
    assert found.starts_at == window(period, zone, 0, found.starts_at - 1).ends_at


def test_a_week_begins_on_monday():
    """Also over a year's end."""
    assert date(2026, 12, 28) == first_day("week", date(2027, 1, 3))
    assert date(2027, 1, 4) == first_day("week", date(2027, 1, 4))


def test_many_budgets_have_their_periods_at_once():
    """By name; those that begin alike share one."""
    wall = at("2026-11-21T12:00")
    found = windows(
        [budget("all"), budget("user:*", period="day"), budget("key:a"), budget("key:b", zone="Asia/Tokyo")], wall
    )
    assert found["all"] is found["key:a"]
    assert window("day", "UTC", 0, wall) == found["user:*"]
    assert window("month", "Asia/Tokyo", 0, wall) == found["key:b"]


# ── which budgets ──


def test_each_scope_is_found_by_its_name():
    """And one for everybody binds everybody."""
    who = Who("k", "anna", "shop", "sales", "", "reply", "gpt")
    named = ["all", "key:k", "model:gpt", "task:reply", "team:sales", "user:anna", "workspace:shop"]
    budgets = [budget(name) for name in [*reversed(named), "user:bert", "model:other"]]
    assert named == [one.name for one in binding(budgets, {}, who)]
    assert ["", "k", "gpt", "reply", "sales", "anna", "shop"] == [one.who for one in binding(budgets, {}, who)]


def test_a_star_is_one_budget_for_each():
    """Whoever has no name there has none."""
    each = budget("user:*")
    assert [Binding(each, "user:*/anna", "anna")] == binding([each], {}, Who(user="anna"))
    assert [Binding(each, "user:*/bert", "bert")] == binding([each], {}, Who(user="bert"))
    assert [] == binding([each], {}, Who(key="k"))


def test_a_name_stands_instead_of_the_star_and_both_instead_of_the_tier():
    """Of the same period; others add up."""
    star, anna = budget("user:*", period="30d"), budget("user:anna", period="30d")
    daily = Budget("user:*/day", "user", "*", USD, period="day")
    tiered = Who(user="anna", tier="premium")
    assert ["user:*/day/anna", "user:anna"] == [one.name for one in binding([star, anna, daily], TIERS, tiered)]
    bert = Who(user="bert", tier="premium")
    assert ["user:*/bert"] == [one.name for one in binding([star, anna], TIERS, bert)]
    assert ["tier:premium/bert", "user:*/day/bert"] == [one.name for one in binding([anna, daily], TIERS, bert)]


def test_a_caller_of_the_name_star_is_one_of_many():
    """And has no more than each of them."""
    assert [Binding(budget("user:*"), "user:*/*", "*")] == binding([budget("user:*")], {}, Who(user="*"))


def test_two_budgets_for_one_name_add_up():
    """A day's and a month's, or two of a month."""
    first, second = Budget("user:anna/a", "user", "anna", 5), Budget("user:anna/b", "user", "anna", 9)
    assert ["user:anna/a", "user:anna/b"] == [one.name for one in binding([first, second], {}, Who(user="anna"))]


def test_a_tier_without_budget_binds_nobody():
    """Nor does one that is not there."""
    assert [] == binding([], {"free": Tier("free")}, Who(user="anna", tier="free"))
    assert [] == binding([], {}, Who(user="anna", tier="gone"))


def test_a_name_that_no_database_holds_is_known_as_the_database_will_say_it():
    """A NUL or half a character in a client's word."""
    assert [Binding(budget("user:*"), "user:*/a\ufffdb", "a\ufffdb")] == binding(
        [budget("user:*")], {}, Who(user="a\x00b")
    )


def test_an_account_is_a_binding_in_a_period():
    """With what the books keep of it."""
    rule = budget("user:*", is_hard=False)
    expected = Account(Charge("user:*/anna", 3), 9, "user:*", "user", "anna", USD, is_hard=False)
    assert expected == account(Binding(rule, "user:*/anna", "anna"), Window(3, 9))


# ── how much ──


def test_a_request_takes_what_it_needs_of_a_little():
    """Under a thousand times the need nothing is taken beyond it, so that nobody holds what another may want."""
    granted = grant([True], [Room(100 * 10)], [[(0, 10)]])
    assert (None,) == granted.refused
    assert (10,) == granted.leased


def test_of_much_a_share_is_taken():
    """A sixty-fourth of what is left, once; more if that many ask."""
    assert (1000,) == grant([True], [Room(64_000)], [[(0, 10)]]).leased
    assert (1000,) == grant([True], [Room(64_000)], [[(0, 10)]] * 100).leased
    assert (1010,) == grant([True], [Room(64_000)], [[(0, 10)]] * 101).leased


def test_a_thousand_requests_at_a_dollar_get_a_hundred():
    """In their order."""
    granted = grant([True], [Room(100)], [[(0, 1)]] * 1000)
    assert (*[None] * 100, *[0] * 900) == granted.refused
    assert (100,) == granted.leased


def test_a_request_gets_all_or_nothing():
    """What one budget refuses takes nothing of the other, and a smaller one after it may fit."""
    granted = grant([True, True], [Room(100), Room(5)], [[(0, 10), (1, 10)], [(0, 10), (1, 5)]])
    assert (1, None) == granted.refused
    assert (10, 5) == granted.leased


def test_a_soft_budget_refuses_nothing():
    """And holds nothing for it either."""
    granted = grant([False], [Room(5)], [[(0, 10)]])
    assert (None,) == granted.refused
    assert (10,) == granted.leased


def test_what_others_hold_is_recalled_where_it_would_do():
    """Where it would not, or another budget is the matter, nobody is disturbed."""
    held = Room(100, spent_nano_usd=20, others_nano_usd=75)
    assert frozenset([0]) == grant([True], [held], [[(0, 80)]]).recalled
    assert frozenset() == grant([True], [held], [[(0, 81)]]).recalled
    assert frozenset() == grant([True, True], [held, Room(1)], [[(0, 80), (1, 2)]]).recalled
    assert frozenset() == grant([True], [held], [[(0, 5)]]).recalled
    assert frozenset([0]) == grant([True, False], [held, Room(1)], [[(1, 2), (0, 80)]]).recalled


def test_what_was_spent_beyond_a_lease_is_made_up_by_the_next():
    """An own lease of minus 30 is part of what was spent: who needs 10 asks for 40, and that many are there."""
    room = Room(100, spent_nano_usd=90, own_nano_usd=-30)
    assert (None,) == grant([True], [room], [[(0, 40)]]).refused
    assert (0,) == grant([True], [room], [[(0, 41)]]).refused


@given(st.data())
def test_nobody_is_ever_granted_more_than_there_is(data):
    """Whatever is asked of whatever is there: the sum stays within each hard limit, and extra only comes from what is left."""
    amounts = st.integers(0, 5000)
    count = data.draw(st.integers(1, 3))
    rooms = [
        Room(data.draw(amounts), data.draw(amounts), data.draw(st.none() | st.integers(-100, 900)), data.draw(amounts))
        for _ in range(count)
    ]
    asks = data.draw(
        st.lists(st.lists(st.tuples(st.integers(0, count - 1), st.integers(1, 300)), max_size=2), max_size=30)
    )
    asks = [list(dict(ask).items()) for ask in asks]
    granted = grant([True] * count, rooms, asks)
    for place, room in enumerate(rooms):
        needed = sum(
            need for ask, no in zip(asks, granted.refused, strict=True) if no is None for at, need in ask if at == place
        )
        assert granted.leased[place] >= needed
        assert granted.leased[place] <= max(0, room.left_nano_usd)
        if granted.leased[place] > needed:
            assert granted.leased[place] <= room.left_nano_usd // 64


# ── marks ──


def test_marks_are_reached_by_what_was_spent():
    """The lowest first, the soft limit among them; a mark is reached at its amount."""
    rule = Budget("all", "all", "*", 1000, soft_nano_usd=850, alerts=(0.9, 0.5, 1.0, 0.125))
    assert [] == reached(rule, 124)
    assert [("12.5%", 125)] == reached(rule, 125)
    assert [("12.5%", 125), ("50%", 500), ("soft", 850)] == reached(rule, 899)
    assert ["12.5%", "50%", "soft", "90%", "100%"] == [name for name, _ in reached(rule, 2000)]
    assert [] == reached(Budget("all", "all", "*", 1000, alerts=()), 5000)

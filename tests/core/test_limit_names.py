"""core/limit_names.py: on which meters is a request counted?"""

from __future__ import annotations

import pytest

from turnout.core.leasing import Held
from turnout.core.limit_names import LOOKS, MOST_NAMES, Meters
from turnout.core.limiting import charge, settle
from turnout.core.principal import Who
from turnout.core.quota_window import SLOT_S, SPAN_S
from turnout.core.rules import SHIPPED_TIERS, Limit, Rates, Tier

NOW = 1000.0
LATER = NOW + SLOT_S + SPAN_S
ANNA = Who(key="k_1", user="anna", workspace="sales", team="north", tier="premium", task="write", model="large")


def meters(*limits, tiers=()):
    made = Meters()
    made.install(limits, tiers)
    return made


def names(made, who=ANNA, now=NOW):
    return {one.name: one.limit.requests_minute for one in made.of(who, now)}


def test_every_scope_has_a_name():
    """And every limit of another scope holds as well."""
    scopes = ("key", "user", "workspace", "team", "task", "model")
    made = meters(Limit("all", "", Rates(1)), *(Limit(scope, "*", Rates(at)) for at, scope in enumerate(scopes, 2)))
    assert names(made) == {
        "all": 1,
        "key:k_1": 2,
        "user:anna": 3,
        "workspace:sales": 4,
        "team:north": 5,
        "task:write": 6,
        "model:large": 7,
    }
    assert {"all": 1} == names(made, Who())
    assert 7 == len(made)
    assert {"all", "key:k_1"} < {one.name for one in made}


def test_names_that_a_limit_names_and_nothing_counts_on_are_told():
    """With what they are limited to; those of "*" are nobody's yet."""
    made = meters(Limit("all", "", Rates(1)), Limit("user", "*", Rates(2)), Limit("user", "anna", Rates(3)))
    assert [("all", Rates(1)), ("user:anna", Rates(3))] == list(made.unused())
    made.of(Who(user="anna"), NOW)
    assert [] == list(made.unused())


def test_a_name_stands_instead_of_each():
    """The exception that somebody was given is the exception."""
    made = meters(Limit("user", "*", Rates(10)), Limit("user", "anna", Rates(99)), Limit("key", "other", Rates(1)))
    assert {"user:anna": 99} == names(made)
    assert {"user:bo": 10} == names(made, Who(user="bo"))


def test_a_tier_is_for_users_without_a_limit_of_their_own():
    """Each user has its rates on their own; who has no tier has none."""
    assert {"user:anna": 500} == names(meters(tiers=SHIPPED_TIERS))
    assert {} == names(meters(tiers=SHIPPED_TIERS), Who(user="anna"))
    assert {} == names(meters(tiers=[Tier("premium")]))
    assert {"user:anna": 3} == names(meters(Limit("user", "*", Rates(3)), tiers=SHIPPED_TIERS))


def test_who_changes_tier_keeps_what_was_used():
    """From the next request on the other rates hold."""
    made = meters(tiers=SHIPPED_TIERS)
    charge(made.of(ANNA, NOW), 50, NOW)
    (meter,) = made.of(Who(user="anna", tier="default"), NOW)
    assert (Rates(1, 50, 1), 100) == (meter.used(NOW), meter.may_requests)
    assert [] == made.of(Who(user="anna"), NOW)


def test_a_limit_without_a_name_for_all():
    """Everybody together has no name, however config writes it."""
    assert {"all": 5} == names(meters(Limit("all", "*", Rates(5))))


def test_another_configuration_keeps_what_was_used():
    """Limits change, names that nothing is about any more go."""
    made = meters(Limit("user", "*", Rates(10)), Limit("key", "*", Rates(7)))
    charge(made.of(ANNA, NOW), 50, NOW)
    made.install([Limit("user", "*", Rates(20)), Limit("user", "*", Rates(30))], ())
    assert {"user:anna": 30} == names(made)
    assert Rates(1, 50, 1) == made.get("user:anna").used(NOW)
    assert made.get("key:k_1") is None
    (same,) = made.of(ANNA, NOW)
    made.install([Limit("user", "*", Rates(20)), Limit("user", "*", Rates(30))], ())
    assert [same] == made.of(ANNA, NOW)


# ── names come and go ──


def test_idle_names_are_forgotten_by_new_ones():
    """So there are never many more than count."""
    made = meters(Limit("user", "*", Rates(10)))
    for number in range(1000):
        now = NOW + number
        held = made.of(Who(user=f"u{number}"), now)
        settle(held, charge(held, 0, now), 0, 0, now)
    assert len(made) < 130
    assert made.get("user:u999") is not None
    assert LOOKS == 2


def test_what_was_found_for_a_request_is_not_forgotten_by_it():
    """A request with several new names: all of them are there to be counted on."""
    made = meters(*(Limit(scope, "*", Rates(5)) for scope in ("key", "user", "workspace", "team", "task", "model")))
    for number in range(50):
        who = Who(key=f"{number}", user="anna", workspace="w", team=f"{number}", task="t", model=f"{number}")
        assert all(made.get(one.name) is one for one in made.of(who, NOW + number))


def test_names_that_went_otherwise_are_passed_over():
    """A limit was taken away while its names were about to be looked at."""
    each, key = Limit("user", "*", Rates(5)), Limit("key", "*", Rates(5))
    made = meters(each, key)
    for number in range(8):
        charge(made.of(Who(user=f"{number}", key=f"{number}"), NOW), 0, NOW)
    made.install([each], ())
    for number in range(8, 30):
        charge(made.of(Who(user=f"{number}", key=f"{number}"), NOW), 0, NOW)
    assert {f"user:{number}" for number in range(30)} == {one.name for one in made}


def test_a_name_that_is_under_way_is_not_forgotten():
    """However long ago it began."""
    made = meters(Limit("user", "*", Rates(10)))
    charge(made.of(ANNA, NOW), 0, NOW)
    for number in range(50):
        made.of(Who(user=f"u{number}"), LATER + 100 * number)
    assert 1 == made.get("user:anna").under_way


def test_a_name_without_a_limit_is_not_counted():
    """Where some names have one."""
    assert {} == names(meters(Limit("user", "bo", Rates(10))))


def test_too_many_names_share_one():
    """A name may be anything that a request says: what it costs is bounded."""
    made = meters(Limit("user", "*", Rates(10)))
    for number in range(MOST_NAMES):
        charge(made.of(Who(user=f"u{number}"), NOW), 0, NOW)
    first, second = made.of(Who(user="one more"), NOW), made.of(Who(user="and one"), NOW)
    assert first == second
    assert "user:*" == first[0].name
    assert MOST_NAMES + 1 == len(made)
    assert ["user:u7"] == [one.name for one in made.of(Who(user="u7"), NOW)]


def test_what_no_database_can_hold_is_one_name_all_the_same():
    """Half a surrogate pair and NUL are counted as they are written."""
    made = meters(Limit("user", "*", Rates(10)))
    first, again = made.of(Who(user="a\x00b"), NOW), made.of(Who(user="a\ud800b"), NOW)
    assert first == again
    assert "user:a\ufffdb" == first[0].name
    assert 1 == len(made)


# ── shared ──


def shared(*limits):
    made = meters(*limits)
    made.is_shared = True
    return made


def test_new_names_hold_nothing_where_limits_are_shared():
    """Until it is given to them."""
    (meter,) = shared(Limit("user", "*", Rates(10))).of(ANNA, NOW)
    assert (Rates(), 0) == (meter.lease.held, meter.may_requests)


def test_another_limit_leaves_a_part_what_it_is():
    """But nobody is let in on it until it is asked for: of a lower limit, others may hold all."""
    made = shared(Limit("user", "*", Rates(10)))
    (meter,) = made.of(ANNA, NOW)
    meter.lease.took(Held(Rates(4), Rates(), 0, wants=False, is_sure=True))
    made.install([Limit("user", "*", Rates(20))], ())
    assert (Rates(20), Rates(4), 0) == (meter.limit, meter.lease.held, meter.may_requests)


def test_what_a_forgotten_name_held_is_to_be_given_back():
    """If the books know of it."""
    made = shared(Limit("user", "*", Rates(10)), Limit("key", "*", Rates(10)))
    user, _ = sorted(made.of(ANNA, NOW), key=lambda one: one.name, reverse=True)
    user.lease.took(Held(Rates(4), Rates(), 0, wants=False, is_sure=True))
    made.install([], ())
    assert ["user:anna"] == made.forgotten


def test_what_somebody_used_who_is_gone_counts_as_of_now():
    """On the meter that is there, or on the one that is made later."""
    made = shared(Limit("user", "*", Rates(10, 1000)))
    made.of(ANNA, NOW)
    made.inherit("user:anna", Rates(3, 300), NOW)
    made.inherit("user:bo", Rates(4, 400), NOW)
    anna, (bo,) = made.get("user:anna"), made.of(Who(user="bo"), NOW + 1)
    assert (Rates(3, 300), Rates(3, 300)) == (anna.used(NOW + 1), anna.lease.held)
    assert (Rates(4, 400), Rates(4, 400), 4) == (bo.used(NOW + 1), bo.lease.held, bo.may_requests)
    assert Rates() == bo.used(LATER)
    made.expire(LATER)
    assert [] == made.forgotten


@pytest.mark.parametrize("is_shared", [True, False])
def test_what_was_inherited_for_nobody_runs_out(is_shared):
    """Then it is given back; where all is ours there is nobody to give it to."""
    made = meters(Limit("user", "*", Rates(10)))
    made.is_shared = is_shared
    made.inherit("user:anna", Rates(3), NOW)
    made.expire(LATER - 0.001)
    assert [] == made.forgotten
    made.expire(LATER)
    assert (["user:anna"] if is_shared else []) == made.forgotten
    assert Rates() == made.of(ANNA, LATER)[0].used(LATER)


def test_alone_what_is_inherited_counts_too():
    """As of a gateway that was stopped a moment ago."""
    made = meters(Limit("user", "*", Rates(10)))
    (meter,) = made.of(ANNA, NOW)
    made.inherit("user:anna", Rates(3), NOW)
    assert (Rates(3), None) == (meter.used(NOW), meter.lease)

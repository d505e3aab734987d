"""How keys and people look over HTTP: what a body may say, and what is told."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import pytest

from turnout.api.key_forms import (
    BudgetForm,
    Ceiling,
    GivenForm,
    KeyChange,
    KeyForm,
    RatesForm,
    allowance_of,
    changed_form,
    describe_admin,
    describe_key,
    describe_rules,
    describe_told,
    grant_of,
    instant,
    sum_of,
    wanted_of,
)
from turnout.core.books.keys import Admin, Key, KeyTold
from turnout.core.books.people import Rules, Team, User, Workspace
from turnout.core.catalog import FREE, Price
from turnout.core.principal import Grant
from turnout.core.rules import Budget, Limit, Rates
from turnout.errors import InvalidRequest
from turnout.gateway.people import Allowance, Sum, Told, Wanted

AT = 1_700_000_000
AT_TEXT = "2023-11-14T22:13:20Z"
GRANT = Grant(frozenset({"b", "a"}), frozenset({"t"}), Price(3000, 15_000), frozenset({"eu"}), ("10.0.0.0/8",), AT)
RULES = Rules(Limit("key", "k_1", Rates(1, 2, 3)), (Budget("key:k_1/month", "key", "k_1", 12_500_000_000),))


def key(**more):
    """A virtual key."""
    told = {"grant": GRANT, "old_until": 0, "revoked_at": None} | more
    return Key(
        id="k_1",
        name="app",
        user="anna",
        workspace="w",
        team="t",
        tier="",
        last4="abcd",
        created_at=AT,
        created_by="me",
        **told,
    )


def read(text, form=KeyForm):
    """A body, as it comes."""
    return msgspec.json.decode(text, type=form)


def test_a_body_becomes_the_key_that_it_says():
    """Money exactly: 0.1 dollars are a hundred million nano-dollars."""
    text = json.dumps(
        {
            "name": "app",
            "user": "anna",
            "workspace": "w",
            "tier": "gold",
            "models": ["a", "b"],
            "tasks": ["t"],
            "regions": ["eu"],
            "price_ceiling": {"input": 3, "output": 15},
            "addresses": ["10.0.0.0/8"],
            "expires_at": AT_TEXT,
            "limit": {"requests_per_minute": 1, "tokens_per_minute": 2, "at_once": 3},
            "budgets": [{"usd": 0.1, "period": "day", "zone": "Europe/Copenhagen"}],
        }
    )
    allowance = Allowance(Rates(1, 2, 3), (Sum(100_000_000, "day", "Europe/Copenhagen"),))
    assert Wanted("app", "anna", "w", "gold", GRANT, allowance) == wanted_of(read(text))
    assert Wanted() == wanted_of(read("{}"))
    assert FREE == grant_of(read('{"price_ceiling": "free"}')).price_ceiling


@pytest.mark.parametrize(
    "text",
    [
        '{"id": "k_1"}',
        '{"role": "owner"}',
        '{"models": "a"}',
        '{"expires_at": "2023-11-14T22:13:20"}',
        '{"expires_at": 5}',
        '{"limit": {"rpm": 5}}',
        '{"limit": {"at_once": -1}}',
        '{"limit": {"requests_per_minute": 0}}',
        '{"budgets": [{"usd": 1, "period": "year"}]}',
        '{"price_ceiling": "cheap"}',
        json.dumps({"name": "x" * 257}),
        json.dumps({"models": [str(number) for number in range(1001)]}),
    ],
)
def test_what_a_body_cannot_say_is_refused(text):
    """An unknown field, a wrong kind, an instant without its zone."""
    with pytest.raises(msgspec.ValidationError):
        read(text)


@pytest.mark.parametrize("usd", ["0", "-1", "NaN", "Infinity", "1e300", "1000000001", "0.0000000001"])
def test_a_sum_is_more_than_nothing_and_whole_nano_dollars(usd):
    """And no more than a billion; what is written without end takes no time."""
    with pytest.raises(InvalidRequest, match="more than 0"):
        sum_of(BudgetForm(Decimal(usd)))


def test_a_zone_must_be_one():
    """Of the tz database."""
    with pytest.raises(InvalidRequest, match="zone"):
        sum_of(BudgetForm(Decimal(1), zone="../etc/passwd"))


@pytest.mark.parametrize(("input_", "output"), [("-1", "1"), ("1", "0.0001"), ("NaN", "1")])
def test_a_ceiling_is_whole_nano_dollars_a_token(input_, output):
    """Thousandths of a dollar per million."""
    with pytest.raises(InvalidRequest, match="price_ceiling"):
        grant_of(KeyForm(price_ceiling=Ceiling(Decimal(input_), Decimal(output))))


def test_an_instant_beyond_the_last_year_is_refused():
    """It could be kept, and then not be told: the whole list would fail."""
    with pytest.raises(InvalidRequest, match="after the year 9999"):
        grant_of(read('{"expires_at": "9999-12-31T23:59:59-01:00"}'))
    last = grant_of(read('{"expires_at": "9999-12-31T23:59:59Z"}'))
    assert "9999-12-31T23:59:59Z" == instant(last.expires_at)


def test_a_change_that_says_nothing_leaves_all_as_it_is():
    """There and back is the same key."""
    now = KeyTold(key(), RULES)
    wanted = wanted_of(changed_form(now, KeyChange()))
    assert Wanted("app", "anna", "w", "", GRANT, Allowance(Rates(1, 2, 3), (Sum(12_500_000_000),))) == wanted
    bare = KeyTold(key(grant=Grant()), Rules())
    assert Wanted("app", "anna", "w") == wanted_of(changed_form(bare, KeyChange()))


def test_a_change_says_what_is_new_and_null_takes_away():
    """Each field on its own."""
    change = read('{"name": "new", "models": [], "expires_at": null, "price_ceiling": null, "limit": null}', KeyChange)
    wanted = wanted_of(changed_form(KeyTold(key(), RULES), change))
    assert ("new", frozenset(), None, None, None) == (
        wanted.name,
        wanted.grant.models,
        wanted.grant.expires_at,
        wanted.grant.price_ceiling,
        wanted.allowance.rates,
    )
    assert (GRANT.tasks, 1) == (wanted.grant.tasks, len(wanted.allowance.sums))


def test_a_rate_that_is_not_limited_is_null():
    """It is told so, and stays so: 0 would be a limit that nothing fits into."""
    rules = Rules(limit=Limit("key", "k_1", Rates(0, 7, 0)))
    assert {"requests_per_minute": None, "tokens_per_minute": 7, "at_once": None} == describe_rules(rules)["limit"]
    assert Allowance(Rates(0, 7, 0)) == allowance_of(GivenForm(budgets=()), rules)


def test_what_is_given_stays_where_nothing_is_said_of_it():
    """None if nothing is said at all."""
    assert allowance_of(GivenForm(), RULES) is None
    assert Allowance(None, (Sum(12_500_000_000),)) == allowance_of(GivenForm(limit=None), RULES)
    assert Allowance(Rates(1, 2, 3), ()) == allowance_of(GivenForm(budgets=()), RULES)
    assert Allowance(Rates(0, 0, 5), ()) == allowance_of(GivenForm(limit=RatesForm(at_once=5)))


def test_a_key_is_told_field_by_field():
    """Without anything that opens a door."""
    told = describe_key(key(old_until=AT + 5.0), AT - 1, RULES)
    assert told == {
        "id": "k_1",
        "name": "app",
        "user": "anna",
        "workspace": "w",
        "team": "t",
        "tier": "",
        "ends_in": "abcd",
        "status": "live",
        "models": ["a", "b"],
        "tasks": ["t"],
        "price_ceiling": {"input": 3.0, "output": 15.0},
        "regions": ["eu"],
        "addresses": ["10.0.0.0/8"],
        "expires_at": AT_TEXT,
        "limit": {"requests_per_minute": 1, "tokens_per_minute": 2, "at_once": 3},
        "budgets": [{"name": "key:k_1/month", "usd": 12.5, "period": "month", "zone": "UTC"}],
        "old_text_until": "2023-11-14T22:13:25Z",
        "created_at": AT_TEXT,
        "created_by": "me",
        "revoked_at": None,
    }
    assert not {"limit", "budgets"} & set(describe_key(key(), AT))


@pytest.mark.parametrize(
    ("one", "wall", "status"),
    [
        (key(), AT - 1, "live"),
        (key(), AT, "expired"),
        (key(revoked_at=5), AT, "revoked"),
        (key(grant=Grant()), AT, "live"),
    ],
)
def test_the_state_of_a_key_in_a_word(one, wall, status):
    """Revoked is more than expired."""
    assert status == describe_key(one, wall)["status"]


def test_an_admin_is_told():
    """With the role."""
    told = describe_admin(Admin("bo", "viewer", Grant(price_ceiling=FREE), "wxyz", 0, AT, "me", None), AT)
    assert ("bo", "viewer", "free", "wxyz", None) == (
        told["name"],
        told["role"],
        told["price_ceiling"],
        told["ends_in"],
        told["old_text_until"],
    )


def test_teams_workspaces_and_users_are_told():
    """Each with its own fields, and what it was given."""
    common = {"limit": None, "budgets": [], "created_at": AT_TEXT, "created_by": "me"}
    assert {"name": "s", **common} == describe_told(Told(Team("s", AT, "me"), Rules()))
    assert {"name": "s", "unreadable": ["limit"], **common} == describe_told(
        Told(Team("s", AT, "me"), Rules(broken=("limit",)))
    )
    assert {"name": "w", "team": "s", **common} == describe_told(Told(Workspace("w", "s", AT, "me"), Rules()))
    assert {"name": "a", "tier": "gold", "blocked": True, **common} == describe_told(
        Told(User("a", "gold", True, AT, "me"), Rules())
    )


def test_instants_are_in_utc():
    """To the second."""
    assert (AT_TEXT, None) == (instant(AT + 0.9), instant(None))
    assert datetime.fromisoformat(AT_TEXT) == datetime.fromtimestamp(AT, UTC)

"""core/granting.py: nobody gives more than they have."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.catalog import FREE, Price
from turnout.core.granting import RANKS, denied, exceeding, is_at_least, may_make_people, narrows
from turnout.core.principal import EVERYTHING, Grant, Principal

CHEAP = Price(150, 600)
AB = frozenset({"a", "b"})
A = frozenset({"a"})
NETWORKS = ("10.0.0.0/8", "2001:db8::/32")


def test_roles_are_in_order():
    """A key is below all that concerns the gateway."""
    assert ("key", "viewer", "admin", "owner") == RANKS
    for (low, _), (high, _) in itertools.combinations_with_replacement(
        [(role, at) for at, role in enumerate(RANKS)], 2
    ):
        assert is_at_least(high, low)
        assert low == high or not is_at_least(low, high)


@pytest.mark.parametrize(
    ("grant", "is_narrowed"),
    [
        (EVERYTHING, False),
        (Grant(addresses=NETWORKS, expires_at=1.0), False),
        (Grant(models=A), True),
        (Grant(tasks=A), True),
        (Grant(regions=A), True),
        (Grant(price_ceiling=FREE), True),
    ],
)
def test_what_narrows_what_may_be_asked(grant, is_narrowed):
    """Where from and how long is another matter."""
    assert is_narrowed == narrows(grant)
    assert is_narrowed != may_make_people(Principal("admin:bo", "admin", grant=grant))
    assert not may_make_people(Principal("admin:bo", "viewer", grant=grant))


@pytest.mark.parametrize(
    ("wanted", "own", "words"),
    [
        (EVERYTHING, EVERYTHING, ""),
        (Grant(AB, AB, FREE, AB, NETWORKS, 1.0), EVERYTHING, ""),
        (EVERYTHING, Grant(models=AB), "`models` must be some of a, b"),
        (Grant(models=A), Grant(models=AB), ""),
        (Grant(models=AB), Grant(models=A), "`models` must be some of a"),
        (Grant(tasks=AB), Grant(tasks=A), "`tasks` must be some of a"),
        (Grant(regions=A), Grant(regions=AB), ""),
        (EVERYTHING, Grant(regions=A), "`regions` must be some of a"),
        (Grant(price_ceiling=FREE), Grant(price_ceiling=CHEAP), ""),
        (
            Grant(price_ceiling=CHEAP),
            Grant(price_ceiling=FREE),
            "`price_ceiling` must be within free",
        ),
        (
            EVERYTHING,
            Grant(price_ceiling=CHEAP),
            "`price_ceiling` must be within $0.15 in, $0.6 out per million tokens",
        ),
        (Grant(addresses=("10.1.2.3", "2001:db8:7::/48")), Grant(addresses=NETWORKS), ""),
        (EVERYTHING, Grant(addresses=NETWORKS[:1]), "`addresses` must be within 10.0.0.0/8"),
        (Grant(addresses=("11.0.0.1",)), Grant(addresses=NETWORKS[:1]), "`addresses` must be within 10.0.0.0/8"),
        (Grant(addresses=("::1",)), Grant(addresses=NETWORKS[:1]), "`addresses` must be within 10.0.0.0/8"),
        (Grant(expires_at=1.0), Grant(expires_at=1.0), ""),
        (Grant(expires_at=2.0), Grant(expires_at=1.0), "`expires_at` must be no later than your own key's"),
        (EVERYTHING, Grant(expires_at=1.0), "`expires_at` must be no later than your own key's"),
    ],
)
def test_what_goes_beyond_is_named(wanted, own, words):
    """An empty part is the widest, so it lies within no part that is not empty."""
    assert words == exceeding(wanted, own)


@pytest.mark.parametrize(
    ("by", "role", "refused"),
    [
        ("owner", "owner", False),
        ("admin", "owner", True),
        ("admin", "admin", False),
        ("viewer", "viewer", False),
        ("viewer", "key", False),
        ("key", "viewer", True),
    ],
)
def test_a_role_above_ones_own_cannot_be_given(by, role, refused):
    """That somebody may give anything at all is asked before."""
    error = denied(Principal("x", by), role, EVERYTHING)
    assert refused == (error is not None)


def test_a_grant_beyond_ones_own_cannot_be_given():
    """With what it may be."""
    error = denied(Principal("x", "admin", grant=Grant(models=A)), "key", EVERYTHING)
    assert error is not None
    assert "This is more than your own key may: `models` must be some of a." == error.message


names = st.frozensets(st.sampled_from("abc"))
prices = st.none() | st.builds(Price, st.integers(0, 3), st.integers(0, 3))
addresses = st.lists(
    st.sampled_from(["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "0.0.0.0/0", "::/0", "2001:db8::1"])
).map(tuple)
grants = st.builds(Grant, names, names, prices, names, addresses, st.none() | st.floats(0, 3))


@given(grants)
def test_everybody_may_give_what_they_have(grant):
    """A grant is within itself."""
    assert exceeding(grant, grant) == ""


@given(grants, grants, grants)
def test_what_is_given_on_is_never_more_than_the_first_had(first, second, third):
    """Within is transitive: no chain of admins comes to more."""
    if not exceeding(second, first) and not exceeding(third, second):
        assert exceeding(third, first) == ""

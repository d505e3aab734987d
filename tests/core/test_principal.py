"""core/principal.py: who asks, and what they may ask for."""

from __future__ import annotations

import pytest

from turnout.core.principal import MASTER, Principal, Who, counted_for, is_virtual


@pytest.mark.parametrize(("role", "is_admin"), [("owner", True), ("admin", True), ("viewer", False), ("key", False)])
def test_who_may_change_the_gateway(role, is_admin):
    """Owners and admins; whoever only looks or only asks may not."""
    assert is_admin == Principal("k", role).is_admin


def test_the_master_key_is_nobody_who_may_do_everything():
    """It has no name in the books, no tier and no grant that narrows it."""
    assert ("", "owner", "", True) == (MASTER.key_id, MASTER.role, MASTER.tier, MASTER.is_admin)


@pytest.mark.parametrize(
    ("principal", "user", "counted"),
    [
        (MASTER, "anna", Who("", "anna", "w")),
        (Principal("k_1", "key", "anna", "w", "t", "premium"), "anna", Who("k_1", "anna", "w", "t", "premium")),
        (Principal("k_1", "key", "", "w"), "anna", Who("k_1", "w/anna", "w")),
        (Principal("k_1", "key", "", "w"), "", Who("k_1", "k_1", "w")),
    ],
)
def test_whom_a_request_is_counted_for(principal, user, counted):
    """A key's own user; else whom the application names, apart from everybody of that name elsewhere; else the key itself."""
    assert counted == counted_for(principal, user, "w")


def test_one_without_a_workspace_counts_its_users_by_itself():
    """Two such keys that name the same user do not share what that one may use."""
    first, second = (counted_for(Principal(key, "key"), "anna", "") for key in ("k_1", "k_2"))
    assert ("k_1/anna", "k_2/anna") == (first.user, second.user)


@pytest.mark.parametrize(("key_id", "told"), [("", False), ("admin:anna", False), ("k_4f2a", True)])
def test_a_virtual_key_is_neither_the_masters_nor_an_admins(key_id, told):
    """It is told less."""
    assert told == is_virtual(key_id)

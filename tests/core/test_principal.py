"""core/principal.py: who asks, and what they may ask for."""

from __future__ import annotations

import pytest

from turnout.core.principal import MASTER, Principal


@pytest.mark.parametrize(("role", "is_admin"), [("owner", True), ("admin", True), ("viewer", False), ("key", False)])
def test_who_may_change_the_gateway(role, is_admin):
    """Owners and admins; whoever only looks or only asks may not."""
    assert is_admin == Principal("k", role).is_admin


def test_the_master_key_is_nobody_who_may_do_everything():
    """It has no name in the books, no tier and no grant that narrows it."""
    assert ("", "owner", "", True) == (MASTER.key_id, MASTER.role, MASTER.tier, MASTER.is_admin)

"""Names who asks, and what they may ask for.

A Principal is made from a key by `gateway/keys.py` and goes with its request to the end. Authorisation asks it, at the
handler (RELIABILITY R7); a virtual key has the role "key", which reaches no admin route whatever else it may do (R7,
CVE-2026-47101). A grant only narrows: what is empty or None is not narrowed.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from turnout.core.catalog import Price

Role = Literal["owner", "admin", "viewer", "key"]
"""owner: everything. admin: everything but the owners' own keys. viewer: looks. key: asks models."""


class Grant(msgspec.Struct, frozen=True):
    """What a key is narrowed to.

    models: names of models, routes or aliases, as a request may say them; and what those lead to. tasks: names of tasks.
    price_ceiling: the most a token may cost. regions: where a model may be. addresses: networks (CIDR) of clients.
    expires_at: Unix seconds, None for never.
    """

    models: frozenset[str] = frozenset()
    tasks: frozenset[str] = frozenset()
    price_ceiling: Price | None = None
    regions: frozenset[str] = frozenset()
    addresses: tuple[str, ...] = ()
    expires_at: float | None = None


EVERYTHING = Grant()

ADMIN: Final = "admin:"
"""What the key_id of an admin begins with; a virtual key's is made by us and begins with something else."""


class Principal(msgspec.Struct, frozen=True):
    """Who asks. key_id: a stable name for the books, "" for the master key. user, workspace, team: "" for none.

    tier: whose rates and budget the user has, "" for none (the master key has none).
    """

    key_id: str
    role: Role
    user: str = ""
    workspace: str = ""
    team: str = ""
    tier: str = ""
    grant: Grant = EVERYTHING

    @property
    def is_admin(self) -> bool:
        """Whether it may change the gateway."""
        return self.role in {"owner", "admin"}


def is_virtual(key_id: str) -> bool:
    """Return whether a Principal's key_id is a virtual key's: neither the master key's nor an admin's. O(1)."""
    return bool(key_id) and not key_id.startswith(ADMIN)


MASTER = Principal("", "owner")


class Who(msgspec.Struct, frozen=True):
    """Whom a request is counted for: what limits and budgets are about. "" where there is none."""

    key: str = ""
    user: str = ""
    workspace: str = ""
    team: str = ""
    tier: str = ""
    task: str = ""
    model: str = ""


NOBODY = Who()
"""Whom a request is counted for before that is known."""


def counted_for(principal: Principal, user: str, workspace: str) -> Who:
    """Return whom a request is counted for, but for its task and model. user: whom the request names, "" for nobody.

    Somebody whom an application's key names is counted apart from everybody who has a key of their own, and from whomever
    another workspace's keys name so: nobody can use up what another has. A key that names nobody is a user by itself.
    """
    if principal.role == "key" and not principal.user:
        user = f"{workspace or principal.key_id}/{user}" if user else principal.key_id
    return Who(principal.key_id, user, workspace, principal.team, principal.tier)

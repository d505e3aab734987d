"""Decides whether somebody may give what they give: never more than they have themselves (RELIABILITY §2.1, T94).

Two things are given: a role (an owner gives any, an admin none above admin) and a grant, which must be within the giver's own.
An empty part of a grant is the widest, so within a part that is not empty nothing empty lies.
Addresses are networks as `ipaddress` reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final

from turnout.core.eligible import describe_price, is_within
from turnout.core.principal import Grant, Principal, Role
from turnout.errors import PermissionDenied

RANKS: Final[tuple[Role, ...]] = ("key", "viewer", "admin", "owner")
"""From the least to the most. A key is below all that concerns the gateway."""


def is_at_least(role: Role, needed: Role) -> bool:
    """Return whether `role` may what `needed` may. O(1)."""
    return RANKS.index(role) >= RANKS.index(needed)


def narrows(grant: Grant) -> bool:
    """Return whether it narrows what may be asked for; where from and how long is another matter. O(1)."""
    return bool(grant.models or grant.tasks or grant.regions or grant.price_ceiling is not None)


def denied(by: Principal, role: Role, grant: Grant) -> PermissionDenied | None:
    """Return why `by` may not give `role` with `grant`, or touch what has them; None if they may. O(parts of the grant)."""
    if not is_at_least(by.role, role):
        return PermissionDenied(f"An {by.role} may not make or change an {role}: ask an owner.")
    over = exceeding(grant, by.grant)
    return PermissionDenied(f"This is more than your own key may: {over}.") if over else None


def may_make_people(by: Principal) -> bool:
    """Return whether `by` may make users and workspaces: no more than whoever may change everybody's. O(1)."""
    return is_at_least(by.role, "admin") and not narrows(by.grant)


def exceeding(wanted: Grant, own: Grant) -> str:
    """Return what of `wanted` goes beyond `own`, in words; "" if nothing does. O(parts)."""
    for what in ("models", "tasks", "regions"):
        asked, had = getattr(wanted, what), getattr(own, what)
        if had and not (asked and asked <= had):
            return f"`{what}` must be some of {', '.join(sorted(had))}"
    ceiling = own.price_ceiling
    if ceiling is not None and (wanted.price_ceiling is None or not is_within(wanted.price_ceiling, ceiling)):
        return f"`price_ceiling` must be within {describe_price(ceiling)}"
    if own.addresses and not _are_within(wanted.addresses, own.addresses):
        return f"`addresses` must be within {', '.join(own.addresses)}"
    if own.expires_at is not None and (wanted.expires_at is None or wanted.expires_at > own.expires_at):
        return "`expires_at` must be no later than your own key's"
    return ""


def _are_within(wanted: Sequence[str], own: Sequence[str]) -> bool:
    outer = [ip_network(text, strict=False) for text in own]
    return bool(wanted) and all(
        any(_is_within(ip_network(text, strict=False), one) for one in outer) for text in wanted
    )


def _is_within(inner: IPv4Network | IPv6Network, outer: IPv4Network | IPv6Network) -> bool:
    if isinstance(inner, IPv4Network) and isinstance(outer, IPv4Network):
        return inner.subnet_of(outer)
    return isinstance(inner, IPv6Network) and isinstance(outer, IPv6Network) and inner.subnet_of(outer)

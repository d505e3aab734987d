"""Decides who asks and what they may: from headers and address to a principal, from a principal and a role to yes or no.

Handlers call these; no path is ever looked at (RELIABILITY R7). A virtual key has the role "key", below all that concerns the
gateway, so it reaches no admin route whoever it belongs to; and a viewer asks no model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from turnout.core.granting import is_at_least, narrows
from turnout.core.principal import Principal, Role
from turnout.errors import PermissionDenied, Unauthenticated
from turnout.gateway.keys import KeyRing


def authenticate(headers: Mapping[bytes, bytes], ring: KeyRing, address: str = "") -> Principal:
    """Return whom the key in `Authorization: Bearer` (or `x-api-key`, as Anthropic's SDK sends it) proves.

    address: where the request comes from, "" if that is not known. Raises Unauthenticated, PermissionDenied or StoreError; the
    message never repeats what was sent.
    """
    given = headers.get(b"authorization", b"")
    key = given[7:].strip() if given[:7].lower() == b"bearer " else headers.get(b"x-api-key", b"")
    if not key:
        raise Unauthenticated("No key was sent: put `Authorization: Bearer KEY` on the request.")
    return ring.check(key, address)


def known(headers: Mapping[bytes, bytes], ring: KeyRing) -> Principal | None:
    """Return whom the key on a request that was *refused* is of, None if that is nobody known.

    For the audit trail alone, as it proves nothing: the key may be revoked, expired, or sent from elsewhere.
    """
    given = headers.get(b"authorization", b"")  # as above, where every request passes and a call more would be felt
    return ring.whose(given[7:].strip() if given[:7].lower() == b"bearer " else headers.get(b"x-api-key", b""))


def address_of(scope: Mapping[str, Any]) -> str:
    """Return the address of an ASGI request's other end, "" if it has none. Headers say nothing of it: anybody can send them."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def require(principal: Principal, role: Role, *, may_be_narrowed: bool = False) -> None:
    """Raise PermissionDenied unless `principal` has at least `role`.

    may_be_narrowed: whether a grant that is narrowed will be looked at by the work itself. Else an admin who has one may only
    look: what they change could give them more than they have.
    """
    if not is_at_least(principal.role, role):
        raise PermissionDenied(
            "This key asks models; it cannot look at the gateway or change it, whoever it belongs to."
            if principal.role == "key"
            else f"This needs the role {role}, and this key's is {principal.role}."
        )
    if role != "viewer" and not may_be_narrowed and narrows(principal.grant):
        raise PermissionDenied(
            "This key's grant is narrowed: it may look, and make keys within its grant, nothing else."
        )


def require_asker(principal: Principal) -> None:
    """Raise PermissionDenied unless `principal` may ask models."""
    if principal.role == "viewer":
        raise PermissionDenied("This key looks at the gateway; to ask models make one with `turnout keys create`.")

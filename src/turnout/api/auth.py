"""Decides who asks: one function from headers to a principal. Handlers call it; no path is ever looked at (R7)."""

from __future__ import annotations

from collections.abc import Mapping

from turnout.errors import PermissionDenied, Unauthenticated
from turnout.gateway.keys import KeyRing, Principal


def authenticate(headers: Mapping[bytes, bytes], ring: KeyRing) -> Principal:
    """Return whom the key in `Authorization: Bearer` (or `x-api-key`, as Anthropic's SDK sends it) proves.

    Raises Unauthenticated; the message never repeats what was sent.
    """
    given = headers.get(b"authorization", b"")
    key = given[7:].strip() if given[:7].lower() == b"bearer " else headers.get(b"x-api-key", b"")
    principal = ring.check(key)
    if principal is None:
        raise Unauthenticated(
            "No key was sent: put `Authorization: Bearer KEY` on the request."
            if not key
            else "This key is not known here. Use the master key that `turnout serve` showed on its first start, "
            "or set TURNOUT_MASTER_KEY and start it again."
        )
    return principal


def require_admin(principal: Principal) -> None:
    """Raise PermissionDenied unless `principal` may change things."""
    if not principal.is_admin:
        raise PermissionDenied("This key may ask models, not change the gateway: use the master key.")

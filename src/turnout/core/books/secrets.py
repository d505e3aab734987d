"""Keeps providers' keys, sealed: one for each account by its name, and the origin that alone it may be sent to.

Every change moves the number of table `change`, so that all gateways of these books follow within a second.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from turnout.core.books.people import moved
from turnout.core.books.statements import Sql, Steps


class SealedKey(msgspec.Struct, frozen=True):
    """One row. provider: the account's name. origin: "https://host:443". set_at_ms: Unix milliseconds. set_by: in words."""

    provider: str
    origin: str
    sealed: bytes
    set_at_ms: int
    set_by: str


def put(key: SealedKey) -> Steps[str]:
    """Keep a key in the place of the one that was there. Return that one's origin, "" if there was none."""
    yield from moved()
    rows = yield Sql("SELECT origin FROM provider_secret WHERE provider = ?", (key.provider,))
    yield Sql(
        "INSERT INTO provider_secret (provider, origin, sealed, set_at_ms, set_by) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (provider) DO UPDATE SET origin = excluded.origin, sealed = excluded.sealed,"
        " set_at_ms = excluded.set_at_ms, set_by = excluded.set_by",
        msgspec.structs.astuple(key),
    )
    return str(rows[0][0]) if rows else ""


def remove(provider: str) -> Steps[str]:
    """Forget a key. Return its origin, "" if there was none."""
    yield from moved()
    rows = yield Sql("DELETE FROM provider_secret WHERE provider = ? RETURNING origin", (provider,))
    return str(rows[0][0]) if rows else ""


def kept() -> Steps[Sequence[SealedKey]]:
    """Return all of them, by name."""
    rows = yield Sql("SELECT provider, origin, sealed, set_at_ms, set_by FROM provider_secret ORDER BY provider")
    return [SealedKey(*row) for row in rows]  # type: ignore[arg-type]

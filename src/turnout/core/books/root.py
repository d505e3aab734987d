"""Keeps the mark of the root key that these books' keys were made with: who comes with another one is told so.

Hashes of keys and sealed values are keyed with the root key (core/sealing.py), so with another one every key would be unknown
and no stored provider's key would open, and nothing would say why. Who comes first leaves the mark.
"""

from __future__ import annotations

from typing import Final

from turnout.core.books.statements import Sql, Steps
from turnout.core.sealing import derived

MARK_BYTES: Final = 16


def mark_of(root: bytes) -> bytes:
    """Return what stands for a root key and tells nothing of it. 10 µs."""
    return derived(root, "mark")[:MARK_BYTES]


def known() -> Steps[bytes | None]:
    """Return the mark that these books have, None before the first."""
    rows = yield Sql("SELECT mark FROM root_mark WHERE id = 1")
    return None if not rows else _bytes(rows[0][0])


def leave(mark: bytes) -> Steps[bytes]:
    """Leave a mark where none is; return the one that is there then."""
    yield Sql("INSERT INTO root_mark (id, mark) VALUES (1, ?) ON CONFLICT (id) DO NOTHING", (mark,))
    there = yield from known()
    assert there is not None
    return there


def renew(mark: bytes) -> Steps[None]:
    """Let this be the mark, whatever it was before."""
    yield Sql(
        "INSERT INTO root_mark (id, mark) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET mark = excluded.mark", (mark,)
    )


def _bytes(value: object) -> bytes:
    assert isinstance(value, bytes)
    return value

"""Keeps prompts for a time: sealed, found by their request alone, and gone when their time is over.

What is sealed is not known here, so a copy of the database says only when something was asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from turnout.core.books.statements import Load, Sql, Steps

EXPIRED_AT_ONCE: Final = 1_000
"""Rows deleted in one transaction: about 5 ms. Source: RELIABILITY T82 (no lock above 50 ms)."""


class SealedPrompt(msgspec.Struct, frozen=True):
    """One prompt. at_ms: Unix milliseconds when it was asked."""

    request_id: str
    at_ms: int
    sealed: bytes


def add(prompts: Sequence[SealedPrompt]) -> Steps[int]:
    """Keep prompts of different requests; return how many were new."""
    rows = [(one.request_id, one.at_ms, one.sealed) for one in prompts]
    return len((yield Load("prompt", ("request_id", "at_ms", "sealed"), rows, "request_id")))


def find(request_id: str, since_ms: int) -> Steps[SealedPrompt | None]:
    """Return a request's prompt, None if there is none that was asked since then."""
    rows = yield Sql(
        "SELECT request_id, at_ms, sealed FROM prompt WHERE request_id = ? AND at_ms >= ?", (request_id, since_ms)
    )
    return SealedPrompt(*rows[0]) if rows else None  # type: ignore[arg-type]


def expire(before_ms: int) -> Steps[int]:
    """Delete the oldest of those asked before then, EXPIRED_AT_ONCE of them at most; return how many."""
    rows = yield Sql(
        "DELETE FROM prompt WHERE request_id IN"
        " (SELECT request_id FROM prompt WHERE at_ms < ? ORDER BY at_ms LIMIT ?) RETURNING request_id",
        (before_ms, EXPIRED_AT_ONCE),
    )
    return len(rows)


def has_any() -> Steps[bool]:
    """Return whether any is kept."""
    return bool((yield Sql("SELECT 1 FROM prompt LIMIT 1")))

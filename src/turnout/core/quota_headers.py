"""Reads what vendors say about their allowances in the headers of any answer. Pure: the wall clock is an argument.

Two families of names are in use, with three spellings of an instant; `core/hints.py` knows those. What is garbage,
negative or contradicts itself says nothing. Sources: the OpenAI, Azure, Groq, OpenRouter and Anthropic pages on rate
limits, checked 2026-11; RELIABILITY T13, T14.
"""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Literal

import msgspec

from turnout.core.hints import ABSURD_S, read_reset

HALF_S = 0.5
"""A date is cut to whole seconds: half of one on average."""

_DIGITS = 12
"""More of them are no allowance."""

Kind = Literal["requests", "tokens"]

_NAMES: tuple[tuple[Kind, str, str, str], ...] = (
    ("requests", "x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    ("tokens", "x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
    ("requests", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"),
    (
        "requests",
        "anthropic-ratelimit-requests-limit",
        "anthropic-ratelimit-requests-remaining",
        "anthropic-ratelimit-requests-reset",
    ),
    (
        "tokens",
        "anthropic-ratelimit-tokens-limit",
        "anthropic-ratelimit-tokens-remaining",
        "anthropic-ratelimit-tokens-reset",
    ),
)


class Told(msgspec.Struct, frozen=True):
    """One allowance as its vendor sees it. limit: 1 or more. reset_s: seconds until it is whole again, None if not said."""

    kind: Kind
    limit: int
    remaining: int
    reset_s: float | None


def read(headers: Mapping[str, str], wall: float) -> list[Told]:
    """Return what the headers say. headers: names in lower case. wall: Unix seconds, now. O(1), 1 µs if they say nothing."""
    found = []
    for kind, limit_name, remaining_name, reset_name in _NAMES:
        if limit_name in headers and remaining_name in headers:
            limit, remaining = _number(headers[limit_name]), _number(headers[remaining_name])
            if limit is not None and remaining is not None and 0 <= remaining <= limit and limit:
                found.append(Told(kind, limit, remaining, _reset_s(headers.get(reset_name, ""), wall)))
    return found


def vendor_clock(headers: Mapping[str, str]) -> float | None:
    """Return the Unix seconds that the vendor's clock shows, None if it does not say (or a cache answers in its place)."""
    date = headers.get("date")
    if date is None or "age" in headers:
        return None
    try:
        return parsedate_to_datetime(date).timestamp() + HALF_S
    except (ValueError, OverflowError):
        return None


def _number(text: str) -> int | None:
    """A whole number; some vendors write `150000.0`."""
    digits = text.strip().removesuffix(".0")
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) <= _DIGITS else None


def _reset_s(text: str, wall: float) -> float | None:
    """Seconds from now; what is past is over."""
    delay = read_reset(text.strip(), wall)
    return max(delay, 0.0) if delay is not None and delay <= ABSURD_S else None

"""Reads when a vendor wants us back, in every spelling that is in use. Pure: the wall clock is an argument.

Order: milliseconds, then Retry-After, then the reset times of rate-limit headers. What is garbage, negative, past or
absurd says nothing; what is long is capped. Sources: RELIABILITY T11 to T14; RFC 9110 §10.2.3 (Retry-After);
the OpenAI, Azure, Groq, OpenRouter and Anthropic pages on rate limits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

CAP_S = 300.0
"""The longest that we believe a hint for our own wait (T12): who says more is asked again after five minutes."""

ABSURD_S = 31 * 86400.0
"""Above this a hint is a mistake, not a wish: no quota window in use is longer than a month."""

_NUMBER = re.compile(r"[0-9]{1,16}(?:\.[0-9]{1,9})?")
_DURATION = re.compile(
    r"(?:(\d{1,4})d)?(?:(\d{1,5})h)?(?:(\d{1,6})m(?!s))?(?:(\d{1,8}(?:\.\d{1,9})?)s)?(?:(\d{1,10}(?:\.\d{1,9})?)ms)?"
)
_UNITS_S = (86400.0, 3600.0, 60.0, 1.0, 0.001)

_EPOCH_MS_FROM = 10**11
_EPOCH_S_FROM = 10**9

_RESETS = (
    ("x-ratelimit-reset-requests", "x-ratelimit-remaining-requests"),
    ("x-ratelimit-reset-tokens", "x-ratelimit-remaining-tokens"),
    ("x-ratelimit-reset", "x-ratelimit-remaining"),
    ("anthropic-ratelimit-requests-reset", "anthropic-ratelimit-requests-remaining"),
    ("anthropic-ratelimit-tokens-reset", "anthropic-ratelimit-tokens-remaining"),
    ("anthropic-ratelimit-input-tokens-reset", "anthropic-ratelimit-input-tokens-remaining"),
    ("anthropic-ratelimit-output-tokens-reset", "anthropic-ratelimit-output-tokens-remaining"),
)


def retry_after_s(headers: Mapping[str, str], now_wall: float) -> float | None:
    """Return the seconds to wait that a refusal's headers ask for, in [0, CAP_S], or None.

    headers: names in lower case. now_wall: Unix seconds. O(headers), never raises.
    """
    for name in ("retry-after-ms", "x-ms-retry-after-ms"):
        delay_ms = _number(headers.get(name, ""))
        if delay_ms is not None and (delay := _believe(delay_ms / 1000)) is not None:
            return delay
    told = headers.get("retry-after", "").strip()
    if told:
        delay_s = _number(told)
        delay = _believe(_until_http_date(told, now_wall) if delay_s is None else delay_s)
        if delay is not None:
            return delay
    return _reset_s(headers, now_wall)


def _reset_s(headers: Mapping[str, str], now_wall: float) -> float | None:
    """Of the limits that say when they reset: the last of those that are used up; if none says so, the first to reset."""
    used_up: list[float] = []
    others: list[float] = []
    for reset, remaining in _RESETS:
        delay = _believe(read_reset(headers.get(reset, "").strip(), now_wall))
        if delay is not None:
            (used_up if headers.get(remaining, "").strip() == "0" else others).append(delay)
    if used_up:
        return max(used_up)
    return min(others, default=None)


def _believe(delay_s: float | None) -> float | None:
    if delay_s is None or not 0 <= delay_s <= ABSURD_S:
        return None
    return min(delay_s, CAP_S)


def _number(text: str) -> float | None:
    """A plain decimal number: no sign, no exponent, no `inf`, which float() would take."""
    text = text.strip()
    return float(text) if _NUMBER.fullmatch(text) else None


def _until_http_date(text: str, now_wall: float) -> float | None:
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return _until(at, now_wall)


def _until(at: datetime, now_wall: float) -> float:
    """Seconds from now to `at`, which is UTC where it names no zone."""
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - now_wall


def read_reset(text: str, now_wall: float) -> float | None:
    """Return the seconds until a reset, which may lie in the past; None for what is not one.

    text: seconds, Unix seconds, Unix milliseconds (OpenRouter), a duration (OpenAI: 6m0s), or RFC 3339 (Anthropic). Never raises.
    """
    number = _number(text)
    if number is not None:
        if number >= _EPOCH_MS_FROM:
            return number / 1000 - now_wall
        return number - now_wall if number >= _EPOCH_S_FROM else number
    match = _DURATION.fullmatch(text) if text else None
    if match is not None:
        return sum(float(part) * unit for part, unit in zip(match.groups(), _UNITS_S, strict=True) if part)
    try:
        return _until(datetime.fromisoformat(text), now_wall)
    except (ValueError, OverflowError):
        return None

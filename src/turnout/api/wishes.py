"""Reads from a request's headers how urgent it is: its priority, how long its client waits, by when it must be done.

What a client says in a header of ours must make sense, or it is told so. What its SDK says of itself (`x-stainless-…`) is
believed if it is a number, and ignored if not.
Sources: the `_base_client` of the OpenAI and Anthropic SDKs (seconds, as text); RFC 3339 for instants.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, Literal

from turnout.core.catalog import Priority
from turnout.core.vendor_day import day_at
from turnout.errors import InvalidRequest

LONGEST_S = 7 * 86_400.0
"""How far away a job's time may be: a week."""

_PRIORITIES: Final[Mapping[bytes, Priority]] = {b"high": "high", b"medium": "medium", b"low": "low"}
_SDK_TIMEOUTS: Final = (b"x-stainless-read-timeout", b"x-stainless-timeout")
_SECONDS = re.compile(rb"[0-9]{1,7}(?:\.[0-9]{1,9})?")
_TIME_OF_DAY = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])(?:Z|([+-])([01][0-9]):([0-5][0-9]))?")


def priority(headers: Mapping[bytes, bytes]) -> Priority | Literal[""]:
    """Return what `x-turnout-priority` says, "" if it is not there. Raises InvalidRequest."""
    told = headers.get(b"x-turnout-priority")
    if told is None:
        return ""
    found = _PRIORITIES.get(told.strip().lower())
    if found is None:
        raise InvalidRequest("x-turnout-priority is high, medium or low.", param="x-turnout-priority")
    return found


def timeout_s(headers: Mapping[bytes, bytes]) -> float | None:
    """Return the seconds that the client waits: as `x-turnout-timeout` says, else its SDK. Raises InvalidRequest."""
    told = headers.get(b"x-turnout-timeout")
    if told is not None:
        if not _SECONDS.fullmatch(told.strip()):
            raise InvalidRequest("x-turnout-timeout is a number of seconds, such as 20.", param="x-turnout-timeout")
        return float(told)
    for name in _SDK_TIMEOUTS:
        told = headers.get(name)
        if told is not None and _SECONDS.fullmatch(told):
            return float(told)
    return None


def by(headers: Mapping[bytes, bytes], wall: float) -> float | None:
    """Return when a job must be done, Unix seconds, as `x-turnout-by` says: an instant, or the next such time of the day.

    wall: now, Unix seconds. Raises InvalidRequest for what is neither, past, or more than a week away.
    """
    told = headers.get(b"x-turnout-by")
    if told is None:
        return None
    text = told.decode("utf-8", "replace").strip()
    time = _TIME_OF_DAY.fullmatch(text)
    if time is not None:
        hour, minute, sign, hours_ahead, minutes_ahead = time.groups()
        ahead_s = (int(hours_ahead) * 3600 + int(minutes_ahead) * 60) if sign else 0
        starts_s = int(hour) * 3600 + int(minute) * 60 + (ahead_s if sign == "-" else -ahead_s)
        return day_at(UTC, starts_s % 86_400, wall).end
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        meant = "an instant with its offset (2026-11-22T09:00:00+01:00), or a time of the day (09:00+01:00; without an offset UTC)"
        raise InvalidRequest(f"x-turnout-by is {meant}.", param="x-turnout-by")
    at = instant.timestamp()
    if not 0 < at - wall <= LONGEST_S:
        raise InvalidRequest("x-turnout-by is past, or more than a week away.", param="x-turnout-by")
    return at

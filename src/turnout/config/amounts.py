"""Reads one value's text about callers and money: dollars, a sum for a period, days, zones, scopes, addresses of people.

As config/scalars.py: each function takes the text as written and returns the value, or raises ValueError with "what is
wrong, what was meant". Money is exact: it never passes through a float.
"""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from typing import Final
from urllib.parse import urlsplit

from turnout.config.problems import shown, suggestion
from turnout.config.scalars import duration, share
from turnout.core import vendor_day
from turnout.core.rules import PERIODS, SCOPES, Period, Scope

NANO_PER_USD = 10**9

_MOST_USD = 1_000_000_000
"""A billion dollars: above it a limit limits nothing, and sums stay far below 2^63 nano-dollars."""

_DOLLARS = re.compile(r"\$? ?([0-9][0-9_]{0,12}(?:\.[0-9]{1,9})?)(?: ?USD)?", re.IGNORECASE)
_WHO = re.compile(r"[^\s\"'\\:][^\s\"'\\]{0,127}")
_MAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?")

_PERIOD_WORDS: Final = {"daily": "day", "weekly": "week", "monthly": "month", "lifetime": "life"}


def dollars(written: str) -> int:
    """A sum in US dollars → nano-dollars, exactly: `10`, `0.50`, `$10`, `10 USD`. More than nothing."""
    match = _DOLLARS.fullmatch(written)
    if match is None:
        raise ValueError(f"{shown(written)} is no sum, write US dollars such as 10 or 0.50")
    nano_usd = int(Decimal(match[1].replace("_", "")) * NANO_PER_USD)
    if nano_usd > _MOST_USD * NANO_PER_USD:
        raise ValueError(f"{shown(written)} is out of range, expected {_MOST_USD:,} dollars at most")
    if not nano_usd:
        raise ValueError("is nothing, write a sum (who may use free models alone gets a price ceiling: free)")
    return nano_usd


def period(written: str) -> Period:
    """How long a sum is for: `day`, `week`, `month`, `30d` or `life`."""
    found = _PERIOD_WORDS.get(written.lower(), written.lower())
    for one in PERIODS:
        if one == found:
            return one
    raise ValueError(f"{shown(written)} is no period, {suggestion(written, PERIODS, 'expected one of')}")


def spend(written: str) -> tuple[int, Period]:
    """A sum for a period: `10/month`, `0.50/day`, `1000 / 30d` → (nano-dollars, period)."""
    sum_, slash, per = written.partition("/")
    if not slash:
        raise ValueError(f"{shown(written)} says no period, write such as 10/month ({', '.join(PERIODS)})")
    return dollars(sum_.strip()), period(per.strip())


def scope(written: str) -> tuple[Scope, str]:
    """Whom a rule is about: `all`, or `user:anna`, `team:*` (each team on its own) → (scope, name)."""
    kind, colon, who = written.partition(":")
    for one in SCOPES:
        if one == kind and one == "all" and not colon:
            return one, "*"
        if one == kind and one != "all" and _WHO.fullmatch(who):
            return one, who
    named = [one for one in SCOPES if one != "all"]
    if kind in named:
        raise ValueError(f"{shown(written)} names nobody, write {kind}:NAME, or {kind}:* for each on its own")
    what = "all, or one of " + ", ".join(f"{one}:NAME" for one in named)
    raise ValueError(f"{shown(written)} is not known here, expected {what}")


def alert_share(written: str) -> float:
    """A part of a budget: `0.8` or `80 %`. More than nothing; at most all of it."""
    value = share(written)
    if not value:
        raise ValueError("is 0, every budget would be told of at once; write such as 0.8 or 80 %")
    return value


def days(written: str) -> int:
    """How many days something is kept: `90`, `90d`; `for ever` is 0."""
    if written.lower() in {"for ever", "forever", "none"}:
        return 0
    match = re.fullmatch(r"([0-9]{1,5}) ?(?:d|days?)?", written)
    if match is None or not 1 <= int(match[1]) <= 36_500:
        raise ValueError(f"{shown(written)} is no number of days, expected 1 to 36,500 such as 90d (or: for ever)")
    return int(match[1])


def span(written: str) -> float:
    """How long something is kept, seconds: as a duration, or in days: `7d`. A minute to ten years."""
    match = re.fullmatch(r"([0-9]{1,4}) ?(?:d|days?)", written)
    seconds = int(match[1]) * 86_400.0 if match else duration(0, 1e9)(written)
    if not 60 <= seconds <= 3650 * 86_400:
        raise ValueError(f"{shown(written)} is out of range, expected a minute to 3,650 days, such as 12h or 7d")
    return seconds


def day(written: str) -> date:
    """A day: `2026-11-01`."""
    try:
        found = date.fromisoformat(written)
    except ValueError:
        raise ValueError(f"{shown(written)} is no day, write such as 2026-11-01") from None
    if not 1970 < found.year < 2200:
        raise ValueError(f"{shown(written)} is out of range, expected a day of 1971 to 2199")
    return found


def zone(written: str) -> str:
    """A zone of the tz database, by name."""
    try:
        vendor_day.zone(written)
    except (ValueError, OSError, KeyError):  # a path, a folder, a zone that is not there
        raise ValueError(
            f"{shown(written)} is no time zone known on this machine, write one such as Europe/Copenhagen"
        ) from None
    return written


def mail_address(written: str) -> str:
    """One person's e-mail address, without a name."""
    if not _MAIL.fullmatch(written):
        raise ValueError(f"{shown(written)} is no e-mail address, write such as ops@example.com")
    return written


def webhook_address(written: str) -> str:
    """Where alerts go: http or https, a host. The text is not repeated: it may hold a key in path or query."""
    try:
        parts = urlsplit(written)
        port = parts.port
    except ValueError:
        raise ValueError("is no address, write https://HOST/PATH") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ValueError("is no address, it must begin with http:// or https:// and a host")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise ValueError("holds a user, a password or a fragment, remove it")
    if not written.isascii() or not written.isprintable() or " " in written or "\\" in written:
        raise ValueError("holds a character that an address cannot have")
    return written


def postgres_address(written: str) -> str:
    """Where a PostgreSQL is. The text is not repeated: it may hold a password."""
    try:
        parts = urlsplit(written)
        port = parts.port
    except ValueError:
        raise ValueError("is no address, write postgresql://USER:PASSWORD@HOST:PORT/DATABASE") from None
    if parts.scheme not in ("postgresql", "postgres") or port == 0:
        raise ValueError("is no address, it must begin with postgresql:// (SQLite needs none: leave it out)")
    if not written.isascii() or not written.isprintable() or " " in written:
        raise ValueError("holds a character that an address cannot have, write others as %20 and so on")
    return written

"""Makes what is sent when a budget reaches a mark: a webhook's body and signature, a letter; and says when to try again.

A signature is HMAC-SHA256 over "{timestamp}.{body}" with the shared secret: whoever gets it knows that it is ours, and by the
timestamp that it is not an old one sent again. What may come twice (we may be killed between their yes and our note of it) has
one `id` both times.
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime

import msgspec

from turnout.core.books.alerts import Alert
from turnout.core.pricing import NANO_PER_USD, format_usd
from turnout.core.redact import printable

FIRST_PAUSE_S = 2.0
LONGEST_PAUSE_S = 600.0
"""Tried again after 2, 4, 8 s …, at last every ten minutes: within a working day of somebody's mending it."""


def alert_id(alert: Alert) -> str:
    """Return what stays the same however often it is sent: 32 hex digits."""
    named = f"{alert.budget}\n{alert.starts_at}\n{alert.mark}"
    return hashlib.sha256(named.encode("utf-8", "replace")).hexdigest()[:32]


def words(alert: Alert) -> str:
    """Return one line for people."""
    spent, limit = format_usd(alert.spent_nano_usd), format_usd(alert.limit_nano_usd)
    at = "its soft limit" if alert.mark == "soft" else alert.mark
    until = "" if alert.ends_at is None else f" It begins anew at {_moment(alert.ends_at)}."
    return printable(f"The budget {alert.budget} has reached {at}: {spent} of {limit} are spent.{until}")


def webhook_body(alert: Alert) -> bytes:
    """Return the JSON that is posted. Money in dollars as text, times as RFC 3339."""
    return msgspec.json.encode(
        {
            "id": alert_id(alert),
            "type": "budget.reached",
            "text": words(alert),
            "budget": alert.budget,
            "scope": alert.scope,
            "who": alert.who,
            "mark": alert.mark,
            "mark_usd": _usd(alert.mark_nano_usd),
            "spent_usd": _usd(alert.spent_nano_usd),
            "limit_usd": _usd(alert.limit_nano_usd),
            "period": {
                "starts_at": _rfc3339(alert.starts_at),
                "ends_at": None if alert.ends_at is None else _rfc3339(alert.ends_at),
            },
            "raised_at": _rfc3339(alert.raised_at),
        }
    )


def signature(secret: str, timestamp: int, body: bytes) -> str:
    """Return the value of `x-turnout-signature`: `t=TIMESTAMP,v1=HEX`. timestamp: Unix seconds. secret: not empty."""
    digest = hmac.new(secret.encode(), b"%d." % timestamp + body, hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={digest}"


def letter(alert: Alert, sender: str, recipients: tuple[str, ...], now: float) -> EmailMessage:
    """Return the e-mail. now: Unix seconds."""
    message = EmailMessage()
    at = "soft limit reached" if alert.mark == "soft" else f"{alert.mark} spent"
    message["Subject"] = printable(f"Turnout: budget {alert.budget}: {at}")
    message["From"] = sender
    message["To"] = ", ".join(recipients)
    message["Date"] = format_datetime(datetime.fromtimestamp(now, UTC))
    domain = sender.rpartition("@")[2].strip(" >")
    message["Message-ID"] = f"<{alert_id(alert)}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(
        f"{words(alert)}\n\nThe mark is {format_usd(alert.mark_nano_usd)}. Its period began at {_moment(alert.starts_at)}. "
        "See `turnout budget status`.\n"
    )
    return message


def pause_s(tries: int, draw: float) -> float:
    """Return how long to wait after so many tries. draw: in [0, 1), takes up to a quarter off, so that many do not come at once."""
    longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(tries - 1, 20))
    return longest * (1 - draw / 4)


def _usd(nano_usd: int) -> str:
    whole, rest = divmod(nano_usd, NANO_PER_USD)
    return f"{whole}.{rest:09d}".rstrip("0").rstrip(".")


def _rfc3339(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _moment(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")

"""Says, as statements, which alerts of budgets were raised, and which are still to be delivered.

A row decides: whoever writes it first has raised the alert, for this mark of this period, and nobody raises it again. What
is to be sent is kept with it, so a restart or another writer goes on where one ended. A delivery is claimed by moving its
next try ahead: a claimer that dies is followed by another once that time has come.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from turnout.core.books.statements import Row, Sql, Steps
from turnout.core.pricing import format_usd
from turnout.core.resolving import resolve

Channel = Literal["webhook", "mail"]

_RAISE: Final = """
INSERT INTO alert
    (budget, starts_at, mark, ends_at, scope, who, limit_nano_usd, mark_nano_usd, spent_nano_usd, raised_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (budget, starts_at, mark) DO NOTHING
RETURNING mark
"""

_TO_DELIVER: Final = """
INSERT INTO alert_delivery (budget, starts_at, mark, channel, tries, next_at, taken_at, problem)
VALUES (?, ?, ?, ?, 0, ?, NULL, '')
"""

_DUE: Final = """
SELECT alert.budget, alert.starts_at, alert.mark, alert.ends_at, alert.scope, alert.who, alert.limit_nano_usd,
    alert.mark_nano_usd, alert.spent_nano_usd, alert.raised_at,
    alert_delivery.channel, alert_delivery.tries, alert_delivery.next_at
FROM alert_delivery JOIN alert ON alert.budget = alert_delivery.budget
    AND alert.starts_at = alert_delivery.starts_at AND alert.mark = alert_delivery.mark
WHERE alert_delivery.channel = ? AND alert_delivery.taken_at IS NULL AND alert_delivery.next_at <= ?
ORDER BY alert_delivery.next_at, alert.raised_at, alert.budget, alert.mark_nano_usd
LIMIT ?
"""

_CLAIM: Final = """
UPDATE alert_delivery SET tries = tries + 1, next_at = ?
WHERE budget = ? AND starts_at = ? AND mark = ? AND channel = ? AND next_at = ? AND taken_at IS NULL
RETURNING tries
"""

_TAKEN: Final = """
UPDATE alert_delivery SET taken_at = ?, problem = ''
WHERE budget = ? AND starts_at = ? AND mark = ? AND channel = ? AND taken_at IS NULL
"""

_FAILED: Final = """
UPDATE alert_delivery SET next_at = ?, problem = ?
WHERE budget = ? AND starts_at = ? AND mark = ? AND channel = ? AND taken_at IS NULL
"""

_LATEST: Final = """
SELECT alert.budget, alert.starts_at, alert.mark, alert.ends_at, alert.scope, alert.who, alert.limit_nano_usd,
    alert.mark_nano_usd, alert.spent_nano_usd, alert.raised_at,
    alert_delivery.channel, alert_delivery.tries, alert_delivery.taken_at, alert_delivery.problem
FROM alert LEFT JOIN alert_delivery ON alert.budget = alert_delivery.budget
    AND alert.starts_at = alert_delivery.starts_at AND alert.mark = alert_delivery.mark
ORDER BY alert.raised_at DESC, alert.budget, alert.mark_nano_usd DESC, alert_delivery.channel
LIMIT ?
"""

_FIELDS: Final = 10
"""Columns of an Alert."""


class Alert(msgspec.Struct, frozen=True, array_like=True):
    """A budget reached a mark in a period. mark: "80%" of the limit, or "soft". who: "" for everybody. ends_at: None: never.

    mark_nano_usd: what the mark stands for. spent_nano_usd: when it was seen. Times in Unix seconds.
    """

    budget: str
    starts_at: int
    mark: str
    ends_at: int | None
    scope: str
    who: str
    limit_nano_usd: int
    mark_nano_usd: int
    spent_nano_usd: int
    raised_at: int


class Delivery(msgspec.Struct, frozen=True):
    """One alert to be sent by one channel. tries: with this one."""

    alert: Alert
    channel: Channel
    tries: int


class Sent(msgspec.Struct, frozen=True):
    """An alert and how it went. channel: "" where nobody is told. taken_at: Unix seconds, None: not yet. problem: the last."""

    alert: Alert
    channel: str = ""
    tries: int = 0
    taken_at: int | None = None
    problem: str = ""


def raise_alert(alert: Alert, channels: Sequence[Channel]) -> Steps[bool]:
    """Raise an alert, to be sent by `channels`; return whether it was not raised before."""
    if not (yield Sql(_RAISE, msgspec.structs.astuple(alert))):
        return False
    for channel in channels:
        yield Sql(_TO_DELIVER, (alert.budget, alert.starts_at, alert.mark, channel, alert.raised_at))
    return True


def claim(channel: Channel, now: int, until: int, most: int) -> Steps[list[Delivery]]:
    """Return what is to be sent by `channel` now, at most `most`. Nobody else gets it before `until`. Unix seconds."""
    claimed = []
    for row in (yield Sql(_DUE, (channel, now, most))):
        alert = _alert(row)
        next_at = row[-1]
        tries = yield Sql(_CLAIM, (until, *_key(alert), channel, next_at))
        if tries:
            claimed.append(Delivery(alert, channel, int(str(tries[0][0]))))
    return claimed


def taken(delivery: Delivery, now: int) -> Steps[None]:
    """It was taken."""
    yield Sql(_TAKEN, (now, *_key(delivery.alert), delivery.channel))


def failed(delivery: Delivery, next_at: int, problem: str) -> Steps[None]:
    """It was not, and is to be tried again then. problem: why, for people."""
    yield Sql(_FAILED, (next_at, problem, *_key(delivery.alert), delivery.channel))


def latest(most: int) -> Steps[list[Sent]]:
    """Return alerts and how they were sent, the youngest first, one row a channel, at most `most`."""
    found = []
    for row in (yield Sql(_LATEST, (most,))):
        channel, tries, taken_at, problem = row[_FIELDS:]
        fields = {"channel": channel or "", "tries": tries or 0, "taken_at": taken_at, "problem": problem or ""}
        found.append(msgspec.convert({"alert": row[:_FIELDS], **fields}, Sent))
    return found


def _alert(row: Row) -> Alert:
    return msgspec.convert(row[:_FIELDS], Alert)


def _key(alert: Alert) -> tuple[str, int, str]:
    return alert.budget, alert.starts_at, alert.mark


def alert_told(one: Sent) -> dict[str, object]:
    """Return an alert and how it was sent, ready for JSON: money as nano-dollars and as dollars, times as Unix seconds."""
    alert = one.alert
    amounts = {"limit": alert.limit_nano_usd, "mark": alert.mark_nano_usd, "spent": alert.spent_nano_usd}
    return {
        "budget": alert.budget,
        "scope": alert.scope,
        "who": alert.who,
        "mark": alert.mark,
        "raised_at": alert.raised_at,
        "starts_at": alert.starts_at,
        "resets_at": alert.ends_at,
        **{f"{name}_nano_usd": amount for name, amount in amounts.items()},
        **{f"{name}_usd": format_usd(amount)[1:] for name, amount in amounts.items()},
        "channel": one.channel or None,
        "tries": one.tries,
        "taken_at": one.taken_at,
        "problem": one.problem or None,
    }


resolve(Alert, Sent)

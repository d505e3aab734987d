"""Writes the books of quotas to bytes and reads them back, so that they survive a restart.

Rules. What is not certain counts as used. How long the gateway was away is the shorter of what the two clocks say: the
monotonic one begins anew when the machine does, the wall may have been set; so after a reboot a minute's use counts for
one more minute. A day's use counts if it is the same day, or one that seems to lie ahead (the clock went back).
Attempts under way do not survive: their connections did not. What they took stays counted.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from turnout.core.quota_day import DayUse
from turnout.core.quota_meter import Meter
from turnout.core.quota_window import Slot


class _Books(msgspec.Struct, omit_defaults=True):
    """One quota. slots: (seconds since it counts, requests, tokens), oldest first."""

    today: DayUse
    slots: list[tuple[float, int, int]] = []
    hours: list[float | None] = []
    closed_s: float = 0.0
    tokens_each: float = 0.0
    took_s: float = 0.0
    learned: dict[str, int] = {}


class _State(msgspec.Struct):
    now: float
    wall: float
    quotas: dict[str, _Books]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_State).decode


def dump(meters: Mapping[str, Meter], now: float, wall: float) -> bytes:
    """Return the state of `meters`. now: monotonic, wall: steady Unix seconds. O(meters * slots)."""
    return _encode(_State(now, wall, {name: _books(meter, now) for name, meter in meters.items()}))


def load(state: bytes, meters: Mapping[str, Meter], now: float, wall: float) -> None:
    """Add what `state` says was used to `meters`. Raises ValueError for what is no state."""
    read = _decode(state)
    away_s = max(min(now - read.now, wall - read.wall), 0.0)
    for name, books in read.quotas.items():
        meter = meters.get(name)
        if meter is not None:
            _restore(meter, books, now, away_s)


def _books(meter: Meter, now: float) -> _Books:
    meter.bring_up(now)
    return _Books(
        today=meter.today.used(),
        slots=[(now - slot.ends, slot.requests, slot.tokens) for slot in meter.window.slots()],
        hours=list(meter.demand.hours),
        closed_s=max(meter.closed_until - now, 0.0),
        tokens_each=meter.tokens_each,
        took_s=meter.took_s,
        learned=dict(meter.learned),
    )


def _restore(meter: Meter, books: _Books, now: float, away_s: float) -> None:
    slots = [Slot(now - away_s - age, requests, tokens) for age, requests, tokens in books.slots]
    meter.restore(slots, books.today, books.hours, now)
    meter.closed_until = max(meter.closed_until, now + books.closed_s - away_s)
    meter.tokens_each, meter.took_s = books.tokens_each, books.took_s
    for what, limit in books.learned.items():
        meter.learn(what, limit)

"""Says where a limit stands, for people and programs: used, held elsewhere, left, and when there is room again.

As one process knows it: what it let in itself, and what it last heard that the others hold (core/leasing.py).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from turnout.core.limiting import NOTHING, Meter
from turnout.core.rules import Rates

What = Literal["requests_minute", "tokens_minute", "at_once"]


class LimitGauge(msgspec.Struct, frozen=True):
    """One number of a limit. used: in the last 60 seconds, or under way, through the gateway that is asked.

    elsewhere: what other gateways hold of it. left: what neither is. room_at: Unix seconds at which some of what is used is free
    again; None: nothing is used, or it is free with a request's end.
    """

    what: What
    limit: int
    used: int
    elsewhere: int
    left: int
    room_at: float | None = None


class LimitView(msgspec.Struct, frozen=True):
    """The limit of one name. scope: whose it is, such as "user". who: "" for everybody."""

    scope: str
    who: str
    gauges: tuple[LimitGauge, ...]

    @property
    def share_left(self) -> float:
        """The smallest part that is left of any of its numbers, 0 to 1."""
        return min((gauge.left / gauge.limit for gauge in self.gauges), default=1.0)


def view(meter: Meter, now: float, wall: float) -> LimitView:
    """Return where `meter` stands at `now`, monotonic seconds. wall: the same instant in Unix seconds. 3 µs."""
    used = meter.used(now)
    others = NOTHING if meter.lease is None else meter.lease.others
    room_at: dict[str, float] = {}
    if used.requests_minute:
        room_at["requests_minute"] = meter.window.free_at(1, 0) - now + wall
    if used.tokens_minute:
        room_at["tokens_minute"] = meter.window.free_at(0, 1) - now + wall
    return _viewed(meter.name, meter.limit, used, others, room_at)


def unused(name: str, limit: Rates) -> LimitView:
    """Return where a limit stands that nothing counts on. name: as a Meter's."""
    return _viewed(name, limit, NOTHING, NOTHING, {})


def _viewed(name: str, limit: Rates, used: Rates, others: Rates, room_at: dict[str, float]) -> LimitView:
    scope, _, who = name.partition(":")
    gauges = [
        LimitGauge(what, of, use, held, max(0, of - use - held), room_at.get(what))
        for what, of, use, held in zip(_WHAT, *map(msgspec.structs.astuple, (limit, used, others)), strict=True)
        if of
    ]
    return LimitView(scope, who, tuple(gauges))


_WHAT: tuple[What, ...] = ("requests_minute", "tokens_minute", "at_once")

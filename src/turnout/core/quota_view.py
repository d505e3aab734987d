"""Says where a quota stands, for people and programs: used, left, kept, when it resets and when it will run out.

Sources: FACTS §3.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from turnout.core.quota_meter import Meter
from turnout.core.quota_window import SPAN_S

What = Literal["requests_minute", "tokens_minute", "requests_day", "tokens_day", "at_once"]


class Gauge(msgspec.Struct, frozen=True):
    """One limit of a quota. vendor: what it allows; limit: what we use of that (the margin is off).

    used: of a minute or a day so far, or attempts under way. left: what high priority may still use. reserved: how much of
    `left` is for it alone.
    resets_at: Unix seconds at which some of it (a minute) or all of it (a day) is free again; None: nothing is used, or
    with an attempt's end. runs_out_at: when the usual demand will have used the rest of the day; None: it will not, or
    too little is known. is_learned: the vendor told us, config does not say.
    """

    what: What
    used: int
    left: int
    limit: int
    vendor: int
    reserved: int = 0
    resets_at: float | None = None
    runs_out_at: float | None = None
    is_learned: bool = False


class QuotaView(msgspec.Struct, frozen=True):
    """One quota. closed_until: Unix seconds until when its vendor wants nothing at all; None: it is open."""

    name: str
    account: str
    models: str
    margin: float
    gauges: tuple[Gauge, ...]
    closed_until: float | None = None


def view(name: str, meter: Meter, now: float, wall: float) -> QuotaView:
    """Return where `meter` stands at `now`, monotonic seconds. wall: what the machine's clock shows now. O(1)."""
    meter.bring_up(now)
    quota, slower_s = meter.quota, wall - meter.wall(now)
    gauges = [gauge for gauge in _gauges(meter, now, slower_s) if gauge.limit]
    closed = meter.wall(meter.closed_until) + slower_s if meter.closed_until > now else None
    return QuotaView(name, quota.account, quota.models, quota.margin, tuple(gauges), closed)


def _gauges(meter: Meter, now: float, slower_s: float) -> tuple[Gauge, ...]:
    """slower_s: how much later the machine's clock is than the meter's."""
    window = meter.window
    slots, day_ends = window.slots(), meter.today.day.end + slower_s
    frees_at = meter.wall(slots[0].ends + SPAN_S) + slower_s if slots else None
    runs_out = meter.runs_out_at(now)
    runs_out = None if runs_out is None else runs_out + slower_s
    requests, at_once = meter.today.requests, meter.quota.at_once
    left = max(meter.requests_day - requests, 0)
    return (
        _gauge(meter, "requests_minute", window.requests, meter.requests_minute, frees_at),
        _gauge(meter, "tokens_minute", window.tokens, meter.tokens_minute, frees_at),
        Gauge(
            "requests_day",
            requests,
            left,
            meter.requests_day,
            meter.limit("requests_day"),
            reserved=min(meter.reserved(now), left),
            resets_at=day_ends,
            runs_out_at=runs_out,
            is_learned=not meter.quota.requests_day,
        ),
        _gauge(meter, "tokens_day", meter.today.tokens, meter.tokens_day, day_ends),
        Gauge("at_once", meter.in_flight, max(at_once - meter.in_flight, 0), at_once, at_once),
    )


def _gauge(meter: Meter, what: What, used: int, limit: int, resets_at: float | None) -> Gauge:
    is_learned = not getattr(meter.quota, what)
    return Gauge(what, used, max(limit - used, 0), limit, meter.limit(what), resets_at=resets_at, is_learned=is_learned)

"""Keeps how busy a candidate is: attempts in flight, and a moving average of the time to its first content.

Load is a frozen value; a start and an end each make a new one, so that a policy that was handed a Load keeps a
consistent view. The average is exponential with a weight per sample, not per second: a candidate that is rarely asked
keeps its last figures, which is what a policy wants to know of it.
"""

from __future__ import annotations

from turnout.core.contracts import Load

WEIGHT = 0.3
"""Of the newest sample: ten samples carry 97 % of the average, so a vendor's bad quarter of an hour is forgotten soon."""


def started(load: Load) -> Load:
    """Return `load` with one more attempt in flight. O(1)."""
    return Load(load.in_flight + 1, load.latency_s)


def ended(load: Load, latency_s: float | None) -> Load:
    """Return `load` with one attempt less and the sample counted. O(1).

    latency_s: seconds to the first content, None if there was none (a failure's speed is no recommendation).
    """
    left = max(0, load.in_flight - 1)
    if latency_s is None:
        return Load(left, load.latency_s)
    if load.latency_s == 0.0:
        return Load(left, latency_s)
    return Load(left, load.latency_s + WEIGHT * (latency_s - load.latency_s))

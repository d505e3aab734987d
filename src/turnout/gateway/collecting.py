"""Keeps the looks of Python's cycle collector short, as the event loop stands still for each of them.

Requests leave no cycles behind: what they made goes with its last reference, and a look finds next to nothing. It costs
0.4 µs for each object that lives all the same. With Python's own thresholds that was a tenth of a request's CPU; with higher
ones alone, and 10,000 requests waiting for their turn, one look took 177 ms (RELIABILITY I8, T21). So young objects are looked
at a few thousand at a time, twice, and then let be. Everything else is looked at once a minute, when hardly anything is under
way and not too much came to stand; a gateway that never comes to that is made to wait for it once in ten minutes. What has
been looked at stands for good and is not looked at again: after a minute only what that minute left is.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Final

YOUNG: Final = 5_000
"""More objects than this were made and not freed: time for a look at them, 2 ms."""

ROUNDS: Final = 2
"""After so many such looks, one more at what was left by them: 15,000 objects at most, 3 to 11 ms."""

NEVER: Final = 1_000_000_000
"""So many rounds until Python would look at everything by itself."""

LOOK_S: Final = 60.0
AT_REST: Final = 50
"""As few requests under way are no load to speak of: what they hold is looked at in a millisecond or two."""

MANY: Final = 100_000
"""With more objects than this to be looked at, a look takes over 40 ms. 10,000 idle connections are four times as many: the
look at them took 0.2 s, and by the next one they may have gone (RELIABILITY I8, T38). Counting them takes 10 ms then."""

OVERDUE: Final = 10
"""After so many minutes without rest, a look at everything is due whatever is under way."""


class Collector:
    """Looks for cycles on the running loop. in_flight: how many requests are under way."""

    def __init__(self, in_flight: Callable[[], int], *, look_s: float = LOOK_S) -> None:
        self._in_flight = in_flight
        self._look_s = look_s
        self._put_off = 0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Leave alone what stands by now, and begin. For the whole process: nobody else is to set these thresholds."""
        gc.set_threshold(YOUNG, ROUNDS, NEVER)
        self._look()
        self._arm()

    def stop(self) -> None:
        """Look no more. Safe to call twice."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._look_s, self._ring)

    def _ring(self) -> None:
        self._put_off += 1
        is_quick = self._in_flight() <= AT_REST and len(gc.get_objects()) <= MANY
        if is_quick or self._put_off >= OVERDUE:
            self._look()
        self._arm()

    def _look(self) -> None:
        self._put_off = 0
        gc.collect()
        gc.freeze()

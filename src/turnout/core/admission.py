"""Decides whether an exchange may begin now: how many are under way, how late the event loop is, and whose turn it is.

Why so, and what was weighed against it: docs/adr/0012-overload.md. In short:

* Never more than `bound` exchanges are under way. Nine tenths of that are `room`: while there is room, everybody may
  begin. The last tenth is for callers with less than their equal share of the room, so that one caller with endless
  demand leaves a place for the others, and has all the room while it is alone.
* `room` follows the event loop. Two late samples of five are a queue that stands there; one may be a burst, or a pause of
  the machine, however long. Then room becomes what is under way, or, if the loop is very late, a part of it; and it comes
  back a twentieth at a time. What the loop spent on refusing is left out, or refusing would become its own reason to
  refuse more.

Nothing waits here: who may not begin is refused at once, which costs a fraction of serving. Callers are known only while
they have something under way.

Sources: CoDel (RFC 8289), which tells a standing queue from a burst by time and not by length; TCP, for a room that is cut
by a factor and grows by steps; max-min fairness, for the share. The figures below were tried on a model of the loop, which
tests/core/test_admission.py keeps.
"""

from __future__ import annotations

from typing import Literal

Reason = Literal["concurrency", "lag", "share"]
"""Why not now: the places are taken; the event loop is late; this caller has its share while others are there."""

Caller = tuple[str, str]
"""Who asks: the name of the key that was proved, and the user that the client names in a header."""

LATE_S = 0.006
"""From here on nothing is added to what is under way: the next few would cost more than those before. A loop with half of
what it can do is late by less than 1 ms."""

TARGET_S = 0.012
"""From here on there is too much under way. A refusal is promised in 50 ms and health in 100 ms (RELIABILITY A6), and both
wait for turns of the loop, which are longer than a timer's lag. With 15 and 30 ms, refusals in 40 s of T44's flood
took 46 ms at their p99, with these 30 ms, and as many streams were served."""

SAMPLES = 5
"""How many samples one interval has: CoDel's 100 ms, at the pace of gateway/lag.py."""

CUT = 0.7
"""The least that one cut leaves: lag is steep where the loop is nearly full, so a cut in its proportion would be too deep."""

FLOOR = 100
"""Room is never less: so many at once are what the first product asks for, and lag that is not ours must not stop us."""

REFUSAL_S = 0.000_022
"""CPU of one refusal from socket to socket, on the machine of docs/performance.md."""


class Admission:
    """Who is under way, and whether another may begin. Not thread-safe; every method is O(1).

    in_flight: exchanges under way. room: how many there may be before it matters who asks.
    """

    __slots__ = ("_bound", "_callers", "_late_s", "_refused", "_samples", "_top", "in_flight", "room")

    def __init__(self, bound: int) -> None:
        self.in_flight = 0
        self._callers: dict[Caller, int] = {}
        self._bound = bound
        self._top = self.room = _room_of(bound)
        self._refused = 0
        self._samples = 0
        self._late_s = 0.0

    @property
    def is_full(self) -> bool:
        """Whether the room is taken, so that it matters who asks."""
        return self.in_flight >= self.room

    def enter(self, caller: Caller) -> Reason | None:
        """Let an exchange of `caller` begin, or return why not. What was let in must `leave`. 0.15 µs."""
        mine = self._callers.get(caller, 0)
        if self.in_flight >= self.room:
            reason = self._why_not(mine)
            if reason is not None:
                self._refused += 1
                return reason
        self.in_flight += 1
        self._callers[caller] = mine + 1
        return None

    def leave(self, caller: Caller) -> None:
        """End an exchange that was let in. 0.1 µs. Raises KeyError if there is none: a bug."""
        mine = self._callers[caller]
        if mine == 1:
            del self._callers[caller]
        else:
            self._callers[caller] = mine - 1
        self.in_flight -= 1

    def _why_not(self, mine: int) -> Reason | None:
        """Without room: None if this caller stays within its share with one more, else the reason."""
        callers = len(self._callers) + (mine == 0)
        is_full = self.in_flight >= self._bound
        if not is_full and (mine + 1) * callers <= self.room:
            return None
        if self.room < self._top:
            return "lag"
        return "share" if mine and callers > 1 and not is_full else "concurrency"

    def observe(self, lag_s: float, elapsed_s: float) -> None:
        """Take a sample of the event loop's lag, and fit the room to the samples of this interval.

        lag_s: how late a timer was, seconds, >= 0. elapsed_s: since the sample before, seconds, > 0.
        """
        lag_s *= 1.0 - min(1.0, self._refused * REFUSAL_S / elapsed_s)
        self._refused = 0
        self._samples += 1
        is_late = lag_s > LATE_S
        if is_late and self._late_s:
            self._cut(min(lag_s, self._late_s))
        elif self._samples >= SAMPLES:
            self.room = min(self._top, self.room + max(1, self.room // 20))
        else:
            if is_late:
                self._late_s = lag_s
            return
        self._samples, self._late_s = 0, 0.0

    def _cut(self, lag_s: float) -> None:
        """Leave no more room than what is under way has, or less; nothing, while that is still more than the last cut left."""
        if self.in_flight > FLOOR and self.in_flight * 10 <= self.room * 11:
            left = min(self.room, self.in_flight) * min(1.0, max(CUT, TARGET_S / lag_s))
            self.room = min(self.room, max(FLOOR, int(left)))

    def resize(self, bound: int) -> None:
        """Have this bound from now on. What is under way stays; room that the lag took comes back step by step."""
        if bound == self._bound:
            return
        was_whole = self.room == self._top
        self._bound = bound
        self._top = _room_of(bound)
        self.room = self._top if was_whole else min(self.room, self._top)


def _room_of(bound: int) -> int:
    return max(1, bound * 9 // 10)

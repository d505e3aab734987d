"""Counts what was used in the last minute, so that no 60 seconds ever see more than was allowed.

An exact sliding window whose entries are merged into slots of a quarter of a second. An entry counts from the end of its
slot, so merging errs towards "used" and never over-admits; it costs half a slot on average, 0.2 % of a minute. A second
call may travel faster than the first, so what the vendor sees may lie closer together than what we sent: TRAVEL_S more
is waited. Both kinds of amount share the slots. This file does not read the clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from math import floor

import msgspec

WINDOW_S = 60.0
SLOTS = 240
SLOT_S = WINDOW_S / SLOTS
TRAVEL_S = 0.25
"""How much longer one call may travel than another, to where it is counted. A quarter of a second is a far continent's
round trip; a call that takes longer because it must first connect is stamped when it was sent (`Quotas.sent`)."""

SPAN_S = WINDOW_S + TRAVEL_S


class Slot(msgspec.Struct, gc=False):
    """What was used until `ends`, monotonic seconds, since the slot before."""

    ends: float
    requests: int = 0
    tokens: int = 0


class Window:
    """What was used in the last minute. requests, tokens: in all. Not thread-safe. At most 242 slots.

    Call `expire` first; then everything else is O(1), `free_at` O(slots in use).
    """

    __slots__ = ("_slots", "requests", "tokens")

    def __init__(self) -> None:
        self._slots: deque[Slot] = deque()
        self.requests = 0
        self.tokens = 0

    def expire(self, now: float) -> None:
        """Forget what left the window. O(1) amortised."""
        slots = self._slots
        while slots and slots[0].ends + SPAN_S <= now:
            gone = slots.popleft()
            self.requests -= gone.requests
            self.tokens -= gone.tokens

    def add(self, now: float, requests: int, tokens: int) -> Slot:
        """Count as of now; return the slot, for `take_back`."""
        slots = self._slots
        if slots and now < slots[-1].ends:
            slot = slots[-1]
        else:
            slot = Slot((floor(now / SLOT_S) + 1) * SLOT_S)
            slots.append(slot)
        slot.requests += requests
        slot.tokens += tokens
        self.requests += requests
        self.tokens += tokens
        return slot

    def take_back(self, slot: Slot, requests: int, tokens: int) -> None:
        """Count less in `slot`; nothing, if it left the window already."""
        if self._slots and slot.ends >= self._slots[0].ends:
            slot.requests -= requests
            slot.tokens -= tokens
            self.requests -= requests
            self.tokens -= tokens

    def free_at(self, requests: int, tokens: int) -> float:
        """Return the instant at which so many fewer of both will be in the window; at most what is in it. O(slots in use)."""
        for slot in self._slots:
            requests -= slot.requests
            tokens -= slot.tokens
            if requests <= 0 and tokens <= 0:
                return slot.ends + SPAN_S
        raise AssertionError

    def empty_at(self) -> float | None:
        """Return the instant at which nothing will be in the window, None if nothing is."""
        return self._slots[-1].ends + SPAN_S if self._slots else None

    def slots(self) -> list[Slot]:
        """Return what is counted, oldest first, to be kept over a restart."""
        return list(self._slots)

    def restore(self, slots: Iterable[Slot]) -> None:
        """Count these, oldest first, besides what is counted; to be called before the first `add`."""
        for slot in slots:
            self._slots.append(slot)
            self.requests += slot.requests
            self.tokens += slot.tokens

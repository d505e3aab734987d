"""Keeps room for the calls that a conversation with tools will still make, so that what begins can also end.

A chat with tools costs several calls, one after the other. If every place of a minute went to beginnings, all of them would
then wait a minute for their second call. So who begins must find room for the calls that others still have to make,
besides its own. That room need not be there at once: it is wanted one call after the other, every FOLLOWS_S or so, and by
then places come free. So a minute that is used evenly is used to the full, and only a burst is held back.

Room is kept for a caller, for KEPT_S from the latest sign of its conversation; its calls that go on use it; an answer that calls no
tool gives the rest back. This file does not read the clock.
Source: FACTS §3 (the estimate, and the times of answers). The 5 s between calls and the 60 s are ours.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from heapq import heappop, heappush
from math import ceil

import msgspec

KEPT_S = 60.0
"""Longer than nearly every answer and the tool's own work after it; and as long as a minute's quota remembers."""

FOLLOWS_S = 7.0
"""How long after a call the next one comes: an answer takes 7 s on average (FACTS §3)."""

TOOLS_A_CALL = 5


def calls_to_follow(tools: int) -> int:
    """Return how many calls a conversation is expected to make after its first, by the number of tools that it declares."""
    return ceil(tools / TOOLS_A_CALL) + 1 if tools else 0


class _Part(msgspec.Struct):
    type: str = ""


class _Message(msgspec.Struct):
    role: str = ""
    content: list[_Part | str] | str | None = None


_MESSAGES = msgspec.json.Decoder(list[msgspec.Raw])
_MESSAGE = msgspec.json.Decoder(_Message)


def goes_on(messages: msgspec.Raw | bytes | None) -> bool:
    """Return whether a conversation's last message is what a tool said, so that this call goes on with it.

    messages: JSON, in OpenAI's form or Anthropic's; None, or what is in neither, does not go on. O(bytes).
    """
    if messages is None:
        return False
    try:
        last = _MESSAGE.decode(_MESSAGES.decode(messages)[-1])
    except (ValueError, IndexError):
        return False
    if last.role == "tool":
        return True
    parts = last.content if isinstance(last.content, list) else ()
    return any(isinstance(part, _Part) and part.type == "tool_result" for part in parts)


class Kept:
    """Room for `calls` further calls of one conversation, counted against `names`. until: when it lapses."""

    __slots__ = ("caller", "calls", "names", "until")

    def __init__(self, caller: Hashable, names: tuple[str, ...], calls: int, until: float) -> None:
        self.caller = caller
        self.names = names
        self.calls = calls
        self.until = until


class FollowUps:
    """All room that is kept. Not thread-safe; O(log of them) per call; as many entries as conversations began in a minute."""

    def __init__(self) -> None:
        self._by_caller: dict[Hashable, deque[Kept]] = {}
        self._by_name: dict[str, int] = {}
        self._lapsing: list[
            tuple[float, int, Kept]
        ] = []  # a heap: by when, at the latest known; a count, so that no two are equal
        self._begun = 0

    def __bool__(self) -> bool:
        return bool(self._by_name)

    def keep(self, caller: Hashable, names: tuple[str, ...], calls: int, now: float) -> Kept:
        """Keep room for a conversation that begins. calls: at least one."""
        kept = Kept(caller, names, calls, now + KEPT_S)
        self._by_caller.setdefault(caller, deque()).append(kept)
        self._count(names, calls)
        self._lapses(kept)
        return kept

    def use(self, caller: Hashable, now: float) -> Kept | None:
        """A conversation of `caller` goes on: use up one call of what is kept for it. None: nothing is."""
        self.lapse(now)
        mine = self._by_caller.get(caller)
        if mine is None:
            return None
        kept = mine[0]
        mine.rotate(-1)
        kept.until = now + KEPT_S
        kept.calls -= 1
        self._count(kept.names, -1)
        if not kept.calls:
            self._forget(kept)
        return kept

    def renew(self, kept: Kept, now: float) -> None:
        """A sign of life: its answer calls tools, so that it will go on."""
        kept.until = now + KEPT_S

    def give_back(self, kept: Kept) -> None:
        """It is over, or lapsed: nothing is kept for it any more. Safe to call twice."""
        if kept.calls:
            self._count(kept.names, -kept.calls)
            kept.calls = 0
            self._forget(kept)

    def room(self, names: tuple[str, ...], now: float) -> int:
        """Return for how many calls room is kept: the most at one of these quotas."""
        if not self._by_name:
            return 0
        self.lapse(now)
        return max([self._by_name.get(name, 0) for name in names], default=0)

    def lapse(self, now: float) -> None:
        """Give back what nobody came for."""
        lapsing = self._lapsing
        while lapsing and (lapsing[0][0] <= now or not lapsing[0][2].calls):
            kept = heappop(lapsing)[2]
            if kept.until <= now:
                self.give_back(kept)
            elif kept.calls:
                self._lapses(kept)

    def lapses_at(self) -> float | None:
        """Return when something may lapse next, None while nothing is kept."""
        while self._lapsing and not self._lapsing[0][2].calls:
            heappop(self._lapsing)
        return self._lapsing[0][0] if self._lapsing else None

    def _lapses(self, kept: Kept) -> None:
        self._begun += 1
        heappush(self._lapsing, (kept.until, self._begun, kept))

    def _count(self, names: tuple[str, ...], calls: int) -> None:
        for name in names:
            count = self._by_name.get(name, 0) + calls
            if count:
                self._by_name[name] = count
            else:
                del self._by_name[name]

    def _forget(self, kept: Kept) -> None:
        mine = self._by_caller[kept.caller]
        mine.remove(kept)
        if not mine:
            del self._by_caller[kept.caller]

"""The one source of time, chance and identity. Everything that decides gets them as arguments.

`now` is monotonic seconds (durations, deadlines), `wall` is Unix seconds (dates for people and vendors), `draw` is
uniform in [0, 1), `request_id` names an exchange.
"""

from __future__ import annotations

import random
import secrets
import time
from typing import Protocol


class Clock(Protocol):
    """What the gateway asks; tests pass one of their own making."""

    def now(self) -> float:
        """Monotonic seconds."""
        ...

    def wall(self) -> float:
        """Unix seconds."""
        ...

    def draw(self) -> float:
        """A number in [0, 1)."""
        ...

    def request_id(self) -> str:
        """A name for one exchange, unique for good."""
        ...

    def token(self) -> str:
        """A secret of 256 random bits, in URL-safe text."""
        ...


class SystemClock:
    """The machine's clocks and its entropy.

    Request ids are names, not secrets (secrets come from `token`): 80 bits of a generator seeded by the system's
    entropy, after the milliseconds since 1970, so that ids made later sort later and a store finds them by range.
    """

    __slots__ = ("_random", "draw", "now", "wall")

    def __init__(self) -> None:
        self._random = random.Random(secrets.randbits(256))
        self.now = time.monotonic
        self.wall = time.time
        self.draw = self._random.random

    def request_id(self) -> str:
        """`req_`, 12 hex digits of time, 20 of chance. 0.6 µs."""
        return f"req_{int(self.wall() * 1000):012x}{self._random.getrandbits(80):020x}"

    def token(self) -> str:
        """256 bits from the system's entropy."""
        return secrets.token_urlsafe(32)

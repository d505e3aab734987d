"""Draws numbers that look like chance and are a function of seed, request and purpose.

A request's key is its body's digest and how many times that very body has come before. So a run with the same seed and
the same requests goes the same way, and what other requests run at the same time, or in which order, changes nothing;
a retry of the same body draws anew.
"""

from __future__ import annotations

import math
from hashlib import blake2b

_RANGE = 2.0**64


class Chance:
    """The draws of one request. Each purpose has its own, so that a new purpose does not shift the others."""

    __slots__ = ("_key", "name")

    def __init__(self, seed: int, digest: bytes, occurrence: int) -> None:
        self._key = blake2b(b"%d|%d|" % (seed, occurrence) + digest, digest_size=32).digest()
        self.name = self._key[:10].hex()
        """20 hex digits that name the request: ids are made of it."""

    def draw(self, purpose: str) -> float:
        """Return a number in [0, 1), the same for the same purpose. About 1 µs."""
        return int.from_bytes(blake2b(purpose.encode(), key=self._key, digest_size=8).digest()) / _RANGE

    def around(self, purpose: str, median: float, spread: float) -> float:
        """Return a log-normal draw: `median` * e^(spread * z). spread 0: the median itself.

        Source: Box and Muller 1958 for z; latencies of vendors are about log-normal (FACTS §3 gives the medians).
        """
        if spread == 0:
            return median
        radius = math.sqrt(-2.0 * math.log(1.0 - self.draw(purpose + " radius")))
        return median * math.exp(spread * radius * math.cos(math.tau * self.draw(purpose + " angle")))

    def among(self, purpose: str, count: int) -> int:
        """Return a whole number in [0, count)."""
        return int(self.draw(purpose) * count)

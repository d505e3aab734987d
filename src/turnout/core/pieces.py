"""Holds a large request body without copying it: what goes out refers to what came in.

A body of tens of megabytes is worth it twice: each copy of 32 MiB is as much memory again, and 15 ms in which nobody else
has a turn (RELIABILITY T43, T48). Below LARGE_BYTES a copy costs less than looking after the pieces.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

Body: TypeAlias = bytes | bytearray
"""A request body as it was received: large ones are left in the buffer that they were read into. Nobody writes to it."""

LARGE_BYTES = 256 * 1024
"""A longer body is not copied, and is looked through and sent in slices of this length. Source: RELIABILITY F17."""


class Pieces:
    """A body in pieces, in order. They are only referred to, so what they are part of stays in memory as long.

    len() is its bytes, bytes() a copy of it all. It can be read any number of times. Its repr tells nothing of it.
    """

    __slots__ = ("_length", "_views")

    def __init__(self, pieces: Iterable[Body]) -> None:
        self._views = [memoryview(piece) for piece in pieces]
        self._length = sum(map(len, self._views))

    def __len__(self) -> int:
        return self._length

    def __bytes__(self) -> bytes:
        return b"".join(self._views)

    def slices(self, size: int) -> Iterator[memoryview]:
        """Yield it all in slices of at most `size` bytes, without a copy."""
        for view in self._views:
            for begin in range(0, len(view), size):
                yield view[begin : begin + size]

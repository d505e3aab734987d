"""Holds vectors in partitions and finds the nearest of one partition: a matrix and a product, exact, with numpy.

A partition is a hard wall: nothing is ever looked for in two. Each vector stands for something that somebody else keeps;
when that is gone, so is the vector. Together they hold MOST_NUMBERS numbers, then the one added longest ago leaves.
10,000 vectors of 384 numbers in one partition take 0.25 ms (DEPENDENCIES §9), so this runs where it is called.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

T = TypeVar("T")

MOST_NUMBERS = 4_000_000
"""16 MB, twice that while a partition grows: about 10,000 vectors of the bundled model, 1,300 of the longest in use."""

_FIRST_ROWS = 8


class Row(Generic[T]):
    """One vector's place. value: what was given with it."""

    __slots__ = ("__weakref__", "at", "partition", "value")

    def __init__(self, value: T, partition: bytes, at: int) -> None:
        self.value = value
        self.partition = partition
        self.at = at


class _Partition(Generic[T]):
    """A matrix that grows by doubling; its first len(rows) rows are in use."""

    __slots__ = ("matrix", "rows")

    def __init__(self, matrix: Any) -> None:
        self.matrix = matrix
        self.rows: list[Row[T]] = []


class Vectors(Generic[T]):
    """Vectors by partition. Not thread-safe."""

    def __init__(self) -> None:
        self._partitions: dict[bytes, _Partition[T]] = {}
        self._rows: dict[Row[T], int] = {}  # in the order of adding, each with how many numbers it holds
        self._numbers = 0

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, partition: bytes, vector: Sequence[float], value: T, keeper: object) -> None:
        """Hold a vector as long as `keeper` lives. Its length is made 1. O(numbers), O(partition) when that grows.

        One without direction, or of another length than the others of its partition, is not held.
        """
        unit = _unit(vector)
        if unit is None:
            return
        held = self._partitions.get(partition)
        if held is None:
            held = self._partitions[partition] = _Partition(_matrix(_FIRST_ROWS, unit.size))
        if held.matrix.shape[1] != unit.size:
            return
        at = len(held.rows)
        if at == len(held.matrix):
            grown = _matrix(2 * at, unit.size)
            grown[:at] = held.matrix
            held.matrix = grown
        held.matrix[at] = unit
        row = Row(value, partition, at)
        held.rows.append(row)
        self._rows[row] = unit.size
        self._numbers += unit.size
        weakref.finalize(keeper, self.remove, row).atexit = False
        while self._numbers > MOST_NUMBERS:
            self.remove(next(iter(self._rows)))

    def nearest(self, partition: bytes, vector: Sequence[float], least: float, most: int) -> list[tuple[float, T]]:
        """Return at most `most` of a partition that lie as near as `least` (a cosine) or nearer, the nearest first."""
        held = self._partitions.get(partition)
        unit = None if held is None else _unit(vector)
        if held is None or unit is None or held.matrix.shape[1] != unit.size:
            return []
        scores = held.matrix[: len(held.rows)] @ unit
        near = [(float(scores[at]), int(at)) for at in (scores >= least).nonzero()[0]]
        return [(score, held.rows[at].value) for score, at in sorted(near, reverse=True)[:most]]

    def remove(self, row: Row[T]) -> None:
        """Forget one; nothing if it is gone. O(numbers): the last of its partition takes its place."""
        numbers = self._rows.pop(row, None)
        if numbers is None:
            return
        self._numbers -= numbers
        held = self._partitions[row.partition]
        last = held.rows.pop()
        if last is not row:
            held.matrix[row.at] = held.matrix[last.at]
            held.rows[row.at] = last
            last.at = row.at
        if not held.rows:
            del self._partitions[row.partition]


def _matrix(rows: int, numbers: int) -> Any:
    import numpy as np  # noqa: PLC0415 - of the extra `semantic`; config refuses a task that needs it where it is missing

    return np.empty((rows, numbers), dtype=np.float32)


def _unit(vector: Sequence[float]) -> Any:
    """The vector with length 1, None if it has none or is not finite."""
    import numpy as np  # noqa: PLC0415 - as above

    given = np.asarray(vector, dtype=np.float32)
    length = float(np.linalg.norm(given))
    return given / length if given.ndim == 1 and 0.0 < length < float("inf") else None

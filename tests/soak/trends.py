"""Tells a leak from noise: the slope of a series by least squares, and how well it is known. Pure.

A process's memory moves in steps and in waves, so neighbouring samples say nearly the same, and an ordinary standard error
would promise far too much. So the samples are averaged in ten blocks first, which are far enough apart to be taken as
independent, and the margin is that of a line through ten points (Student's t with 8 degrees of freedom, 95 %).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

BLOCKS = 10
T_95 = 2.306
WARM_UP = 0.2
HOUR_S = 3600.0


@dataclass(frozen=True)
class Trend:
    """How a quantity moved after the warm-up. per_hour, margin: the slope, and half of its 95 % interval. mean, last: of it."""

    name: str
    unit: str
    per_hour: float
    margin: float
    limit_per_hour: float
    mean: float
    last: float

    @property
    def is_flat(self) -> bool:
        """Whether it may be as flat as it must be: a rise counts when noise alone does not explain it."""
        return self.per_hour - self.margin <= self.limit_per_hour

    @property
    def is_known(self) -> bool:
        """Whether the run was long enough to see a rise that is just too steep."""
        return self.margin <= self.limit_per_hour

    def __str__(self) -> str:
        verdict = "flat" if self.is_flat else "RISES"
        told = f"{self.name}: {self.per_hour:+.2f} ± {self.margin:.2f} {self.unit}/h, {verdict}"
        limit = f"limit {self.limit_per_hour:g}" + ("" if self.is_known else "; too short a run to tell so little")
        return f"{told} ({limit}; mean {self.mean:.1f}, last {self.last:.1f})"


def after_warm_up(seconds: Sequence[float], values: Sequence[float]) -> tuple[list[float], list[float]]:
    """Leave out the first fifth of the time."""
    begin = seconds[0] + (seconds[-1] - seconds[0]) * WARM_UP
    kept = [(at, value) for at, value in zip(seconds, values, strict=True) if at >= begin]
    return [at for at, _ in kept], [value for _, value in kept]


def trend(name: str, unit: str, seconds: Sequence[float], values: Sequence[float], limit_per_hour: float) -> Trend:
    """Return how `values` moved. seconds: when each was taken, rising; at least two for each block after the warm-up."""
    at, kept = after_warm_up(seconds, values)
    size = len(kept) // BLOCKS
    if size < 2:
        raise ValueError("too few samples: run for longer")
    first = len(kept) - BLOCKS * size
    x = [sum(at[begin : begin + size]) / size for begin in range(first, len(kept), size)]
    y = [sum(kept[begin : begin + size]) / size for begin in range(first, len(kept), size)]
    mean_x, mean_y = sum(x) / BLOCKS, sum(y) / BLOCKS
    spread = sum((one - mean_x) ** 2 for one in x)
    slope = sum((one - mean_x) * (two - mean_y) for one, two in zip(x, y, strict=True)) / spread
    residue = sum((two - mean_y - slope * (one - mean_x)) ** 2 for one, two in zip(x, y, strict=True))
    error = (residue / (BLOCKS - 2) / spread) ** 0.5
    return Trend(name, unit, slope * HOUR_S, T_95 * error * HOUR_S, limit_per_hour, mean_y, kept[-1])

"""Ports: what the gateway keeps, as small protocols; one adapter per module.

TraceStore: why each request went where it went; bounded, may be lost. StateStore: what must survive a restart: the
master key's hash and the rollout percentages that were set at run time; a few rows, every change kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec


class RolloutChange(msgspec.Struct, frozen=True):
    """One `rollout set`. bases: what config and environment said when it was made ("10 from turnout.yaml"), to whoever
    made it and to a gateway that was running: once they say something else, this no longer holds.
    at: Unix seconds. by: who, in words; "" for the configuration itself, which has overruled an earlier change.
    """

    name: str
    percent: float
    bases: tuple[str, ...]
    at: float
    by: str

    def is_same_decision(self, other: RolloutChange) -> bool:
        """Whether both tell of one `rollout set`, as seen from different places."""
        return (self.name, self.percent, self.at, self.by) == (other.name, other.percent, other.at, other.by)


class TraceStore(Protocol):
    """Encoded traces by request id."""

    def add(self, ids: Sequence[str], lines: bytes) -> None:
        """Keep a batch: its request ids (at least one), and its encoded traces, one a line in the same order.

        The oldest beyond the bound go. Raises StoreError.
        """
        ...

    def get(self, request_id: str) -> bytes | None:
        """Return one encoded trace by its whole id."""
        ...

    def latest(self, count: int) -> list[bytes]:
        """Return the newest traces, newest first."""
        ...

    def close(self) -> None:
        """Release the file."""
        ...


class StateStore(Protocol):
    """Small facts that survive."""

    def get_fact(self, name: str) -> bytes | None:
        """Return a fact."""
        ...

    def put_fact(self, name: str, value: bytes) -> None:
        """Write a fact, durably."""
        ...

    def add_rollout_change(self, change: RolloutChange) -> None:
        """Append a change, durably; one that is there already gains its bases."""
        ...

    def rollout_changes(self) -> dict[str, RolloutChange]:
        """Return the newest change per rollout."""
        ...

    def version(self) -> int:
        """Return a number that differs after another process has written. Cheap enough to ask every half second."""
        ...

    def close(self) -> None:
        """Release the file."""
        ...

"""Ports: what the gateway keeps, as small protocols; one adapter per module.

TraceStore: why each request went where it went; bounded, may be lost. StateStore: what must survive a restart: the
master key's hash and the rollout percentages that were set at run time; a few rows, every change kept. AnswerStore: what
was answered to requests with an Idempotency-Key, for a day. Database: the books (core/books), in SQLite or PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, Protocol, TypeVar

import msgspec

from turnout.core.books.statements import Steps

T = TypeVar("T")


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

    def put_fact(self, name: str, value: bytes, *, is_lasting: bool = True) -> None:
        """Write a fact, durably. is_lasting: False where a power cut may take it (a kill may not): that is a hundred times
        cheaper.
        """
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


class Found(msgspec.Struct, frozen=True):
    """What stands in a slot. mine: nothing did, and now it is the asker's to fill. busy: another process is at it.
    other: it belongs to another request. kept: an answer.

    id: of the answer. head, pieces: as given to `finish`, and how many there are.
    """

    state: Literal["mine", "busy", "other", "kept"]
    id: int = 0
    head: bytes = b""
    pieces: int = 0


class AnswerStore(Protocol):
    """Answers by slot, shared by the processes of one home. An answer comes in pieces and is there once it is finished.

    now: monotonic seconds, the same clock in every process of the machine. wall: Unix seconds. All from any thread; each
    raises StoreError.
    """

    def claim(self, slot: bytes, request: bytes, now: float, wall: float) -> Found:
        """Look into a slot, and take it if nobody has it: the asker then renews it, and fills or releases it.

        request: what stands for the request that the slot belongs to.
        """
        ...

    def renew(self, ids: Sequence[int], now: float) -> None:
        """Say that their owner is alive."""
        ...

    def add(self, id_: int, first: int, pieces: Sequence[bytes | memoryview]) -> None:
        """Write pieces of an answer, numbered from `first` on. The claim must be the caller's still."""
        ...

    def finish(self, id_: int, first: int, pieces: Sequence[bytes | memoryview], head: bytes, wall: float) -> None:
        """Write the last pieces and what goes before them: from now on it is kept, durably."""
        ...

    def release(self, id_: int) -> None:
        """Empty the slot."""
        ...

    def piece(self, id_: int, number: int) -> bytes | None:
        """Return one piece of a kept answer, None if it is gone."""
        ...

    def close(self) -> None:
        """Release the file."""
        ...


class CacheLevel(Protocol):
    """Answers that several gateways share, beneath the memory of each. It may lose any of them at any time.

    Keys name workspace and question (core/caching.py), so that one is found by who may see it and by nobody else; values
    are opaque. Nothing here raises: a store that is gone, slow or broken knows nothing and keeps nothing.
    """

    async def get(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """Return what is held under each key, in order. It takes one round trip, and 50 ms at most, once."""
        ...

    async def put(self, key: bytes, value: bytes, ttl_s: float) -> None:
        """Hold `value` for `ttl_s`. Nobody waits for it."""
        ...

    async def clear(self) -> int:
        """Forget everything; return how many, as far as known."""
        ...


class Database(Protocol):
    """The books. Every call is one transaction, as core/books/statements.py says, and raises StoreError: then nothing of it
    happened (but for a server that is lost in the COMMIT itself: what is written is safe to write twice). `steps` is called again where a transaction is tried again.
    """

    async def open(self) -> None:
        """Connect, and bring the tables to this program's version. Raises StoreError, also for a newer version than ours.
        A server that cannot be reached now is no error: then that is done by the first transaction that reaches it.
        """
        ...

    async def write(self, steps: Callable[[], Steps[T]]) -> T:
        """Run a transaction that may change something; it sees, and is seen, as if it ran alone."""
        ...

    async def read(self, steps: Callable[[], Steps[T]]) -> T:
        """Run one that changes nothing. It waits for no writer."""
        ...

    async def wait(self, since: int) -> int:
        """Return the number of the latest change to who may ask (table `change`), once it is above `since`: at once where
        the database says so itself (LISTEN), else by looking four times a second.
        """
        ...

    async def backup(self, file: Path, *, is_gentle: bool = True) -> None:
        """Write the books as they are at one moment into `file`, which is there and empty: a SQLite file, wherever the
        books are. Nobody waits for it meanwhile; is_gentle: nor for the disk (`stores/pace.py`). Raises StoreError.
        """
        ...

    async def restore(self, file: Path) -> None:
        """Make a backup's books ours, before `open`. Raises StoreError, also where there are books already."""
        ...

    async def close(self) -> None:
        """Let go of it, after what is under way."""
        ...

"""Seals the answers that are kept for requests with an Idempotency-Key: they may hold what a task's prompts had masked.

Each piece is bound to its answer and its place in it, so that none can be put where another was. What cannot be opened (the
root key is another one) is an error and not served anew: whoever repeats a request must not be billed twice for it.
Cost: 3 µs a piece and 1 µs for every 2 kB, in the thread that writes. Source: DESIGN §6, RELIABILITY R8.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from turnout.core.sealing import Sealer, Unreadable
from turnout.errors import StoreError
from turnout.gateway.clock import Clock
from turnout.gateway.vault import nonce
from turnout.stores import AnswerStore, Found

PURPOSE: Final = "kept answer"


class SealedAnswers:
    """An AnswerStore over another one, which sees nothing but sealed bytes. root: the root key. See AnswerStore."""

    def __init__(self, store: AnswerStore, root: bytes, clock: Clock) -> None:
        self._store = store
        self._sealer = Sealer(root, PURPOSE)
        self._clock = clock

    def claim(self, slot: bytes, request: bytes, now: float, wall: float) -> Found:
        """Look into a slot. StoreError also for an answer that cannot be opened."""
        found = self._store.claim(slot, request, now, wall)
        if found.state != "kept":
            return found
        return msgspec.structs.replace(found, head=self._opened(found.head, found.id, "head"))

    def renew(self, ids: Sequence[int], now: float) -> None:
        """Say that their owner is alive."""
        self._store.renew(ids, now)

    def add(self, id_: int, first: int, pieces: Sequence[bytes | memoryview]) -> None:
        """Write pieces."""
        self._store.add(id_, first, self._sealed(id_, first, pieces))

    def finish(self, id_: int, first: int, pieces: Sequence[bytes | memoryview], head: bytes, wall: float) -> None:
        """Write the last pieces and the head."""
        (sealed,) = self._sealed(id_, "head", [head])
        self._store.finish(id_, first, self._sealed(id_, first, pieces), sealed, wall)

    def release(self, id_: int) -> None:
        """Empty the slot."""
        self._store.release(id_)

    def piece(self, id_: int, number: int) -> bytes | None:
        """Return one piece, None if it is gone."""
        sealed = self._store.piece(id_, number)
        return None if sealed is None else self._opened(sealed, id_, number)

    def close(self) -> None:
        """Release the file."""
        self._store.close()

    def _sealed(self, id_: int, first: int | str, pieces: Sequence[bytes | memoryview]) -> list[bytes]:
        """first: the number of the first of `pieces`, or the name of the only one."""
        return [
            self._sealer.seal(
                bytes(piece), nonce(self._clock), _record(id_, first + at if isinstance(first, int) else first)
            )
            for at, piece in enumerate(pieces)
        ]

    def _opened(self, sealed: bytes, id_: int, place: int | str) -> bytes:
        plain = self._sealer.open(sealed, _record(id_, place))
        if isinstance(plain, Unreadable):
            raise StoreError(
                f"The answer that was kept for this Idempotency-Key cannot be opened: {plain.why}. Use another key to ask anew."
            )
        return plain


def _record(id_: int, place: int | str) -> str:
    return f"{id_}/{place}"

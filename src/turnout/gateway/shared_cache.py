"""Holds answers in Valkey, where every gateway finds them: the second level of the cache.

It knows nothing while there is no contact, and keeps nothing then. One round trip for all keys of a question. An answer
that is large stays with its own gateway, since on the one connection everything else would wait behind it; so do answers
that come faster than the server takes them.
Sources: RELIABILITY R6, R12, T60, T62.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from turnout.errors import StoreError
from turnout.gateway.valkey_link import ValkeyLink

PREFIX: Final = b"turnout:cache:"

ANSWER_BYTES: Final = 128 * 1024
"""The longest that is shared: on a line of 100 Mbit/s it takes 10 ms, a fifth of what a command may take."""

UNDER_WAY_BYTES: Final = 512 * 1024
"""Written and not yet acknowledged, at most; four of the longest."""

SCAN_COUNT: Final = 500
"""Keys that one step of `clear` looks at: about a millisecond of the server's time."""


class ValkeyLevel:
    """Answers that the gateways of one Valkey share. Implements stores.CacheLevel. missed: put that were not held."""

    def __init__(self, link: ValkeyLink) -> None:
        self._link = link
        self._under_way = 0
        self.missed = 0

    async def get(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """Return what is held under each key, in order."""
        nothing = [None] * len(keys)
        if not keys or not self._link.is_up:
            return nothing
        try:
            found = await self._link.ask("MGET", *(PREFIX + key for key in keys))
        except StoreError:
            return nothing
        if not isinstance(found, list) or len(found) != len(keys):
            return nothing
        return [one if isinstance(one, bytes) else None for one in found]

    async def put(self, key: bytes, value: bytes, ttl_s: float) -> None:
        """Hold `value` for `ttl_s`, if it is not too large and there is contact."""
        size = len(value)
        if size > ANSWER_BYTES or self._under_way + size > UNDER_WAY_BYTES or ttl_s < 0.001 or not self._link.is_up:
            self.missed += 1
            return
        self._under_way += size
        try:
            await self._link.ask("SET", PREFIX + key, value, "PX", int(ttl_s * 1000))
        except StoreError:
            self.missed += 1
        finally:
            self._under_way -= size

    async def clear(self) -> int:
        """Forget everything; return how many, as far as known. O(keys of the server)."""
        removed, cursor = 0, b"0"
        try:
            while self._link.is_up:
                step = await self._link.ask("SCAN", cursor, "MATCH", PREFIX + b"*", "COUNT", SCAN_COUNT)
                if not (isinstance(step, list) and len(step) == 2 and isinstance(step[1], list)):
                    break
                cursor, keys = step
                if keys:
                    gone = await self._link.ask("UNLINK", *keys)
                    removed += gone if isinstance(gone, int) else 0
                if cursor == b"0":
                    break
        except StoreError:
            pass
        return removed

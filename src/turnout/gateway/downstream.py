"""Names the client's side of one exchange, as the engine sees it: answer whole, or start, write, finish or cut.

`api/exchange.py` implements it on a socket. Writing never waits by itself: a caller that finds `is_paused` awaits
`drain()`, so that a fast client costs no coroutine a chunk and a slow one holds the upstream back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

Head = Sequence[tuple[bytes, bytes]]


class Downstream(Protocol):
    """One client waiting for one answer. on_gone: called once if it leaves before that is complete; None: nobody cares."""

    on_gone: Callable[[], object] | None

    @property
    def is_started(self) -> bool:
        """Whether the client has been sent anything."""
        ...

    @property
    def is_paused(self) -> bool:
        """Whether the client is slower than we are."""
        ...

    def answer(self, status: int, headers: Head, body: bytes) -> None:
        """Send a whole answer."""
        ...

    def start(self, status: int, headers: Head) -> None:
        """Send the head of a streamed answer."""
        ...

    def write(self, data: bytes) -> None:
        """Send one piece; `data` is not empty."""
        ...

    async def drain(self) -> None:
        """Wait until the client has taken enough of what was written. Raises ClientDisconnected if it takes nothing."""
        ...

    def finish(self) -> None:
        """End the streamed answer properly."""
        ...

    def cut(self) -> None:
        """End the connection without the last chunk: what the client has is not whole, and its HTTP library knows."""
        ...

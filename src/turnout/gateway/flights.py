"""Gives one answer to many clients: a Flight is an answer on its way, and everybody who asked for it reads along.

To the engine a Flight is the client (a Downstream): it writes the answer once. To each client the Flight writes what was
said before it came, and from then on whatever comes, as it comes. Rules:
* The one who asked first leads: its task asks upstream, and its trace has the attempts. If it leaves, the flight goes on
  for the others; when the last one leaves, the leader's task is cancelled, as it is for a request of its own.
* Nobody waits for a slow reader: it reads at its own pace from what was said. The quickest of all sets the upstream's.
* What was said is held until the end, for who comes late and for the cache. An answer that grows beyond the bound is not:
  nobody joins any more, and it is held only for who is behind; and then even the quickest waits, so that memory is bounded,
  but not for whoever takes nothing at all: that one is cut off.
* How it ends, it ends for all: with the end, or with the same failure. A leader that was cancelled by itself is none:
  who has seen nothing yet is told to ask anew (`follow` returns False).

Writing costs one copy into the buffer, and one write for each client that keeps up. No task is woken a chunk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from turnout.errors import ClientDisconnected, GatewayError, StreamInterrupted
from turnout.gateway.downstream import Downstream, Head
from turnout.gateway.tasks import Tasks

PIECE_BYTES = 64 * 1024
"""How much is written to a client at once that has to catch up; after that it is seen whether it takes it."""


PATIENCE_S = 2.0
"""How long those who keep up wait for the slowest to take another piece. An answer so long is minutes of a model's words."""


class Reader:
    """One client of a flight. head: makes its own head of the leader's. at: how many bytes it has had.

    is_begun: it has the head of a stream. is_cut_off: others could not wait for it.
    """

    __slots__ = ("at", "down", "head", "is_begun", "is_cut_off", "woken")

    def __init__(self, down: Downstream, head: Callable[[Head], Head]) -> None:
        self.down = down
        self.head = head
        self.at = 0
        self.is_begun = False
        self.is_cut_off = False
        self.woken: asyncio.Future[None] | None = None

    def begin(self, status: int, head: Head) -> None:
        """Give it the head of a stream."""
        self.is_begun = True
        self.down.start(status, self.head(head))


class Flight:
    """One answer on its way: a Downstream for the engine.

    leader: the client whose request it is. bound_bytes: the longest answer that is held whole. error_event: makes the bytes
    that tell an error inside a stream. is_open: whether somebody may still join.
    """

    def __init__(
        self,
        leader: Downstream,
        *,
        bound_bytes: int,
        tasks: Tasks,
        error_event: Callable[[GatewayError], bytes],
        patience_s: float = PATIENCE_S,
    ) -> None:
        self.is_open = True
        self.on_gone: Callable[[], object] | None = None
        self._bound_bytes = bound_bytes
        self._patience_s = patience_s
        self._tasks = tasks
        self._error_event = error_event
        self._leader = Reader(leader, lambda head: head)
        self._cancel = leader.on_gone
        self._why_gone: ClientDisconnected | None = None
        self._catching_up: asyncio.Task[None] | None = None  # the leader, which has no task of its own to read in
        self._readers = {self._leader}
        self._live: dict[Reader, None] = {self._leader: None}  # those that have had all that was said, in order
        self._room: asyncio.Future[None] | None = None
        self._status = 0
        self._head: Head = ()
        self._whole: bytes | None = None
        self._said = bytearray()
        self._dropped = 0  # how many bytes were said before those
        self._is_cut = False
        self._is_over = False
        self._failure: GatewayError | None = None
        leader.on_gone = self._leader_left

    # ── what the engine sees ──

    @property
    def is_started(self) -> bool:
        """Whether anything was said."""
        return self._status != 0

    @property
    def is_paused(self) -> bool:
        """Whether nobody takes more now, or those who are behind have too much left to read."""
        return not self._live or len(self._said) > 2 * self._bound_bytes

    def answer(self, status: int, headers: Head, body: bytes) -> None:
        """Give a whole answer to all."""
        self._status, self._head, self._whole = status, headers, body
        self.is_open = len(body) <= self._bound_bytes
        if self._leader in self._live:
            self._leader.down.answer(status, headers, body)
        self._land()

    def start(self, status: int, headers: Head) -> None:
        """Begin a stream."""
        self._status, self._head = status, headers
        for reader in self._live:
            reader.begin(status, headers)

    def write(self, data: bytes) -> None:
        """Say one piece."""
        self._said += data
        slow = []
        for reader in self._live:
            down = reader.down
            down.write(data)
            if down.is_paused:
                slow.append(reader)
        for reader in slow:
            self._fall_behind(reader)
        if len(self._said) > self._bound_bytes:
            self.is_open = False
            self._drop()

    async def drain(self) -> None:
        """Wait until somebody takes more. Raises ClientDisconnected if everybody has left."""
        while self.is_paused:
            if not self._readers:
                raise self._why_gone or ClientDisconnected("every client left")
            self._room = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(self._patience_s if self._live else None):
                    await self._room
            except TimeoutError:
                self._cut_off_slowest()
            finally:
                self._room = None

    def _cut_off_slowest(self) -> None:
        """Hold nothing more for whoever is furthest behind: others would wait for it."""
        behind = [reader for reader in self._readers if reader not in self._live]
        last = min((reader.at for reader in behind), default=0)
        for reader in behind:
            if reader.at == last:
                reader.is_cut_off = True
                self._readers.discard(reader)
                reader.down.cut()
        self._drop()

    def finish(self) -> None:
        """End a stream properly, for all."""
        leader = self._leader
        if self._catching_up is not None and leader.at == self._dropped + len(self._said):
            self._catching_up.cancel()  # it only waits for the client to take what it was given: that needs nobody
            self._catching_up = None
            self._live[leader] = None
        if leader in self._live:
            leader.down.finish()
        self._land()

    def cut(self) -> None:
        """End it without its end; `end` says why."""
        self._is_cut = True
        if self._leader in self._live:
            self._leader.down.cut()

    # ── what the cache does ──

    @property
    def body(self) -> bytes | None:
        """All that was said, once it ended properly; None if it did not, or was too long to be held."""
        if not self._is_over or self._failure is not None or not self.is_open:
            return None
        return bytes(self._said) if self._whole is None else self._whole

    def end(self, failure: GatewayError | None) -> None:
        """The leader's request has ended: its client is its own again, and who leaves from now on cancels it.

        If no answer has ended before, it fails for all: with `failure`, or None: that is the leader's affair alone.
        """
        if self._why_gone is None:
            self._leader.down.on_gone = self._cancel
        if not self._is_over:
            self.is_open = False
            self._failure = failure or _Abandoned("The request that this answer was made for was ended")
            if self._catching_up is not None:
                self._catching_up.cancel()
            self._land()

    async def settle(self) -> None:
        """Wait until the leader has had the answer. Raises ClientDisconnected if it has left."""
        if self._catching_up is not None and self._why_gone is None:
            await self._catching_up
        if self._why_gone is not None:
            raise self._why_gone

    async def follow(self, down: Downstream, head: Callable[[Head], Head]) -> bool:
        """Give a client the answer, from its beginning to its end. head: makes its head of the leader's.

        Only while `is_open`, looked at in the same step: what a flight has forgotten it cannot give.
        Returns False if it must ask anew: the flight has been given up before this client saw anything. Raises the
        flight's failure, with the stream ended by it; ClientDisconnected if the client takes nothing for long.
        """
        reader = Reader(down, head)
        self._readers.add(reader)
        try:
            while True:
                await self._catch_up(reader)
                if self._is_over:
                    break
                self._live[reader] = None
                self._let_on()
                reader.woken = asyncio.get_running_loop().create_future()
                await reader.woken
        finally:
            self._leave(reader)
        return self._end(reader)

    # ── one reader ──

    async def _catch_up(self, reader: Reader) -> None:
        """Give it what it has not had; return when that is nothing, and it takes more."""
        down = reader.down
        while True:
            if self._status and self._whole is None and not reader.is_begun:
                reader.begin(self._status, self._head)
            at = reader.at - self._dropped
            if at == len(self._said) and (self._is_over or not down.is_paused):
                return
            if down.is_paused:
                await down.drain()
                if reader.is_cut_off:
                    raise ClientDisconnected("the client took nothing while others waited for it")
                continue
            piece = bytes(self._said[at : at + PIECE_BYTES])
            down.write(piece)
            reader.at += len(piece)
            if not self.is_open:
                self._drop()

    async def _catch_up_leader(self) -> None:
        """The same for the leader, and its end if that has come meanwhile."""
        leader = self._leader
        try:
            await self._catch_up(leader)
        except ClientDisconnected as left:
            self._why_gone = left
            self._cancel = None  # that is for who has gone; this one's request ends by `drain`, or with the answer
            self._leave(leader)
            return
        if not self._is_over:
            self._catching_up = None
            self._live[leader] = None
            self._let_on()
        elif self._failure is None:
            leader.down.finish()

    def _end(self, reader: Reader) -> bool:
        """End a follower's answer as the flight has ended. Returns False if it must ask anew; raises the failure."""
        failure = self._failure
        if failure is None:
            if self._whole is None:
                reader.down.finish()
            else:
                reader.down.answer(self._status, reader.head(self._head), self._whole)
            return True
        if reader.is_begun:
            if not self._is_cut:
                reader.down.write(self._error_event(failure))
            reader.down.cut()
        elif isinstance(failure, _Abandoned):
            return False
        raise _once_more(failure)

    def _fall_behind(self, reader: Reader) -> None:
        """It takes nothing more for now: from here on it reads at its own pace."""
        del self._live[reader]
        reader.at = self._dropped + len(self._said)
        if reader is self._leader:
            self._catching_up = self._tasks.start(self._catch_up_leader(), "a slow reader catches up")
        else:
            _wake(reader.woken)

    def _leave(self, reader: Reader) -> None:
        """Forget a reader; without any, there is nobody to ask for."""
        if reader not in self._readers:
            return
        self._readers.discard(reader)
        self._live.pop(reader, None)
        if not self._readers and not self._is_over:
            self.is_open = False
            if self._room is None and self._cancel is not None:
                self._cancel()
        if not self.is_open:
            self._drop()  # what was held for this one alone
        self._let_on()

    def _leader_left(self) -> None:
        self._why_gone = ClientDisconnected("the client left")
        if self._catching_up is not None:
            self._catching_up.cancel()
        self._leave(self._leader)

    # ── all of them ──

    def _land(self) -> None:
        """It has ended: everybody goes to their own end."""
        self._is_over = True
        at = self._dropped + len(self._said)
        for reader in self._live:
            reader.at = at
            _wake(reader.woken)
        self._live.clear()

    def _let_on(self) -> None:
        """Somebody takes more, or has left: the engine may look again."""
        _wake(self._room)

    def _drop(self) -> None:
        """Forget what everybody has had, and let the engine look again if it is much."""
        end = self._dropped + len(self._said)
        had = min((reader.at for reader in self._readers if reader not in self._live), default=end) - self._dropped
        if had == len(self._said) or had >= PIECE_BYTES:
            del self._said[:had]
            self._dropped += had
            self._let_on()


class _Abandoned(StreamInterrupted):
    """The leader was ended by itself."""


def _wake(waiting: asyncio.Future[None] | None) -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(None)


def _once_more(failure: GatewayError) -> GatewayError:
    """Return a copy of a failure: each client's task raises its own, as raising writes into it."""
    copy = type(failure).__new__(type(failure), *failure.args)
    copy.__dict__.update(failure.__dict__)
    copy.__cause__ = failure.__cause__
    return copy

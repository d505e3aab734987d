"""Passes the bytes of TCP connections on as badly as it is told: late, slowly, in crumbs, torn, damaged, or not at all.

    async with FaultProxy(host, port, "down:reset=120") as proxy:   # … proxy.port stands before host:port
        proxy.use("delay=50ms")              # for the connections to come
        proxy.queue.append("up:never-read")  # for the next one only
        proxy.cut_all()                      # RST to everybody, now

It knows no protocol, so it stands before an upstream, a store or a client alike. What a plan says is read and decided in
`core/simulation/wire_faults.py`; here it is done.

Rules. Nothing is held without bound: each way keeps at most HELD_PIECES pieces of 16 KiB, and the kernel's buffers are
made small, so who writes faster than the other side reads is made to wait, as without a proxy. (So a delay of T carries at
most 256 KiB in T.) What one side does reaches the other: its FIN as FIN, its RST as RST. A connection for which the server
cannot be reached is reset. For loopback and drills: it authenticates nobody and bounds no number of connections.

Draws of jitter depend on the seed, the connection's number, the way and the number of the read: how reads fall depends on
the kernel, so a run repeats its draws, not its microseconds.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from struct import pack
from typing import Final, Self

from turnout.core.simulation.chance import Chance
from turnout.core.simulation.wire_faults import (
    BLACK_HOLE,
    LARGEST_PIECE_BYTES,
    NEVER_READ,
    NONE,
    RESET,
    TRUNCATE,
    Plan,
    Way,
    passing,
    pieces,
    read,
)
from turnout.gateway.tasks import Tasks

HELD_PIECES: Final = 16
"""On each way of a connection: 256 KiB."""

KERNEL_BYTES: Final = 64 * 1024
"""Asked for each socket's buffers (Linux doubles it, socket(7)): by default a buffer grows to megabytes, and what hides in
it makes a slow reader look quick."""

CREDIT_S: Final = 0.05
"""What a bandwidth may catch up after the loop woke it late."""

_LINGER_NOT: Final = pack("ii", 1, 0)
"""SO_LINGER on for 0 s: close() sends RST and throws away what was not sent (socket(7))."""

_FIN: Final = "fin"
_Held = tuple[float, bytes, str]
"""When it is due (the loop's seconds), the bytes, and how the way ends with them: as the plan says, _FIN, or NONE: not yet."""


class FaultProxy:
    """A listener on listen_host:listen_port (0: a free one) before host:port. plan: a text or a Plan, for each connection.

    queue: plans for the next connections, one each, before `plan` counts again. accepted: connections so far.
    passed: bytes given to each side so far, by way. Raises ValueError for a plan that cannot be read.
    """

    def __init__(
        self,
        host: str,
        port: int,
        plan: Plan | str = "",
        *,
        seed: int = 1,
        listen_host: str = "127.0.0.1",
        listen_port: int = 0,
    ) -> None:
        self.target = (host, port)
        self.host = listen_host
        self.port = listen_port
        self.seed = seed
        self.queue: deque[Plan | str] = deque()
        self.accepted = 0
        self.passed = {"up": 0, "down": 0}
        self._live: set[_Connection] = set()
        self._tasks = Tasks()
        self._listener: socket.socket | None = None
        self.use(plan)

    @property
    def live(self) -> int:
        """Connections that stand now."""
        return len(self._live)

    def use(self, plan: Plan | str) -> None:
        """Set the plan of the connections to come; those that stand keep theirs."""
        self.plan = read(plan) if isinstance(plan, str) else plan

    def cut_all(self) -> int:
        """RST both sides of every connection that stands; return how many. They are gone in the next turns of the loop."""
        cut = tuple(self._live)
        for connection in cut:
            connection.cut()
        return len(cut)

    async def start(self) -> None:
        """Listen. Raises OSError if the address is taken."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._listener = socket.create_server((self.host, self.port), family=family, backlog=2048)
        _prepare(self._listener)  # what is accepted inherits it
        self.port = self._listener.getsockname()[1]
        self._listener.setblocking(False)
        asyncio.get_running_loop().add_reader(self._listener, self._accept, self._listener)

    async def stop(self) -> None:
        """Close the listener and every connection, and wait until all is over. Safe to call twice."""
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        await self._tasks.stop()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    def _accept(self, listener: socket.socket) -> None:
        try:
            client, _ = listener.accept()
        except OSError:  # who came has left again, or there is no descriptor for him: the kernel tells us anew
            return
        plan = self.queue.popleft() if self.queue else self.plan
        self.accepted += 1
        connection = _Connection(self, client, read(plan) if isinstance(plan, str) else plan, self.accepted)
        self._live.add(connection)
        name = f"connection {self.accepted} of the fault proxy on {self.port}"
        connection.task = self._tasks.start(connection.run(), name)
        connection.task.add_done_callback(lambda _: self._forget(connection))

    def _forget(self, connection: _Connection) -> None:
        connection.close()  # a task that is cancelled before its first step runs no `finally`
        self._live.discard(connection)


class _Connection:
    """One client's connection and the one to the server; each way is read by one coroutine and written by another."""

    def __init__(self, proxy: FaultProxy, client: socket.socket, plan: Plan, number: int) -> None:
        self.task: asyncio.Task[None] | None = None
        self._proxy = proxy
        self._plan = plan
        self._chance = Chance(proxy.seed, b"fault proxy", number)
        self._client = client
        family = socket.AF_INET6 if ":" in proxy.target[0] else socket.AF_INET
        self._server = socket.socket(family, socket.SOCK_STREAM)
        self._is_deaf = False
        for side in (client, self._server):
            side.setblocking(False)
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def run(self) -> None:
        """Connect; pass on both ways until both have ended."""
        loop = asyncio.get_running_loop()
        _prepare(self._server)
        try:
            await loop.sock_connect(self._server, self._proxy.target)
            async with asyncio.TaskGroup() as group:
                for name, way, source, sink in (
                    ("up", self._plan.up, self._client, self._server),
                    ("down", self._plan.down, self._server, self._client),
                ):
                    held: asyncio.Queue[_Held] = asyncio.Queue(HELD_PIECES)
                    group.create_task(self._take(loop, name, way, source, held))
                    group.create_task(self._give(loop, name, way, held, sink))
        except* OSError:  # a plan says so, a side reset or left, or there is no server: both are to see a reset
            self._will_reset()
        finally:
            self.close()

    def cut(self) -> None:
        """End now, with RST to both sides."""
        self._will_reset()
        assert self.task is not None
        self.task.cancel()

    def close(self) -> None:
        """Close both sockets. Safe to call twice."""
        self._client.close()
        self._server.close()

    def _will_reset(self) -> None:
        for side in (self._client, self._server):
            if side.fileno() >= 0:
                side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)

    async def _take(
        self, loop: asyncio.AbstractEventLoop, name: str, way: Way, source: socket.socket, held: asyncio.Queue[_Held]
    ) -> None:
        """Read one way into `held` until it ends, then read on for nobody, so that its source can end in peace."""
        if way.end == NEVER_READ:
            await asyncio.Event().wait()  # until the connection is cut or the proxy stopped
        offset = turn = 0
        is_over = False
        while data := await loop.sock_recv(source, LARGEST_PIECE_BYTES):
            if is_over or self._is_deaf:
                continue
            due = loop.time() + way.delay_s
            if way.jitter_s:
                turn += 1
                due += way.jitter_s * self._chance.draw(f"{name} {turn}")
            passed, is_over = passing(way, offset, data)
            offset += len(data)
            await held.put((due, passed, way.end if is_over else NONE))
        is_hole = way.end == BLACK_HOLE and offset >= way.end_at
        if not is_over:
            await held.put((loop.time() + way.delay_s, b"", BLACK_HOLE if is_hole else _FIN))
        if is_hole and name == "up":
            raise ConnectionResetError  # the client has left, and what he says cannot tell the server

    async def _give(
        self, loop: asyncio.AbstractEventLoop, name: str, way: Way, held: asyncio.Queue[_Held], sink: socket.socket
    ) -> None:
        """Write what is due, as fast as the way allows, then end the way as the plan or its source does."""
        free_at = 0.0
        end = NONE
        while not end:
            due, data, end = await held.get()
            await _until(loop, due)
            for piece in pieces(way, data):
                await _until(loop, free_at)
                if self._is_deaf:
                    break
                await loop.sock_sendall(sink, piece)
                self._proxy.passed[name] += len(piece)
                if way.bytes_per_s:
                    free_at = max(free_at, loop.time() - CREDIT_S) + len(piece) / way.bytes_per_s
                if way.slice_bytes:
                    await _others_turn()
        if end == RESET:
            raise ConnectionResetError
        if end == TRUNCATE:
            self._is_deaf = True
            self._client.shutdown(socket.SHUT_WR)
            self._server.shutdown(socket.SHUT_WR)
        elif end != BLACK_HOLE:
            sink.shutdown(socket.SHUT_WR)


def _prepare(side: socket.socket) -> None:
    """Make the kernel's buffers small. Before the connection stands: its window is agreed upon then."""
    side.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BYTES)
    side.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BYTES)


async def _others_turn() -> None:
    """Let a reader on this loop take what was written before more is: the next poll sees it, the turn after that reads."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def _until(loop: asyncio.AbstractEventLoop, at: float) -> None:
    """Wait for an instant of the loop's clock."""
    wait_s = at - loop.time()
    if wait_s > 0:
        await asyncio.sleep(wait_s)

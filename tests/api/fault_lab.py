"""A server, the fault proxy before it, and clients: what the tests of the proxy look through."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

from turnout.api.fault_proxy import FaultProxy
from turnout.core.simulation.wire_faults import Plan

PATIENCE_S = 10.0
SILENCE_S = 0.1


class End:
    """One side of a connection: what a program at that end reads and writes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def say(self, data: bytes, *, is_last: bool = False) -> None:
        """Write; then FIN, if these are the last words."""
        self.writer.write(data)
        if is_last:
            self.writer.write_eof()

    async def hear(self, count: int) -> bytes:
        """Read exactly so many bytes."""
        return await asyncio.wait_for(self.reader.readexactly(count), PATIENCE_S)

    async def all(self) -> tuple[bytes, bool]:
        """Return every byte until the connection ends, and whether it ended with RST."""
        received = bytearray()
        async with asyncio.timeout(PATIENCE_S):
            try:
                while data := await self.reader.read(65536):
                    received += data
            except ConnectionResetError:
                return bytes(received), True
        return bytes(received), False

    async def is_silent(self) -> bool:
        """Whether neither a byte nor an end comes for a while."""
        try:
            await asyncio.wait_for(self.reader.read(1), SILENCE_S)
        except TimeoutError:
            return True
        return False

    def reset(self) -> None:
        """Close with RST."""
        linger = (1).to_bytes(4, "little") + (0).to_bytes(4, "little")
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()


class Lab:
    """A server, a proxy before it, and clients that come to the proxy."""

    def __init__(self, proxy: FaultProxy, arrivals: asyncio.Queue[End]) -> None:
        self.proxy = proxy
        self.ends: list[End] = []
        self._arrivals = arrivals

    async def come(self) -> End:
        """Open a connection to the proxy."""
        near = End(*await asyncio.open_connection(self.proxy.host, self.proxy.port))
        self.ends.append(near)
        return near

    async def pair(self) -> tuple[End, End]:
        """Open a connection to the proxy; return its two ends: the client's, the server's."""
        return await self.come(), await self.arrived()

    async def arrived(self) -> End:
        """Return the server's end of the next connection."""
        far = await asyncio.wait_for(self._arrivals.get(), PATIENCE_S)
        self.ends.append(far)
        return far

    async def emptied(self) -> None:
        """Wait until the proxy has no connection."""
        async with asyncio.timeout(PATIENCE_S):
            while self.proxy.live:
                await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def lab(plan: Plan | str = "", *, host: str = "127.0.0.1", seed: int = 1) -> AsyncIterator[Lab]:
    """Start server and proxy; end them and every connection."""
    arrivals: asyncio.Queue[End] = asyncio.Queue()
    server = await asyncio.start_server(lambda *one: arrivals.put_nowait(End(*one)), host, 0)
    port = server.sockets[0].getsockname()[1]
    async with FaultProxy(host, port, plan, seed=seed, listen_host=host) as proxy:
        one = Lab(proxy, arrivals)
        try:
            yield one
        finally:
            while not arrivals.empty():
                one.ends.append(arrivals.get_nowait())
            for end in one.ends:
                end.writer.transport.abort()
            server.close()
            await server.wait_closed()

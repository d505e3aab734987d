"""Plays many clients at once on plain sockets: those that read slowly or not at all, those that idle, and quick ones that are
timed beside them.

A plain socket reads nothing by itself, unlike a stream of asyncio, so that "stops reading" is what the gateway sees.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import statistics
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from time import perf_counter
from typing import Any

import httpx2

from tests.process import Served, SimulatedVendor

CONFIG = """
defaults: false
server: {{send_timeout: {send_s}, idle_timeout: {idle_s}, concurrency: 2000}}
providers:
  stub: {{kind: compatible, base_url: "{url}", api_key: sk-canary-stub-key-1}}
models:
  long: {{provider: stub, id: long, price: free}}
  quick: {{provider: stub, id: quick, price: free}}
"""
FEW_BYTES = 4096
"""A small window: what a client's own kernel takes for it is no concern of ours here."""
PATIENCE_S = 20.0


def chat(served: Served, model: str, *, stream: bool) -> bytes:
    """One request as bytes."""
    body = json.dumps({"model": model, "stream": stream, "messages": [{"role": "user", "content": "hej"}]}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {served.key}\r\n"
    return head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body


def rss_bytes(pid: int) -> int:
    """Resident memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


def descriptors(pid: int) -> int:
    """How many files a process has open."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def connections_to(port: int) -> int:
    """How many connections stand on this machine to a port of it."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(1 for row in rows if row[2].endswith(f":{port:04X}") and row[3] == "01")


def address_of(served: Served) -> tuple[str, int]:
    """Host and port."""
    host, _, port = served.url.removeprefix("http://").rpartition(":")
    return host, int(port)


async def open_socket(served: Served, request: bytes = b"", *, source: str = "", window: int = 0) -> socket.socket:
    """Connect and send `request`. source: the address to come from. window: bytes that our kernel takes unread."""
    loop = asyncio.get_running_loop()
    one = socket.socket()
    try:
        one.setblocking(False)
        if window:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        if source:
            one.setsockopt(socket.IPPROTO_IP, socket.IP_BIND_ADDRESS_NO_PORT, 1)
            one.bind((source, 0))
        await loop.sock_connect(one, address_of(served))
        await loop.sock_sendall(one, request)
    except BaseException:
        one.close()
        raise
    return one


async def read_by_drops(sockets: Iterable[socket.socket], every_s: float) -> None:
    """Read one byte of each every so often, until cancelled."""
    while True:
        await asyncio.sleep(every_s)
        for one in sockets:
            with suppress(BlockingIOError, ConnectionError):
                one.recv(1)


def has_ended(one: socket.socket) -> bool:
    """Whether the other side has closed by now a connection on which nothing waits to be read."""
    try:
        return not one.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


async def is_closed(one: socket.socket, within_s: float = PATIENCE_S) -> bool:
    """Read what our kernel holds; return whether the other side has ended it after that, in so many seconds."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(within_s):
            while await loop.sock_recv(one, 1 << 20):
                pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


async def timed(one: socket.socket, request: bytes, end: bytes) -> float:
    """Ask on a connection that stays; return the seconds until `end` came."""
    loop = asyncio.get_running_loop()
    began = perf_counter()
    await loop.sock_sendall(one, request)
    answer = b""
    while not answer.endswith(end):
        data = await loop.sock_recv(one, 1 << 16)
        assert data, answer[-300:]
        answer = answer[-1000:] + data
    seconds = perf_counter() - began
    assert b"error" not in answer, answer[-300:]
    return seconds


async def compare(
    burdened: Served, free: Served, pairs: int, share: float, *, rate_hz: float = 200.0
) -> tuple[float, float, float]:
    """Ask both in turn; return the quantile `share` of each in seconds, and their ratio: the median of those of ten blocks.

    rate_hz: how often a second each is asked, at most.

    In turn, so that whatever else the machine does hurts both; a median, so that one hiccup decides nothing.
    """
    block = pairs // 10
    sides = []
    for served in (burdened, free):
        request = chat(served, "quick", stream=True)
        one = await open_socket(served)
        sides.append((one, request))
    ratios, all_took = [], ([], [])
    try:
        for _ in range(10):
            took = ([], [])
            for number in range(block):
                due = perf_counter() + 1 / rate_hz
                for side in (0, 1) if number % 2 else (1, 0):
                    took[side].append(await timed(*sides[side], b"0\r\n\r\n"))
                await asyncio.sleep(max(0.0, due - perf_counter()))
            ratios.append(quantile(took[0], share) / quantile(took[1], share))
            for side in (0, 1):
                all_took[side].extend(took[side])
    finally:
        for one, _ in sides:
            one.close()
    return quantile(all_took[0], share), quantile(all_took[1], share), statistics.median(ratios)


def quantile(seconds: Sequence[float], share: float) -> float:
    """The value below which `share` of them lie."""
    return sorted(seconds)[max(0, int(len(seconds) * share) - 1)]


async def two_gateways(
    stack: AsyncExitStack, folder: Path, *options: str, **limits: float
) -> tuple[Served, Served, SimulatedVendor]:
    """Start two of the same, each with a vendor of its own: one to burden, one to compare it with. options: of the vendors.

    limits: send_s, idle_s. Returns the gateways, and the vendor of the first.
    """
    homes = [folder / "burdened", folder / "free"]
    vendors = []
    for home in homes:
        home.mkdir()
        vendors.append(SimulatedVendor(home, *options))
    await asyncio.gather(*(stack.enter_async_context(vendor) for vendor in vendors))
    served = []
    for home, vendor in zip(homes, vendors, strict=True):
        text = CONFIG.format(url=vendor.base_url, **{"send_s": 60, "idle_s": 75, **limits})
        (home / "turnout.yaml").write_text(text)
        served.append(Served(home, vendor=vendor))
    await asyncio.gather(*(stack.enter_async_context(one) for one in served))
    return served[0], served[1], vendors[0]


async def witness(vendor: SimulatedVendor, model: str) -> list[dict[str, Any]]:
    """What the vendor wrote down of the calls of a model, as it stands now."""
    async with httpx2.AsyncClient() as client:
        book = (await client.get(f"{vendor.origin}/witness")).json()
    return [one for one in book["dispatches"] if one["model"] == model]


async def warm(served: Served, models: Iterable[str], times: int) -> None:
    """Serve some of everything first, read as fast as it comes: what that costs is no client's."""
    for model in models:
        for begin in range(0, times, 10):
            sockets = [
                await open_socket(served, chat(served, model, stream=True)) for _ in range(min(10, times - begin))
            ]
            try:
                await asyncio.gather(*(timed(one, b"", b"0\r\n\r\n") for one in sockets))
            finally:
                for one in sockets:
                    one.close()


class Client:
    """One client with one connection, opened anew when it was closed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def tell(self, data: bytes, *, leaves_after: bytes | None = None) -> bytes:
        """Send; return what came back, to the end of the answer or of the connection.

        leaves_after: close the connection as soon as these bytes have come (at once if there are none).
        """
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(data)
        if leaves_after is not None:
            answer = await reader.readuntil(leaves_after) if leaves_after else b""
            await self.close()
            return answer
        answer, is_whole = await _answer(reader)
        if not is_whole or b"\r\nconnection: close\r\n" in answer:
            await self.close()
        return answer

    async def close(self) -> None:
        """Leave."""
        if self._streams is not None:
            _, writer = self._streams
            self._streams = None
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


async def _answer(reader: asyncio.StreamReader) -> tuple[bytes, bool]:
    """Read one answer; return it, and whether it came whole."""
    answer = bytearray()
    length = -1
    head_bytes = 0
    while data := await reader.read(65536):
        answer += data
        if not head_bytes and (end := answer.find(b"\r\n\r\n")) >= 0:
            head_bytes = end + 4
            found = re.search(rb"\r\ncontent-length: (\d+)", answer[:end])
            length = int(found[1]) if found else -1
        if head_bytes and (len(answer) == head_bytes + length if length >= 0 else answer.endswith(b"0\r\n\r\n")):
            return bytes(answer), True
    return bytes(answer), False

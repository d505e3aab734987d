"""What the tests of a gateway's life and death share: a vendor that takes its time, raw streams, and a load that never rests.

async with Vendor(tmp_path, per_token_s=0.05) as vendor:
    write_config(tmp_path, vendor, grace=5)
    async with Served(tmp_path, vendor=vendor) as gateway: ...
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from turnout.api.simulator import SimulatorServer
from turnout.core.simulation.profiles import Profile
from turnout.core.simulation.world import World
from turnout.core.trace import Trace
from turnout.stores.sqlite import SqliteTraceStore

CONFIG = """defaults: false
providers: {{stub: {{kind: compatible, base_url: "{url}/v1", api_key: sk-canary-stub-key-1}}}}
models:
  slow: {{provider: stub, id: vendor/slow, price: free}}
  quick: {{provider: stub, id: vendor/quick, price: free}}
server: {{grace: {grace}, lame_duck: {lame_duck}}}
"""
PROMPT = [{"role": "user", "content": "hej"}]


class Vendor(SimulatorServer):
    """A simulated vendor whose model `vendor/slow` says `tokens` of them, `per_token_s` apart; the others are instant."""

    def __init__(self, *, tokens: int = 20, per_token_s: float = 0.0) -> None:
        self.world = World(seed=1, models={"vendor/slow": Profile(per_token_s=per_token_s), "*": Profile()})
        self.world.by_model["vendor/slow"] = f"tokens={tokens}"
        super().__init__(self.world)

    def witnessed(self, event: str = "received") -> list[dict[str, Any]]:
        """As tests.process.SimulatedVendor has it."""
        return [one.record(event) for one in self.world.witness.dispatches]


def write_config(home: Path, url: str, *, grace: float = 30, lame_duck: float = 0, more: str = "") -> None:
    """Write turnout.yaml, in one step."""
    text = CONFIG.format(url=url, grace=grace, lame_duck=lame_duck) + more
    fresh = home / "turnout.yaml.new"
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(home / "turnout.yaml")


def traces(home: Path) -> list[Trace]:
    """Every trace on disk, newest first."""
    store = SqliteTraceStore(home / "home" / "traces.sqlite3")
    try:
        return [msgspec.json.decode(line, type=Trace) for line in store.latest(1_000_000)]
    finally:
        store.close()


def request(key: str, model: str, *, stream: bool = False) -> bytes:
    """One chat completion on the wire; the connection may be kept."""
    body = json.dumps({"model": model, "stream": stream, "messages": PROMPT}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n"
    return head.encode() + b"content-length: %d\r\n\r\n%b" % (len(body), body)


@dataclass
class Answer:
    """What came back for one request. is_whole: in good HTTP order, to its end. is_last: with `connection: close`."""

    status: int = 0
    headers: bytes = b""
    body: bytes = b""
    is_whole: bool = False
    ended_at: float = 0.0

    @property
    def is_last(self) -> bool:
        """Whether nothing may follow on this connection."""
        return b"connection: close" in self.headers


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """Read one answer from a connection that may be kept. Raises only what a broken connection raises before the head."""
    answer = Answer()
    answer.headers = (await reader.readuntil(b"\r\n\r\n")).lower()
    answer.status = int(answer.headers.split(b" ", 2)[1])
    try:
        if b"transfer-encoding: chunked" in answer.headers:
            while size := int(await reader.readuntil(b"\r\n"), 16):
                answer.body += (await reader.readexactly(size + 2))[:size]
            await reader.readexactly(2)
        else:
            length = int(answer.headers.split(b"content-length: ")[1].split(b"\r\n")[0])
            answer.body = await reader.readexactly(length)
        answer.is_whole = True
    except (asyncio.IncompleteReadError, ConnectionError, ValueError):
        pass
    answer.ended_at = time.perf_counter()
    return answer


async def ask(port: int, key: str, model: str, *, stream: bool = False) -> Answer:
    """One request on a connection of its own, kept open until the answer's end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request(key, model, stream=stream))
        return await read_answer(reader)
    finally:
        writer.close()


async def many(count: int, port: int, key: str, model: str, *, stream: bool = False) -> list[asyncio.Task[Answer]]:
    """Begin `count` requests, not so many at once that the gateway would have to refuse some."""
    loop = asyncio.get_running_loop()
    begun = []
    for _ in range(count):
        begun.append(loop.create_task(ask(port, key, model, stream=stream)))
        await asyncio.sleep(0.005)
    return begun


@dataclass
class Load:
    """Clients that ask again and again, on connections that they keep for a few requests, until told to stop.

    Whatever goes wrong is counted by its name; nothing is tried again.
    """

    port: int
    key: str
    clients: int = 16
    pause_s: float = 0.0
    answered: int = 0
    wrong: dict[str, int] = field(default_factory=dict)
    longest_s: float = 0.0
    is_over: bool = False

    async def run(self) -> None:
        """Ask until `is_over`."""
        await asyncio.gather(*[self._client(number) for number in range(self.clients)])

    def _count(self, what: str) -> None:
        self.wrong[what] = self.wrong.get(what, 0) + 1

    async def _client(self, number: int) -> None:
        data = request(self.key, "quick", stream=number % 2 == 0)
        while not self.is_over:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                self._count("refused")
                continue
            try:
                for _ in range(10):
                    began = time.perf_counter()
                    writer.write(data)
                    answer = await read_answer(reader)
                    self.longest_s = max(self.longest_s, answer.ended_at - began)
                    if not answer.is_whole:
                        self._count("truncated")
                    elif answer.status != 200:
                        self._count(f"status {answer.status}")
                    else:
                        self.answered += 1
                    await asyncio.sleep(self.pause_s)
                    if answer.is_last or not answer.is_whole or self.is_over:
                        break
            except (OSError, asyncio.IncompleteReadError):
                self._count("reset")
            finally:
                writer.close()

"""Runs gateways that share one Valkey, each a process of its own, with a steady load and what it cost.

async with ValkeyServer(tmp_path) as valkey, Gateways(tmp_path, valkey.url, vendor, count=2) as gateways:
    load = Steady(gateways, rate_per_s=200)
    answers = await load.run(seconds=10)
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tests.faults.crowd import rss_bytes
from tests.faults.life import Answer, read_answer
from tests.process import Served, SimulatedVendor

CONFIG = """
defaults: false
valkey: {{url: "{valkey}"}}
providers:
  stub:
    kind: compatible
    base_url: "{url}"
    api_key: sk-canary-stub-key-1
    quota: {quota}
models:
  free: {{provider: stub, id: free, price: free}}
tasks:
  work: {{models: [free], cache: {cache}}}
cache: {{size: 500KiB, max_answer: 100KiB}}
timeouts: {{total: {total}}}
traces: {{rows: 200000}}
"""
WIDE = "{requests_per_minute: 1000000, requests_per_day: 100000000, at_once: 5000}"
UP = re.compile(r"^turnout_valkey_up (\S+)$", re.MULTILINE)
TICKS = os.sysconf("SC_CLK_TCK")
PATIENCE_S = 30.0


def cpu_s(pid: int) -> float:
    """CPU time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class Gateways:
    """`count` gateways with one Valkey at `url` and one simulated vendor. quota: the account's, as YAML."""

    def __init__(
        self,
        home: Path,
        url: str,
        vendor: SimulatedVendor,
        *,
        count: int = 1,
        quota: str = WIDE,
        cache: str = "5m",
        total: float = 30,
        urls: tuple[str, ...] = (),
    ) -> None:
        self.all: list[Served] = []
        self._stack = AsyncExitStack()
        for number in range(count):
            folder = home / f"gateway-{number}"
            folder.mkdir()
            address = urls[number] if urls else url
            config = CONFIG.format(valkey=address, url=vendor.base_url, quota=quota, cache=cache, total=total)
            (folder / "turnout.yaml").write_text(config, encoding="utf-8")
            self.all.append(Served(folder, "--port", "0"))

    async def __aenter__(self) -> Self:
        for one in self.all:
            await self._stack.enter_async_context(one)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def is_up(self, one: Served) -> bool:
        """Whether it uses what is shared now."""
        async with one.http() as client:
            told = UP.search((await client.get("/metrics")).text)
        assert told is not None
        return float(told[1]) == 1

    async def until_up(self, *, within_s: float = PATIENCE_S) -> float:
        """Wait until all use what is shared; return how long it took."""
        began = time.perf_counter()
        async with asyncio.timeout(within_s):
            for one in self.all:
                while not await self.is_up(one):
                    await asyncio.sleep(0.05)
        return time.perf_counter() - began

    def logged(self) -> list[str]:
        """What they said about Valkey."""
        return [line for one in self.all for line in one.said if "turnout.valkey" in line]


@dataclass
class Sent:
    """One request of a load: when it was due (seconds from the load's start), and how long its answer took."""

    due_s: float
    took_s: float
    status: int
    gateway: int


@dataclass
class Steady:
    """Asks at a constant rate, each request a question of its own (or one of `questions`), over all gateways in turn."""

    gateways: list[Served]
    rate_per_s: float
    questions: int = 0
    headers: str = ""
    sent: list[Sent] = field(default_factory=list)
    _count: int = 0

    def _request(self, number: int, key: str) -> bytes:
        text = f"question {number % self.questions if self.questions else number}"
        body = json.dumps({"model": "work", "messages": [{"role": "user", "content": text}]}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n{self.headers}"
        return head.encode() + b"content-length: %d\r\n\r\n%b" % (len(body), body)

    async def _ask(self, idle: list[Any], gateway: int, due_s: float, began: float) -> None:
        one = self.gateways[gateway]
        self._count += 1
        data = self._request(self._count, one.key)
        writer = None
        try:
            reader, writer = (
                idle.pop() if idle else await asyncio.open_connection("127.0.0.1", int(one.url.rpartition(":")[2]))
            )
            writer.write(data)
            answer: Answer = await read_answer(reader)
        except (OSError, asyncio.IncompleteReadError):
            self.sent.append(Sent(due_s, time.perf_counter() - began - due_s, 0, gateway))
            if writer is not None:
                writer.close()
            return
        self.sent.append(Sent(due_s, time.perf_counter() - began - due_s, answer.status, gateway))
        if answer.is_last or not answer.is_whole:
            writer.close()
        else:
            idle.append((reader, writer))

    async def run(self, seconds: float) -> list[Sent]:
        """Ask for so long; return what came of it, in the order of the answers. The rate does not wait for answers."""
        idle: list[list[Any]] = [[] for _ in self.gateways]
        began = time.perf_counter()
        self.sent = []
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(int(seconds * self.rate_per_s)):
                    due_s = number / self.rate_per_s
                    await asyncio.sleep(max(0.0, began + due_s - time.perf_counter()))
                    gateway = number % len(self.gateways)
                    group.create_task(self._ask(idle[gateway], gateway, due_s, began))
        finally:
            for one in idle:
                for _, writer in one:
                    writer.close()
        return self.sent


def most_in_a_minute(vendor: SimulatedVendor) -> tuple[int, int]:
    """The most calls that the vendor received in any 60 seconds, by its own clock, and all of them."""
    at = sorted(float(one["received_at"]) for one in vendor.witnessed())
    first, most = 0, 0
    for last, when in enumerate(at):
        while at[first] <= when - 60:
            first += 1
        most = max(most, last - first + 1)
    return most, len(at)


def p99(sent: list[Sent]) -> float:
    """The 99th percentile of how long answers took, seconds."""
    took = sorted(one.took_s for one in sent)
    return took[min(len(took) - 1, int(len(took) * 0.99))]


def median(sent: list[Sent]) -> float:
    """The middle one."""
    took = sorted(one.took_s for one in sent)
    return took[len(took) // 2]


def wrong(sent: list[Sent]) -> list[int]:
    """Every status that was not 200."""
    return [one.status for one in sent if one.status != 200]


@dataclass
class Cost:
    """What a process has used up to now."""

    cpu_s: float
    rss_bytes: int
    logged_bytes: int

    @classmethod
    def of(cls, one: Served) -> Cost:
        """Look."""
        return cls(cpu_s(one.process.pid), rss_bytes(one.process.pid), sum(len(line) + 1 for line in one.said))

"""Overload as the numbered tests make it: load from a process of its own, and a probe of what must stay quick meanwhile.

async with Load() as load:
    (report,) = await load.run(Flood(port, wires, rate_per_s=400, seconds=1, connections=300))

Run as `python -m tests.faults.flood` it reads a line of JSON for each round of floods and writes one with their reports.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from asyncio.subprocess import PIPE
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Self

import uvloop

from tests.bench.load import chat_wire, percentile
from tests.bench.procfs import kib_line
from tests.bench.sse_load import GAP, Report, constant_rate
from tests.rig import KEY

ROOT = Path(__file__).parents[2]
PROBE_S = 0.05
DRAIN_S = 10.0
LAG = re.compile(r'^turnout_loop_lag_seconds\{of="max"\} (\S+)$', re.MULTILINE)
PATHS = ("/health", "/metrics", "/admin/rollouts")


@dataclass(frozen=True)
class Flood:
    """Requests at a constant rate. wires: what to send, in turn; ASCII. after_s: how long to wait with all of it."""

    port: int
    wires: Sequence[str]
    rate_per_s: float
    seconds: float
    connections: int
    after_s: float = 0.0

    async def report(self) -> Report:
        """Send it all."""
        wires = [wire.encode() for wire in self.wires]
        await asyncio.sleep(self.after_s)
        return await constant_rate(
            self.port,
            lambda number: wires[number % len(wires)],
            rate_per_s=self.rate_per_s,
            seconds=self.seconds,
            connections=self.connections,
            drain_s=DRAIN_S,
        )


def ask(port: int, user: str = "", *, stream: bool = False) -> str:
    """A chat request of `user`."""
    chat = {"model": "first", "stream": stream, "messages": [{"role": "user", "content": "Hvad koster en rengøring?"}]}
    headers = [("authorization", f"Bearer {KEY}"), *([("x-turnout-user", user)] if user else [])]
    return chat_wire(port, json.dumps(chat).encode(), headers).decode()


def goodput(report: Report) -> float:
    """Complete answers a second, until the last of them was there."""
    return report.count("complete") / report.elapsed_s


class Load:
    """The process that sends."""

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.faults.flood"), cwd=ROOT, stdin=PIPE, stdout=PIPE, limit=2**28
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.communicate()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    async def run(self, *floods: Flood) -> list[Report]:
        """Send all of them at the same time; return what became of each."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps([asdict(flood) for flood in floods]).encode() + b"\n")
        reports = json.loads(await process.stdout.readline())
        return [
            Report(**{
                **one,
                "outcomes": Counter(one["outcomes"]),
                "statuses": Counter({int(status): count for status, count in one["statuses"].items()}),
            })
            for one in reports
        ]  # fmt: skip


class Probe:
    """Asks for health, metrics and rollouts, twenty times a second. took_s: seconds of each answer. wrong: the others.

    lag_s: the longest lag of the gateway's loop that the metrics told, what was before the first of them included.
    """

    def __init__(self, client) -> None:
        self.took_s: list[float] = []
        self.wrong: list[str] = []
        self.lag_s = 0.0
        self._client = client

    async def __aenter__(self) -> Self:
        self._task = asyncio.get_running_loop().create_task(self._ask())
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _ask(self) -> None:
        while True:
            for path in PATHS:
                began = time.perf_counter()
                answer = await self._client.get(path, timeout=30)
                self.took_s.append(time.perf_counter() - began)
                if told := LAG.search(answer.text):
                    self.lag_s = max(self.lag_s, float(told[1]))
                if answer.status_code != 200:
                    self.wrong.append(f"{path}: {answer.status_code}")
                await asyncio.sleep(PROBE_S)

    def percentile(self, share: float) -> float:
        """Seconds below which `share` of the answers came."""
        return percentile(self.took_s, share)


def rss_bytes(pid: int) -> int:
    """Resident memory of a process."""
    return kib_line(pid, "status", "VmRSS:") * 1024


async def round_of(floods: list[Flood]) -> list[Report]:
    """All of them at once."""
    return await asyncio.gather(*(flood.report() for flood in floods))


def told(report: Report) -> dict[str, object]:
    """A report as JSON has it; without the gaps, which are many."""
    plain = {field.name: getattr(report, field.name) for field in fields(report)}
    return plain | {"series": {name: list(values) for name, values in report.series.items() if name != GAP}}


def main() -> None:
    """A round for each line."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for line in sys.stdin:
            reports = runner.run(round_of([Flood(**one) for one in json.loads(line)]))
            print(json.dumps([told(report) for report in reports]), flush=True)


if __name__ == "__main__":
    main()

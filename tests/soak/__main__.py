"""Runs the soak, shows how far it is, and says PASS or FAIL: memory, descriptors, threads and tasks flat after the warm-up,
every attempt at the vendor, nothing left in flight, every request ended.

It stops by itself. A run can be repeated with its seed: the same requests in each client's order, the same faults in the
vendor's; what meets what depends on the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import sys
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, Final

import httpx2
import uvloop
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from scripts.prove import Row, record
from tests.bench.procfs import kib_line
from tests.faults.crowd import descriptors
from tests.invariants import broken
from tests.process import Served, SimulatedVendor
from tests.soak.load import CLIENTS, CONFIG, VENDOR, Player, Tally, fault_queue
from tests.soak.trends import HOUR_S, Trend, trend
from turnout.gateway.recorder import BATCH_S

USUAL_MINUTES: Final = 30.0
QUIET_S: Final = 15.0
"""How long what is under way at the end may take: longer than a request's total time."""
CALLS_PER_S: Final = 200
"""More calls a second than the clients make: so many faults are drawn in advance."""
RSS_LIMIT: Final = 1.0
FLAT: Final = 2.0
"""A rise of two descriptors, threads or tasks over the run is none."""
PROMISE: Final = "Half an hour of mixed load with 5 % of all faults leaves memory, descriptors and tasks flat."


@dataclass
class Samples:
    """One a second. rss: MiB."""

    seconds: list[float] = field(default_factory=list)
    rss: list[float] = field(default_factory=list)
    descriptors: list[float] = field(default_factory=list)
    threads: list[float] = field(default_factory=list)
    tasks: list[float] = field(default_factory=list)


@dataclass
class Outcome:
    """How a run ended. problems: empty if all is well."""

    seed: int
    minutes: float
    requests: int
    calls: int
    outcomes: dict[str, int]
    trends: list[Trend]
    problems: list[str]

    @property
    def is_well(self) -> bool:
        """PASS."""
        return not self.problems

    @property
    def figure(self) -> str:
        """The row for docs/proof.md."""
        shown = {one.name: one for one in self.trends}
        rss = shown["RSS"]
        return (
            f"{self.minutes:g} min, {self.requests:,} requests, {self.calls:,} calls: RSS {rss.per_hour:+.2f} ± {rss.margin:.2f} "
            f"MiB/h at {rss.mean:.0f} MiB, descriptors {shown['descriptors'].per_hour:+.1f}/h, tasks {shown['tasks'].per_hour:+.1f}/h"
        )


def parse() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="Half an hour of faults under load.")
    parser.add_argument("--minutes", type=float, default=USUAL_MINUTES, help="how long (default: 30; at least 0.5)")
    parser.add_argument("--seed", type=int, help="replay a run")
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")
    given = parser.parse_args()
    if given.minutes < 0.5:
        parser.error("--minutes: at least 0.5, or there is no slope to speak of")
    if given.seed is None:
        given.seed = random.SystemRandom().randrange(1_000_000_000)
    return given


async def scrape(http: httpx2.AsyncClient) -> dict[str, float]:
    """The gateway's own numbers, by name; those with labels summed."""
    text = (await http.get("/metrics")).text
    found: dict[str, float] = {}
    for name, value in re.findall(r"^(\w+)(?:\{[^}]*\})? (\S+)$", text, re.MULTILINE):
        found[name] = found.get(name, 0.0) + float(value)
    return found


async def watch(
    pid: int, http: httpx2.AsyncClient, samples: Samples, until: float, progress: Progress, tally: Tally
) -> None:
    """Take a sample a second."""
    began = monotonic()
    bar = progress.add_task("soak", total=until - began, told="")
    while (now := monotonic()) < until:
        numbers = await scrape(http)
        samples.seconds.append(now - began)
        samples.rss.append(kib_line(pid, "status", "VmRSS:") / 1024)
        samples.descriptors.append(descriptors(pid))
        samples.threads.append(kib_threads(pid))
        samples.tasks.append(numbers["turnout_tasks"])
        told = f"{samples.rss[-1]:.1f} MiB  {samples.descriptors[-1]:.0f} fds  {samples.tasks[-1]:.0f} tasks  {tally.count:,} requests"
        progress.update(bar, completed=now - began, told=told)
        await asyncio.sleep(max(0.0, 1.0 - (monotonic() - now)))
    progress.update(bar, completed=until - began)


def kib_threads(pid: int) -> float:
    """How many threads a process has."""
    return kib_line(pid, "status", "Threads:")


async def settle(http: httpx2.AsyncClient, tasks: float) -> list[str]:
    """Wait until nothing is under way; return what still is when the time is over."""
    until = monotonic() + QUIET_S
    while True:
        numbers = await scrape(http)
        left = numbers["turnout_tasks"] - tasks
        if numbers["turnout_concurrent_requests"] == 0 and left <= 0:
            return []
        if monotonic() > until:
            return [
                f"I2: {numbers['turnout_concurrent_requests']:.0f} in flight, I4: {left:.0f} tasks more than before"
            ]
        await asyncio.sleep(0.1)


async def run(folder: Path, seed: int, minutes: float, console: Console) -> Outcome:
    """The whole run."""
    tally, samples = Tally(), Samples()
    columns = (BarColumn(), TaskProgressColumn(), TimeRemainingColumn(), TextColumn("{task.fields[told]}"))
    async with SimulatedVendor(folder, *VENDOR, is_logged=False) as vendor, httpx2.AsyncClient() as other:
        queue = fault_queue(seed, int(minutes * 60 * CALLS_PER_S))
        (
            await other.put(f"{vendor.origin}/faults", json={"queue": queue, "by_model": {VENDOR[1]: VENDOR[2]}})
        ).raise_for_status()
        (folder / "turnout.yaml").write_text(CONFIG.format(url=vendor.base_url, origin=vendor.origin))
        Served.books.clear()
        async with Served(folder) as gateway, gateway.http() as http:
            tasks = (await scrape(http))["turnout_tasks"]
            port = int(gateway.url.rpartition(":")[2])
            stopped = asyncio.Event()
            players = [Player(port, gateway.key, f"{seed} {number}", tally) for number in range(CLIENTS)]
            with Progress(*columns, console=console) as progress:
                async with asyncio.TaskGroup() as group:
                    for player in players:
                        group.create_task(player.play(stopped))
                    await watch(gateway.process.pid, http, samples, monotonic() + minutes * 60, progress, tally)
                    stopped.set()
            problems = await settle(http, tasks)
            numbers = await scrape(http)
            book = (await other.get(f"{vendor.origin}/witness", timeout=120)).json()
        problems += audit(book, numbers, tally, gateway.said)
    trends = judged(samples)
    problems += [str(one) for one in trends if not one.is_flat]
    outcomes = {f"{kind}: {ended}": count for (kind, ended), count in sorted(tally.outcomes.items())}
    return Outcome(seed, minutes, tally.count, book["count"], outcomes, trends, problems)


def judged(samples: Samples) -> list[Trend]:
    """How everything moved."""
    window_h = (samples.seconds[-1] - samples.seconds[0]) / HOUR_S
    flat = FLAT / window_h
    at = samples.seconds
    return [
        trend("RSS", "MiB", at, samples.rss, RSS_LIMIT),
        trend("descriptors", "", at, samples.descriptors, flat),
        trend("threads", "", at, samples.threads, flat),
        trend("tasks", "", at, samples.tasks, flat),
    ]


def audit(book: dict[str, Any], numbers: dict[str, float], tally: Tally, said: list[str]) -> list[str]:
    """The invariants. The gateway keeps its newest traces only, so attempts, calls and entries are compared for the requests
    that came after the first of them had ended: none of those can be missing.
    """
    (books,) = Served.books
    since = min(trace.at + trace.total_s for trace in books.traces) + BATCH_S
    oldest = f"req_{int(since * 1000):012x}"  # ids begin with their time in milliseconds
    books.dispatched = [one["request_id"] for one in processed(book["dispatches"]) if one["request_id"] >= oldest]
    books.traces = [trace for trace in books.traces if trace.request_id >= oldest]
    assert books.kept is not None
    books.kept.entries = {name: told for name, told in books.kept.entries.items() if name >= oldest}
    books.ours = frozenset({"first", "second", "claude"})
    problems = broken(books, may_amplify=True)
    calls, requests = book["count"], numbers["turnout_requests_total"]
    if calls > 1.2 * requests + 3:
        problems.append(f"I6: {calls} upstream calls for {requests:.0f} requests")
    if tally.forgotten:
        problems.append(f"I3: {len(tally.forgotten)} requests were not answered in time: {tally.forgotten[:5]}")
    problems += [f"I7: {line}" for line in said if "Traceback" in line or "never retrieved" in line]
    return problems


def processed(dispatches: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out what came on a connection that was closed without a byte of an answer, if the same came once more: the one
    case in which the transport sends again by itself (RELIABILITY B3).
    """
    times = Counter(one["request_id"] for one in dispatches)
    return [one for one in dispatches if times[one["request_id"]] == 1 or one["first_sent_at"] is not None]


def main() -> int:
    """Run, print, and answer 1 unless all is well."""
    given = parse()
    console = Console(stderr=True)
    again = f"python -m tests.soak --minutes {given.minutes:g} --seed {given.seed}"
    console.print(f"soak: {given.minutes:g} minutes, seed {given.seed}; again: {again}", highlight=False)
    with tempfile.TemporaryDirectory(prefix="turnout-soak-") as folder:
        outcome = uvloop.run(run(Path(folder), given.seed, given.minutes, console))
    if given.json:
        print(json.dumps({**asdict(outcome), "is_well": outcome.is_well, "again": again}, indent=1))
    else:
        for name, count in outcome.outcomes.items():
            print(f"  {name:40} {count:>8,}")
        for one in outcome.trends:
            print(f"  {one}")
        for problem in outcome.problems:
            print(f"  FAIL: {problem}")
        print(f"soak: {'PASS' if outcome.is_well else 'FAIL'}. {outcome.figure}\n  again: {again}")
    if given.minutes >= USUAL_MINUTES:
        row = Row(PROMISE, [outcome.figure], int(outcome.is_well), int(not outcome.is_well), seed=outcome.seed)
        record({"Soak": row})
    return 0 if outcome.is_well else 1


if __name__ == "__main__":
    sys.exit(main())

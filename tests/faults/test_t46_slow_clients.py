"""T46: clients that drip their headers or their body, or do not read, hold nothing for long, and the service stays available
in every probe meanwhile.

A head has 10 s. A body must bring 500 bytes a second, looked at every 10 s, besides its 60 s in all. In full, slowhttptest
attacks with 4,000 connections; the quick size is sockets of our own against a tenth of those times.
"""

import asyncio
import csv
import re
import shutil
import time
from asyncio.subprocess import DEVNULL, PIPE
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

import httpx2
import pytest

from tests.process import KEY, Served, SimulatedVendor
from tests.rig import CONFIG

CONNECTIONS = 4000
SECONDS = 60
"""How long each mode of slowhttptest attacks at most; it stops when the last of its connections is closed."""

PROBE_S = 0.1
PATIENCE_S = 3.0
"""Within which a probe must be answered: slowhttptest's own is 5."""

AUTH = f"Authorization: Bearer {KEY}"
CHAT = {"model": "first", "messages": [{"role": "user", "content": "hej"}]}
PROBES = (("GET", "/health/live", None), ("GET", "/v1/models", None), ("POST", "/v1/chat/completions", CHAT))


class Probes(NamedTuple):
    """How long probes took, in seconds; what went wrong with others."""

    took: list[float]
    failed: list[str]


@asynccontextmanager
async def probed(gateway):
    """Ask every tenth of a second, by a new connection each time, while this goes on."""
    probes = Probes([], [])
    over = asyncio.Event()

    async def ask():
        number = 0
        while not over.is_set():
            number += 1
            method, path, body = PROBES[number % len(PROBES)]
            began = time.perf_counter()
            try:
                async with gateway.http() as client:
                    named = {"x-turnout-user": "probe"}
                    answer = await client.request(method, path, json=body, headers=named, timeout=PATIENCE_S)
                assert answer.status_code == 200, answer.text
            except (httpx2.HTTPError, AssertionError) as error:
                probes.failed.append(f"{path}: {error!r}")
            probes.took.append(time.perf_counter() - began)
            with suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), PROBE_S)

    asking = asyncio.get_running_loop().create_task(ask())
    try:
        yield probes
    finally:
        over.set()
        await asking


@asynccontextmanager
async def serving(home, server=""):
    """The gateway in its own process, with these settings of its server."""
    async with SimulatedVendor(home) as vendor:
        (home / "turnout.yaml").write_text(CONFIG.format(url=vendor.base_url) + server)
        async with Served(home, vendor=vendor) as gateway:
            yield gateway


async def drip(port, first, drops, every_s):
    """Send `first`, then a drop at a time until the other side ends it; return its answer and how long that took."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began = time.perf_counter()
    ended = asyncio.get_running_loop().create_task(reader.read())
    writer.write(first)
    while not ended.done():
        await asyncio.wait([ended], timeout=every_s)
        writer.write(drops)
    took = time.perf_counter() - began
    with suppress(ConnectionError):
        answer = await ended
    writer.transport.abort()
    return answer, took


async def test_t46_drips(tmp_path, size, proof):
    """Headers, bodies with a length, and bodies in chunks: each is told 408 and closed, in its time."""
    count = size(50, 200)  # of which four kinds hold a place each: fewer than `server.concurrency` has
    head_s = size(0.5, 10.0)
    begun = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n{AUTH}\r\n"
    chunked = b"Transfer-Encoding: chunked\r\n\r\n"
    kinds = {
        "headers": (begun.encode(), b"X-a: b\r\n"),
        "a target": (b"GET /", b"a"),
        "a body": (begun.encode() + b"Content-Length: 4096\r\n\r\n", b"x"),
        "chunks": (begun.encode() + chunked, b"1\r\nx\r\n"),
        "an extension": (begun.encode() + chunked + b"1;", b"e"),
        "a trailer": (begun.encode() + chunked + b"0\r\nX: ", b"t"),
    }
    server = f"server: {{header_timeout: {head_s}, body_timeout: 60}}\n"
    async with serving(tmp_path, server) as gateway, probed(gateway) as probes:
        port = int(gateway.url.rpartition(":")[2])
        told = await asyncio.gather(
            *(drip(port, *kind, every_s=head_s / 20) for kind in kinds.values() for _ in range(count))
        )
    assert {answer.split(b" ")[1] for answer, _ in told} == {b"408"}
    longest = max(took for _, took in told)
    assert longest <= head_s + 2.0
    assert probes.failed == []
    proof(
        f"{len(told)} dripping connections of {len(kinds)} kinds closed with 408 after at most {longest:.1f} s (deadline "
        f"{head_s:g} s); {len(probes.took)} of {len(probes.took)} probes answered, the slowest in {max(probes.took):.2f} s"
    )


MODES = {
    "H": ("-i 5 -x 24", "/health/live"),
    "B": ("-i 5 -x 10 -s 8192", "/v1/chat/completions"),
    "R": ("-a 5 -b 2000", "/health/live"),
    "X": ("-k 10 -w 1 -y 64 -n 5 -z 5", "/v1/models"),
}
"""What each is run with, and against which path. -m below ends in our key: slowhttptest writes it as it is."""


@pytest.mark.prove
@pytest.mark.timeout(180)
@pytest.mark.parametrize("mode", sorted(MODES))
async def test_t46_slowhttptest(mode, tmp_path, proof):
    """4,000 connections; with the deadlines as they are by default."""
    program = shutil.which("slowhttptest")
    if program is None:
        pytest.skip("needs slowhttptest: apt-get install slowhttptest")
    async with serving(tmp_path) as gateway, probed(gateway) as probes:
        how, path = MODES[mode]
        options = (f"-{mode}", *how.split(), "-u", gateway.url + path)
        keys = ("-m", f"*/*\r\n{AUTH}")
        limits = ("-c", str(CONNECTIONS), "-r", "400", "-l", str(SECONDS), "-p", "3", "-v", "1")
        report = ("-g", "-o", str(tmp_path / "slow"))
        process = await asyncio.create_subprocess_exec(
            program, *options, *keys, *limits, *report, cwd=tmp_path, stdin=DEVNULL, stdout=PIPE, stderr=PIPE
        )
        try:
            async with asyncio.timeout(SECONDS + 60):
                said, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    table = tmp_path / "slow.csv"
    assert table.exists(), said.decode(errors="replace")[-2000:]
    rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
    down = [row for row in rows if int(re.sub(r"\D", "", row["Service Available"]) or 0) == 0]
    most = max(int(row["Connected"]) for row in rows)
    left = int(rows[-1]["Connected"])
    assert probes.failed == []
    assert down == []
    proof(
        f"slowhttptest -{mode}, {CONNECTIONS} connections, {SECONDS} s: {most} at once, {left} at its last look; "
        f"{len(probes.took)} of {len(probes.took)} probes answered, the slowest in {max(probes.took):.2f} s"
    )

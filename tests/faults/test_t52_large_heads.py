"""T52: ten thousand headers, headers and targets of a mebibyte, a million chunks of one byte, endless extensions and
trailers are refused with 431, 414 or 400, at no more than 10 ms of CPU each.

On the real server in a process of its own, because uvicorn on httptools shows no limit on any of these.
"""

import asyncio
from contextlib import suppress
from pathlib import Path

from tests.faults.edge import statuses
from tests.process import KEY, Served, SimulatedVendor
from tests.rig import CONFIG

MIB = 1 << 20
PATIENCE_S = 30.0
MOST_MS = 10.0
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + KEY.encode() + b"\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
TINY = b"1\r\n \r\n"

HOSTILE = {
    "10,000 headers": (HEAD + b"".join(b"X-%d: y\r\n" % n for n in range(10_000)) + b"\r\n", {431}),
    "10,000 empty headers": (HEAD + b"a:\r\n" * 10_000 + b"\r\n", {431}),
    "a million headers": (HEAD + b"a:\r\n" * 1_000_000 + b"\r\n", {431}),
    "1 MiB in one header": (HEAD + b"X: " + b"y" * MIB + b"\r\n\r\n", {431}),
    "1 MiB in one header's name": (HEAD + b"X" * MIB + b": y\r\n\r\n", {431}),
    "1 MiB in a folded header": (HEAD + b"X: y\r\n" + b" y\r\n" * (MIB // 4) + b"\r\n", {400, 431}),
    "a target of 64 KiB": (b"GET /" + b"u" * 65536 + b" HTTP/1.1\r\nHost: x\r\n\r\n", {414}),
    "a target of 1 MiB": (b"GET /" + b"u" * MIB + b" HTTP/1.1\r\nHost: x\r\n\r\n", {414}),
    "a query of 64 KiB": (b"GET /v1/models?" + b"&=" * 32768 + b" HTTP/1.1\r\nHost: x\r\n\r\n", {414}),
    "a method of 1 MiB": (b"G" * MIB + b" / HTTP/1.1\r\nHost: x\r\n\r\n", {400}),
    "a version of 1 MiB": (b"GET / HTTP/1." + b"1" * MIB + b"\r\nHost: x\r\n\r\n", {400}),
    "a million chunks of one byte": (CHUNKED + TINY * 1_000_000 + b"0\r\n\r\n", {400}),
    "a chunk's extension of 1 MiB": (CHUNKED + b"1;" + b"e" * MIB + b"\r\n \r\n0\r\n\r\n", {400}),
    "an extension's value of 1 MiB": (CHUNKED + b'1;a="' + b"e" * MIB + b'"\r\n \r\n0\r\n\r\n', {400}),
    "4,000 chunks with extensions of 1 KiB": (
        CHUNKED + (b"1;" + b"e" * 1024 + b"\r\n \r\n") * 4000 + b"0\r\n\r\n",
        {400},
    ),
    "a chunk's size of 1 MiB": (CHUNKED + b"0" * MIB + b"1\r\n \r\n0\r\n\r\n", {400}),
    "a trailer of 1 MiB": (CHUNKED + TINY + b"0\r\nX: " + b"y" * MIB + b"\r\n\r\n", {400, 431}),
    "10,000 trailers": (CHUNKED + TINY + b"0\r\n" + b"a:\r\n" * 10_000 + b"\r\n", {400, 431}),
    "10,000 spaces before a value": (HEAD + b"X:" + b" " * MIB + b"y\r\n\r\n", {431}),
    "a Content-Length of 1 MiB": (HEAD + b"Content-Length: " + b"0" * MIB + b"1\r\n\r\n{", {400, 431}),
    "600 Hosts": (HEAD + b"Host: x\r\n" * 600 + b"\r\n", {431}),
}
ORDINARY = {
    "1 MiB of empty lines before a request": (
        b"\r\n" * (MIB // 2) + b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        {200},
    ),
    "a target just short enough": (
        b"GET /" + b"u" * 60_000 + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        {404},
    ),
    "250 headers": (
        b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        + b"X-Some-Header: some value\r\n" * 250
        + b"\r\n",
        {200},
    ),
}


def cpu_ms(process_id):
    """What all threads of a process have used so far; in nanoseconds there, unlike the hundredths of /proc/PID/stat."""
    tasks = Path(f"/proc/{process_id}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e6


async def refused(port, data):
    """Send all of it if the other side takes it; return the statuses of what came."""
    async with asyncio.timeout(PATIENCE_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)

        async def send():
            with suppress(ConnectionError):  # it need not read more than it looks at
                writer.write(data)
                await writer.drain()

        sending = asyncio.get_running_loop().create_task(send())
        answer = await reader.read()
        sending.cancel()
        with suppress(asyncio.CancelledError):
            await sending
        writer.transport.abort()
    return statuses(answer)


async def test_t52_large_heads(tmp_path, size, proof):
    """Each some times over; the gateway serves as ever afterwards."""
    repeats = size(3, 20)
    costs = {}
    async with SimulatedVendor(tmp_path) as vendor:
        (tmp_path / "turnout.yaml").write_text(CONFIG.format(url=vendor.base_url))
        async with Served(tmp_path, vendor=vendor) as gateway:
            port, process_id = int(gateway.url.rpartition(":")[2]), gateway.process.pid
            for name, (data, allowed) in (HOSTILE | ORDINARY).items():
                await refused(port, data)
                before = cpu_ms(process_id)
                for _ in range(repeats):
                    given = await refused(port, data)
                    assert (name, len(given), set(given) <= allowed) == (name, 1, True), given
                costs[name] = (cpu_ms(process_id) - before) / repeats
            async with gateway.http() as client:
                assert (await client.get("/health")).status_code == 200
    worst = max(costs, key=costs.__getitem__)
    print(*(f"{cost:7.2f} ms  {name}" for name, cost in costs.items()), sep="\n")
    assert costs[worst] <= MOST_MS
    proof(
        f"{len(HOSTILE)} of {len(HOSTILE)} kinds refused with 400, 414 or 431; the dearest, {worst}: {costs[worst]:.1f} ms"
    )

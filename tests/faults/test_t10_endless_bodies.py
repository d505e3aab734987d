"""T10: however much a vendor says in place of an answer, at most 64 KiB of an error are read, and an answer ends at its cap."""

import asyncio
import re
from pathlib import Path

import httpx2
import pytest

from tests.faults.crowd import rss_bytes
from tests.faults.sdk import UPSTREAMS, WAYS, ask, paid, quick
from tests.gateway.wire import serving
from tests.process import Served, SimulatedVendor
from tests.rig import Rig
from turnout.gateway.connection import READ_BYTES

ERROR_BYTES = 64 * 1024
GROWTH_BYTES = 2 * 1024 * 1024
LONGEST_LAG_S = 0.05
ASK = {"model": "openai-alone", "messages": [{"role": "user", "content": "hej"}]}


def socket_reads(pid):
    """Bytes that a process has read by system calls, from sockets and files."""
    return int(re.search(r"rchar: (\d+)", Path(f"/proc/{pid}/io").read_text())[1])


async def lag_s(client):
    """The longest that the event loop was held up lately, as the gateway itself measured it; None if it does not say."""
    text = (await client.get("/metrics")).text
    told = re.search(r"^turnout_loop_lag_seconds\{[^}]*max[^}]*\} (\S+)$", text, re.MULTILINE)
    return float(told[1]) if told else None


@pytest.mark.parametrize(
    "script",
    [
        "big-error=114000000",
        "endless-error=400",
        pytest.param("endless-error=429", marks=pytest.mark.prove),
        pytest.param("endless-error=500", marks=pytest.mark.prove),
    ],
)
async def test_t10_errors_are_read_to_64_kib(tmp_path, size, proof, script):
    """114 MB, or no end: the status alone says enough. Counted by the kernel, in a process of its own."""
    runs, at_once = size(60, 300), 10
    async with SimulatedVendor(tmp_path) as vendor:
        config = paid().format(url=vendor.origin)
        (tmp_path / "turnout.yaml").write_text(config, encoding="utf-8")
        async with Served(tmp_path, "--port", "0", vendor=vendor) as gateway, gateway.http() as client:
            client.timeout = 30
            async with httpx2.AsyncClient() as by_hand:
                await by_hand.put(f"{vendor.origin}/faults", json={"queue": [], "by_model": {"*": script}})

            async def one():
                return (await client.post("/v1/chat/completions", json=ASK)).status_code

            for _ in range(5):
                warm = await asyncio.gather(*(one() for _ in range(at_once)))
            pid = gateway.process.pid
            rss, reads = rss_bytes(pid), socket_reads(pid)
            statuses = []
            for _ in range(0, runs, at_once):
                statuses += await asyncio.gather(*(one() for _ in range(at_once)))
            grown, read = rss_bytes(pid) - rss, (socket_reads(pid) - reads) / runs
            lag = await lag_s(client)
    assert set(statuses) == set(warm) == {{"endless-error=429": 429, "endless-error=400": 400}.get(script, 502)}
    assert grown <= GROWTH_BYTES
    # What passes the bound, what comes before that is acted upon, and the client's request with the books.
    assert read <= ERROR_BYTES + 3 * READ_BYTES
    assert lag is None or lag <= size(1.0, LONGEST_LAG_S)
    told = "" if lag is None else f", loop lag at most {lag * 1000:.0f} ms"
    proof(f"{script}: {read / 1024:.0f} KiB read of each of {runs}, RSS {grown / 1024:+.0f} KiB{told}")


@pytest.mark.parametrize(("upstream", "stream"), WAYS)
async def test_t10_an_answer_ends_at_its_cap(tmp_path, size, proof, upstream, stream):
    """A 200 without end is a 502; of a stream, one event may not be endless either."""
    cap_mib = size(4, 64)
    config = paid() + f"server: {{{{max_answer: {cap_mib}MiB}}}}\n"
    async with Rig(tmp_path, config=config) as rig, quick(rig) as client:
        rig.world.by_model = {"*": "endless"}
        told = await ask(client, f"{upstream}-alone", UPSTREAMS[upstream], stream=stream)
        (dispatch,) = rig.world.witness.dispatches
        async with asyncio.timeout(5):
            while not dispatch.outcome:
                await asyncio.sleep(0)
    assert (told.status, told.code, told.is_final) == (502, "upstream_fault", True)
    assert "longer than" in told.message
    assert dispatch.outcome == "client-closed"
    bound = 2 if stream else cap_mib
    kernel_mib = 16  # what two kernels hold of a connection that nobody reads any more
    assert dispatch.sent_bytes <= (bound + kernel_mib) * 1024 * 1024
    proof(
        f"{upstream}{' stream' if stream else ''}: 502 after {dispatch.sent_bytes / 1024 / 1024:.1f} MiB, bound {bound}"
    )


async def test_t10_an_endless_head_is_a_502(tmp_path, proof):
    """64 KiB of headers, no blank line."""
    sent = 0

    async def script(peer):
        nonlocal sent
        await peer.request()
        await peer.answer(b"HTTP/1.1 200 OK\r\n")
        while True:
            await peer.answer(b"x-noise: " + b"a" * 1000 + b"\r\n")
            sent += 1011

    async with serving(script) as server:
        config = paid().replace('"{url}', f'"http://127.0.0.1:{server.port}')
        async with Rig(tmp_path, config=config) as rig, quick(rig) as client:
            told = await ask(client, "openai-alone")
    assert (told.status, told.code) == (502, "upstream_fault")
    assert "headers" in told.message
    proof(f"an endless head: 502, {sent / 1024:.0f} KiB had been sent")

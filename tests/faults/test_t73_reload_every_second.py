"""T73: the configuration changes every second under load: no request fails, each is served by exactly one configuration at that one's price, and memory stays flat."""

import asyncio
import signal
from collections import Counter
from hashlib import blake2b
from pathlib import Path

from tests.faults.life import Load, ask, traces
from tests.process import Served, SimulatedVendor, environment
from tests.rig import KEY
from turnout.config.environment import Environment
from turnout.config.load import load

CONFIG = """defaults: false
providers:
  stub:
    kind: compatible
    base_url: "{url}/v1"
    api_key: sk-canary-key-{number}
    timeouts: {{first_chunk: {wait}}}
models:
  quick: {{provider: stub, id: vendor/quick, price: {{input: {price}, output: {price}}}}}
  slow: {{provider: stub, id: vendor/slow, price: {{input: {price}, output: {price}}}}}
tasks:
  work: {{models: [quick], because: "reason {turn}"}}
server: {{lame_duck: 0}}
"""
GROWTH_BYTES = 8 * 1024 * 1024
"""Of the process, from the first reload to the last: what an allocator keeps of the load's peaks; a leak of a Snapshot a
reload (0.3 MB) would be 18 MB in full size."""


def written(home, url, turn):
    """Write the configuration of this turn in one step; return its revision, the price in it and its key's digest.

    Every second turn changes key, price and timeout; the others change a reason only.
    """
    number = turn // 2
    text = CONFIG.format(url=url, number=number, wait=20 + number, price=1 + number, turn=turn)
    fresh = home / "turnout.yaml.new"
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(home / "turnout.yaml")
    known = load(home / "turnout.yaml", Environment(environment(home, TURNOUT_MASTER_KEY=KEY)))
    digest = blake2b(f"Bearer sk-canary-key-{number}".encode(), digest_size=6).hexdigest()
    return known.snapshot.revision, ((1 + number) * 1000, digest)


def resident_bytes(pid):
    """What the process holds in memory."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


async def reload(gateway, turn):
    """By a signal, by the file alone, by the admin API, in turn."""
    if turn % 3 == 0:
        gateway.process.send_signal(signal.SIGHUP)
    elif turn % 3 == 1:
        async with gateway.http() as client:
            assert (await client.post("/admin/reload", timeout=20)).json()["problems"] == []


async def test_t73_each_request_sees_exactly_one_configuration(tmp_path, size, proof):
    """60 s in full. The books of the vendor say with which key each request came, the traces by which revision and price."""
    turns = size(3, 60)
    vendor = SimulatedVendor(tmp_path, "--fault-for", "vendor/slow", "delay=1.3")
    async with vendor:
        known = dict([written(tmp_path, vendor.origin, 0)])
        async with Served(tmp_path, vendor=vendor) as gateway:
            port = int(gateway.url.rpartition(":")[2])
            load_ = Load(port, gateway.key, clients=8, pause_s=0.01)
            loading = asyncio.ensure_future(load_.run())
            spanning = []
            before = 0
            for turn in range(1, turns + 1):
                revision, prices = written(tmp_path, vendor.origin, turn)
                known[revision] = prices
                spanning.append(asyncio.ensure_future(ask(port, gateway.key, "slow", stream=turn % 2 == 0)))
                await reload(gateway, turn)
                await asyncio.sleep(1)
                before = before or resident_bytes(gateway.process.pid)
            load_.is_over = True
            await loading
            spanned = await asyncio.gather(*spanning)
            grown = resident_bytes(gateway.process.pid) - before
    assert {} == load_.wrong
    assert {(200, True)} == {(one.status, one.is_whole) for one in spanned}
    accounts = {one["request_id"]: one["account"] for one in vendor.witnessed()}
    booked = traces(tmp_path)
    assert len(booked) == load_.answered + turns
    for trace in booked:
        price, account = known[trace.revision]
        (attempt,) = trace.attempts
        assert account == accounts[f"{trace.request_id}-1"]
        assert (attempt.usage.input_tokens + attempt.usage.output_tokens) * price == attempt.cost_nano_usd > 0
    seen = Counter(trace.revision for trace in booked)
    assert set(known) == set(seen)
    assert grown < GROWTH_BYTES
    proof(
        f"{turns} reloads, {len(seen)} revisions, {len(booked)} requests, 0 errors, each with the key and the price of its "
        f"revision; memory {grown / 1024**2:+.1f} MiB; longest answer {load_.longest_s * 1000:.0f} ms"
    )

"""T36: the places that a killed gateway held come free within its lease of 15 s."""

import asyncio
import time

import pytest

from tests.faults.together import Gateways, Steady
from tests.process import SimulatedVendor
from tests.valkey_server import ValkeyServer
from turnout.gateway.shared_quotas import LEASE_S

PLACES = 40
QUOTA = f"{{at_once: {PLACES}}}"
SILENT = ("--fault-for", "free", "stall")
TOLERANCE_S = 2.0


async def held(valkey):
    """How many places of the pool are taken, as the store counts them."""
    script = (
        "local s = cmsgpack.unpack(redis.call('GET', KEYS[1])) local n, t = 0, redis.call('TIME') "
        "for _, r in pairs(s.quotas.stub.records) do for _, e in pairs(r.busy) do "
        "if e > t[1] + s.shift then n = n + 1 end end end return n"
    )
    return await valkey.ask("EVAL", script, 1, "turnout:{stub}")


@pytest.mark.prove
async def test_t36_killed_while_it_holds_places(tmp_path, proof):
    """kill -9 in the middle of calls: the store frees what it held when the lease is over, and the other one can use it."""
    async with (
        ValkeyServer(tmp_path) as valkey,
        SimulatedVendor(tmp_path, *SILENT, is_logged=False) as vendor,
        Gateways(tmp_path, valkey.url, vendor, count=2, quota=QUOTA, cache='"0"') as gateways,
    ):
        await gateways.until_up()
        doomed = asyncio.ensure_future(Steady(gateways.all[:1], 200).run(PLACES / 200))
        async with asyncio.timeout(10):
            while not (before := await held(valkey)):
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.5)
        before = await held(valkey)
        gateways.all[0].process.kill()
        killed = time.perf_counter()
        async with asyncio.timeout(LEASE_S + TOLERANCE_S + 5):
            while await held(valkey):
                await asyncio.sleep(0.05)
        freed_s = time.perf_counter() - killed
        await doomed
        await gateways.all[0].process.wait()
    assert before >= PLACES // 4
    assert freed_s <= LEASE_S + TOLERANCE_S
    proof(
        f"{before} places of the pool held by a killed gateway: all free {freed_s:.1f} s after (lease {LEASE_S:.0f} s)"
    )

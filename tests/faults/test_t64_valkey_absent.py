"""T64: a gateway whose Valkey is absent at the start is ready at once, serves, and warns once."""

import asyncio
import time

from tests.faults.together import Gateways, Steady, wrong
from tests.process import SimulatedVendor, turnout
from tests.valkey_server import ValkeyServer


async def test_t64_absent_at_the_start(tmp_path, proof):
    """Ready within 2 s of what a start takes anyway, one warning however many requests come; found when it comes."""
    server = ValkeyServer(tmp_path)  # its port, and nobody there
    async with SimulatedVendor(tmp_path, is_logged=False) as vendor:
        began = time.perf_counter()
        await turnout(tmp_path, "--version")
        start_s = time.perf_counter() - began
        began = time.perf_counter()
        gateways = Gateways(tmp_path, server.url, vendor, quota="{at_once: 100}", total=5)
        async with gateways:
            ready_s = time.perf_counter() - began
            refused = await Steady(gateways.all, 50, headers="x-turnout-timeout: 0.1\r\n").run(0.5)
            lines = gateways.logged()
            await server.start()
            try:
                await gateways.until_up(within_s=10)
                then = await Steady(gateways.all, 50).run(0.5)
            finally:
                await server.kill()
    assert ready_s <= 2 + start_s
    assert len(lines) == 1, lines
    assert {one.status for one in refused} <= {200, 429}
    assert [] == wrong(then)
    proof(f"ready after {ready_s:.2f} s (a command alone takes {start_s:.2f} s); 1 line; shared once Valkey came")


async def test_t64_what_needs_no_quota_is_served(tmp_path, proof):
    """Without quotas nothing of it is noticed: every request is answered, also while nobody listens there."""
    server = ValkeyServer(tmp_path)
    async with (
        SimulatedVendor(tmp_path, is_logged=False) as vendor,
        Gateways(tmp_path, server.url, vendor, quota="{}") as gateways,
    ):
        sent = await Steady(gateways.all, 100).run(0.5)
        await asyncio.sleep(0)
        assert [] == wrong(sent)
    proof(f"{len(sent)} requests without quotas: all answered")

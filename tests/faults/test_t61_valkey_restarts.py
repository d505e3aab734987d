"""T61: a Valkey that is killed and comes back empty, again and again, fails no request and loosens no limit.

Two gateways share 60 requests a minute and ask far more than that, so that any hole in the books is used at once.
"""

import asyncio

import pytest

from tests.faults.together import Gateways, Steady, most_in_a_minute
from tests.process import SimulatedVendor
from tests.valkey_server import ValkeyServer

LIMIT = 60
QUOTA = f"{{requests_per_minute: {LIMIT}, requests_per_day: 100000}}"
IMPATIENT = "x-turnout-timeout: 0.2\r\n"
"""Who cannot go soon is refused, so that a load of ten times the limit does not pile up."""


@pytest.mark.prove
async def test_t61_restarts(tmp_path, size, proof):
    """20 in 60 s in full, and 20 s of peace after that: 200 or 429, never more than the limit, shared again within 10 s."""
    restarts, up_s, peace_s = size((2, 0.5, 0.5), (20, 1.5, 20))
    async with (
        ValkeyServer(tmp_path) as valkey,
        SimulatedVendor(tmp_path) as vendor,
        Gateways(tmp_path, valkey.url, vendor, count=2, quota=QUOTA, cache='"0"') as gateways,
    ):
        await gateways.until_up()
        load = Steady(gateways.all, 20, headers=IMPATIENT)
        loading = asyncio.ensure_future(load.run(restarts * (up_s + 1.2) + peace_s))
        for _ in range(restarts):
            await asyncio.sleep(up_s)
            await valkey.kill()
            await asyncio.sleep(up_s)
            await valkey.start()
        back_s = await gateways.until_up(within_s=10)
        sent = await loading
        received = int((await valkey.ask("INFO", "stats"))["total_connections_received"])
        lines = gateways.logged()
    statuses = {one.status for one in sent}
    most, total = most_in_a_minute(vendor)
    assert statuses <= {200, 429}
    assert LIMIT // 3 <= most <= LIMIT
    assert total == sum(one.status == 200 for one in sent)
    assert received <= 20 * (back_s + peace_s + 5)
    assert 2 <= len(lines) <= 2 * 2 * restarts + 2, lines
    proof(
        f"{restarts} kills of Valkey, empty each time: {len(sent)} requests, 200 or 429 only; at most {most} of {LIMIT} calls in "
        f"any 60 s; shared again within {back_s:.1f} s"
    )

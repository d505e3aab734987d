"""T65: a Valkey that is up a second and down a second: limits do not swing, and only changes of state are logged."""

import asyncio
import time

import pytest

from tests.faults.together import Gateways, Steady, most_in_a_minute
from tests.process import SimulatedVendor
from tests.valkey_server import ValkeyServer

LIMIT = 60
QUOTA = f"{{requests_per_minute: {LIMIT}}}"
IMPATIENT = "x-turnout-timeout: 0.2\r\n"


@pytest.mark.prove
async def test_t65_flaps(tmp_path, size, proof):
    """80 s, two gateways: accepted <= limit in every window, 200 or 429 only, at most two lines a change."""
    rounds = size(2, 40)
    async with (
        ValkeyServer(tmp_path) as valkey,
        SimulatedVendor(tmp_path) as vendor,
        Gateways(tmp_path, valkey.url, vendor, count=2, quota=QUOTA, cache='"0"') as gateways,
    ):
        await gateways.until_up()
        load = Steady(gateways.all, 20, headers=IMPATIENT)
        began = time.perf_counter()
        loading = asyncio.ensure_future(load.run(rounds * 2))
        for number in range(rounds):
            await asyncio.sleep(max(0.0, began + number * 2 + 1 - time.perf_counter()))
            valkey.freeze()
            await asyncio.sleep(max(0.0, began + number * 2 + 2 - time.perf_counter()))
            valkey.thaw()
        sent = await loading
        lines = gateways.logged()
        back_s = await gateways.until_up(within_s=10)
    most, total = most_in_a_minute(vendor)
    took = sorted(one.took_s for one in sent if one.status == 200)
    assert {one.status for one in sent} <= {200, 429}
    assert most <= LIMIT
    assert total == len(took)
    assert len(lines) <= 2 * 2 * rounds
    proof(
        f"{rounds} s up and {rounds} s down in turns: {len(sent)} requests, 200 or 429 only; at most {most} of {LIMIT} calls in any "
        f"60 s, {total} in all; {len(lines)} lines from two gateways; shared again within {back_s:.1f} s"
    )

"""T60: a Valkey that freezes under load fails no request; who finds out loses 50 ms once, and the others nothing.

The load is at a constant rate, every request takes from a shared quota and looks into the shared cache.
"""

import asyncio
import statistics

import pytest

from tests.faults.together import Cost, Gateways, Steady, median, p99, wrong
from tests.process import SimulatedVendor
from tests.valkey_server import ValkeyServer

DETECTION_S = 1.0
RPS = 200


async def test_t60_frozen_under_load(tmp_path, size, proof):
    """60 s in full: 0 failures; p99 at most 50 ms more in the first second, 5 ms after it; one line; CPU and memory as before."""
    frozen_s = size(1.3, 60)
    async with (
        ValkeyServer(tmp_path) as valkey,
        SimulatedVendor(tmp_path, is_logged=False) as vendor,
        Gateways(tmp_path, valkey.url, vendor) as gateways,
    ):
        await gateways.until_up()
        (gateway,) = gateways.all
        load = Steady(gateways.all, RPS)
        await load.run(size(0.2, 3))
        cost = [Cost.of(gateway)]
        well = await load.run(size(0.5, 15))
        cost.append(Cost.of(gateway))
        valkey.freeze()
        frozen = await load.run(frozen_s)
        cost.append(Cost.of(gateway))
        lines = gateways.logged()
        valkey.thaw()
        back_s = await gateways.until_up(within_s=10)
        after = await load.run(size(0.2, 5))
        assert ([], [], []) == (wrong(well), wrong(frozen), wrong(after))
        early = [one for one in frozen if one.due_s < DETECTION_S]
        late = [one for one in frozen if one.due_s >= DETECTION_S]
        more_early, more_late = p99(early) - p99(well), p99(late) - p99(well)
        slowest = max(one.took_s for one in early)
        assert more_early <= size(0.2, 0.05) + 0.01  # the timer of 50 ms, and this machine's noise
        assert median(late) <= median(well) + 0.005
        assert more_late <= size(0.1, 0.005)
        assert len(lines) == 1, lines
        assert cost[2].logged_bytes - cost[1].logged_bytes <= 200 * len(frozen)
        cpu = (cost[2].cpu_s - cost[1].cpu_s) / len(frozen) / ((cost[1].cpu_s - cost[0].cpu_s) / len(well))
        rss = cost[2].rss_bytes / cost[1].rss_bytes
        assert cpu <= size(2.0, 1.2)
        assert rss <= 1.1
    proof(
        f"frozen {frozen_s:.0f} s at {RPS} requests a second: 0 of {len(frozen):,} failed; p99 {p99(well) * 1000:.1f} ms before, "
        f"{more_early * 1000:+.1f} ms in the first second (slowest {slowest * 1000:.0f} ms), {more_late * 1000:+.1f} ms after; "
        f"1 line logged; CPU x{cpu:.2f}, memory x{rss:.2f}; shared again {back_s:.1f} s after it answered"
    )


@pytest.mark.prove
async def test_t60_only_those_under_way_lose_time(tmp_path, proof):
    """200 requests at the very moment: whoever waits for the store gives up after its 50 ms, and no one waits after that."""
    async with (
        ValkeyServer(tmp_path) as valkey,
        SimulatedVendor(tmp_path, is_logged=False) as vendor,
        Gateways(tmp_path, valkey.url, vendor) as gateways,
    ):
        await gateways.until_up()
        load = Steady(gateways.all, RPS)
        await load.run(0.5)
        valkey.freeze()
        first = await load.run(0.04)
        await asyncio.sleep(0.1)
        then = await load.run(0.5)
        valkey.thaw()
        assert ([], []) == (wrong(first), wrong(then))
        waited = [one.took_s for one in first if one.took_s >= 0.04]
        assert statistics.median(one.took_s for one in then) < 0.04
        assert len(gateways.logged()) == 1
    proof(
        f"{len(waited)} requests under way waited, at most {max(waited, default=0) * 1000:.0f} ms, {len(then)} after them did not"
    )

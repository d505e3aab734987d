"""T26: a worker of four that is killed under load takes its own requests with it and nothing else: no attempt is lost, and another serves within a second."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time

from tests.faults.killing import configure, journals, reckon, settled, until, workers
from tests.faults.life import Load
from tests.process import Served, SimulatedVendor


async def test_t26_one_worker_of_four_killed_again_and_again(tmp_path, size, seed, proof):
    """While the others go on; each time another one."""
    kills, count = size((1, 2), (50, 4))
    draw = random.Random(seed)
    waits = []
    async with SimulatedVendor(tmp_path) as vendor:
        configure(tmp_path, vendor.origin)
        async with Served(tmp_path, "--port", "0", "--workers", str(count)) as gateway:
            await settled(gateway, count)
            load = Load(int(gateway.url.rpartition(":")[2]), gateway.key, clients=16, pause_s=0.02)
            loading = asyncio.get_running_loop().create_task(load.run())
            began = time.monotonic()
            for _ in range(kills):
                await asyncio.sleep(draw.uniform(0.2, 0.6))
                os.kill(draw.choice(workers(gateway)), signal.SIGKILL)
                await until(lambda: journals(gateway)[0] < count)
                waits.append(await until(lambda: journals(gateway)[0] == count))
            rate = load.answered / (time.monotonic() - began)
            load.is_over = True
            await loading
            booked = await settled(gateway, count)
        dispatches, orphans, entries = reckon(gateway, vendor)
    broken = sum(load.wrong.values())
    assert set(load.wrong) <= {"reset", "truncated"}
    assert broken <= kills * load.clients
    assert orphans <= broken
    waits.sort()
    assert waits[len(waits) // 2] <= size(10.0, 1.0)  # the first shares its machine with other tests
    proof(
        f"{kills} workers killed at {rate:.0f} requests a second: {broken} requests broke, {dispatches:,} dispatches, "
        f"{entries} ({orphans} orphans), lost 0; replaced after {waits[len(waits) // 2]:.2f} s (median), the last journal "
        f"booked after {booked:.1f} s"
    )

"""T25: a gateway that is killed at any system call of a request has lost no attempt and booked none twice: its ledger is whole and equal to the vendor's own record, and what was under way is booked as an estimate within a minute."""

from __future__ import annotations

import asyncio
import random

import httpx2
import pytest

from tests.faults.killing import CALLS, configure, killer, reckon, serving, settled, until, workers
from tests.faults.life import Load
from tests.process import Served, SimulatedVendor

PROMPT = {"model": "quick", "messages": [{"role": "user", "content": "hej"}]}


STEADY_S = 1.1
"""How long a worker must have served so that the next one starts at once."""


MOST = 12
"""Of one call in one thread: a request makes fewer, and what goes on beside it (a timer, the books) never ends."""


async def ask(client) -> bool:
    """One request; whether it was answered."""
    try:
        return (await client.post("/v1/chat/completions", json=PROMPT, timeout=20)).status_code == 200
    except httpx2.HTTPError:
        return False


@pytest.mark.prove
async def test_t25_one_request_killed_at_every_system_call(tmp_path, proof):
    """The first, the second, … of each kind and thread, until it makes no more."""
    killed: list[str] = []
    longest = 0.0
    async with SimulatedVendor(tmp_path) as vendor:
        configure(tmp_path, vendor.origin)
        async with Served(tmp_path, "--port", "0", "--workers", "2") as gateway:
            await settled(gateway, 2)
            for call in CALLS:
                for when in range(1, MOST + 1):
                    async with gateway.http() as client:  # one connection, so one worker
                        assert await ask(client)
                        worker = serving(gateway)
                        async with killer(worker, when, call):
                            await ask(client)
                            await asyncio.sleep(0.25)  # for what comes after the answer: the books, the disk
                    if worker in workers(gateway):
                        break
                    killed.append(call)
                    longest = max(longest, await settled(gateway, 2))
                    await asyncio.sleep(STEADY_S)
        dispatches, orphans, entries = reckon(gateway, vendor)
    assert killed
    assert longest < 60
    proof(
        f"killed at {len(killed)} system calls of one request ({len(set(killed))} kinds): {dispatches} dispatches, {entries} ({orphans} of them orphans), "
        f"lost 0, twice 0; what a worker left was booked and another served after {longest:.1f} s at most"
    )


async def test_t25_killed_at_random_system_calls_under_load(tmp_path, size, seed, proof):
    """Several workers, one of which dies again and again."""
    kills, count = size((1, 2), (200, 4))
    draw = random.Random(seed)
    async with SimulatedVendor(tmp_path) as vendor:
        configure(tmp_path, vendor.origin)
        async with Served(tmp_path, "--port", "0", "--workers", str(count)) as gateway:
            await settled(gateway, count)
            load = Load(int(gateway.url.rpartition(":")[2]), gateway.key, clients=4, pause_s=0.02)
            loading = asyncio.get_running_loop().create_task(load.run())
            for _ in range(kills):
                standing = workers(gateway)
                async with killer(draw.choice(standing), draw.randint(1, 30)):
                    await until(lambda standing=standing: set(standing) - set(workers(gateway)))
                await until(lambda: len(workers(gateway)) == count)
            load.is_over = True
            await loading
            longest = await settled(gateway, count)
        dispatches, orphans, entries = reckon(gateway, vendor)
    assert set(load.wrong) <= {"reset", "truncated"}
    proof(
        f"killed at {kills} random system calls under load: {dispatches:,} dispatches, {entries} ({orphans} orphans), "
        f"lost 0, twice 0; the last was booked after {longest:.1f} s"
    )

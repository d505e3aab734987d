"""T56: a gateway that starts while PostgreSQL is away lives, is not ready, refuses virtual keys with 503 and never 401, and is
ready within 5 s of PostgreSQL's start.
"""

import asyncio

from tests.faults.banked import UNKNOWN, booked, over, status, until, until_drained, with_a_key
from tests.postgres_server import PostgresServer
from tests.rig import Rig, World


async def test_t56_postgres_late(tmp_path, size, proof):
    """60 s away in full. The key was made by the gateway before; nothing has to be done when PostgreSQL is there."""
    away_s = size(1.5, 60)
    world = World.instant(seed=1)  # one vendor for both
    with PostgresServer("synchronous_commit=on") as server:
        config = over(server.new_database())
        async with Rig(tmp_path, config=config, world=world) as before:
            key = await with_a_key(before)
            assert (200, None) == await status(before, key)
        server.kill()
        async with Rig(tmp_path, config=config, world=world) as rig:
            rig.key = key
            until_s = asyncio.get_running_loop().time() + away_s
            asked = 0
            while asyncio.get_running_loop().time() < until_s:
                assert 200 == (await status(rig, key, "/health/live"))[0]
                assert 503 == (await status(rig, key, "/health/ready"))[0]
                for one in (key, UNKNOWN):
                    code, retry_after = await status(rig, one)
                    assert (503, True) == (code, retry_after is not None)
                asked += 2
                await asyncio.sleep(0.1)
            server.start()
            ready_s = await until(rig, key, 200, "/health/ready")
            assert (200, None) == await status(rig, key)
            assert 401 == (await status(rig, UNKNOWN))[0]
            await until_drained(rig)
        assert (2, 2) == booked(server)
    assert ready_s <= 5
    proof(
        f"away for {away_s:.0f} s from the start: {asked} requests with 503 and Retry-After; ready after {ready_s:.1f} s"
    )

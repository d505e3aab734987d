"""T57: PostgreSQL killed, moved to another address, out of connections, or cut off by a pooler's restart: no request with a known
key fails, unknown keys get 503, it is found again within 5 s, and no connection is left behind.
"""

import asyncio
import contextlib

import pytest

from tests.faults.banked import UNKNOWN, booked, connections, over, status, until, until_drained, with_a_key
from tests.faults.together import Steady, p99, wrong
from tests.postgres_server import PostgresServer
from tests.rig import Rig
from turnout.api.fault_proxy import FaultProxy
from turnout.stores.postgres_books import CONNECTIONS

SETTINGS = ("synchronous_commit=on", "max_connections=20", "superuser_reserved_connections=0")
RATE = 50


async def killed(server, proxy, away_s):
    """All of its processes at once; back a while after."""
    del proxy
    server.kill()
    await asyncio.sleep(away_s)
    await asyncio.to_thread(server.start)


async def moved(server, proxy, away_s):
    """It comes back at another port, and the name leads there."""
    server.kill()
    await asyncio.sleep(away_s)
    server.move()
    await asyncio.to_thread(server.start)
    proxy.target = (server.host, server.port)


async def pooler_restarts(server, proxy, away_s):
    """Every connection is reset, a few times; new ones are refused meanwhile."""
    good = proxy.target
    proxy.target = (server.host, 1)
    for _ in range(5):
        proxy.cut_all()
        await asyncio.sleep(away_s / 5)
    proxy.target = good


async def full(server, proxy, away_s):
    """Others take every connection that becomes free."""
    asyncpg = pytest.importorskip("asyncpg")
    taken = []
    for _ in range(4):
        proxy.cut_all()
        with contextlib.suppress(asyncpg.PostgresError, OSError):
            while True:
                taken.append(await asyncpg.connect(server.url("books1"), timeout=2))
        await asyncio.sleep(away_s / 4)
    for one in taken:
        await one.close()


@pytest.mark.parametrize("how", [killed, moved, pooler_restarts, full])
async def test_t57_postgres_dies(how, tmp_path, size, proof):
    """Under a steady load with a virtual key, again and again in full."""
    times, away_s = size((1, 0.3), (3, 1.5))
    with PostgresServer(*SETTINGS) as server:
        url = server.new_database()
        async with FaultProxy(server.host, server.port, "") as proxy:
            config = over(url.replace(f":{server.port}/", f":{proxy.port}/"))
            async with Rig(tmp_path, config=config) as rig:
                await with_a_key(rig)
                load = Steady([rig], RATE)
                loading = asyncio.ensure_future(load.run(times * size(1.5, 4) + size(0, 2)))
                unknown, back_s = set(), 0.0
                for _ in range(times):
                    await asyncio.sleep(0.2)
                    failing = asyncio.ensure_future(how(server, proxy, away_s))
                    while not failing.done():
                        unknown.add((await status(rig, UNKNOWN))[0])
                        await asyncio.sleep(0.1)
                    await failing
                    back_s = max(back_s, await until(rig, UNKNOWN, 401))
                sent = await loading
                await until_drained(rig)
                held = connections(server)
            dispatched = len(rig.world.witness.dispatches)
        assert (dispatched, dispatched) == booked(server)
    assert [] == wrong(sent)
    assert unknown <= {401, 503}
    assert back_s <= 5
    assert held <= CONNECTIONS + 1
    proof(
        f"{how.__name__} {times} times at {RATE} requests a second: {len(sent)} of {len(sent)} answered, p99 "
        f"{1000 * p99(sent):.0f} ms; unknown keys {'503' if 503 in unknown else '401'}; found again within {back_s:.1f} s; all "
        f"{dispatched} attempts in the ledger, {held} connections"
    )

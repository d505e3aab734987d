"""T04: vendors that close idle connections exactly as we reuse them: no client sees it, and no request is done twice."""

import asyncio
import random
from collections import Counter

import pytest

from tests.rig import Rig

AT_ONCE = 8
MOST_ERRORS = 0.001
HELLO = [{"role": "user", "content": "hej"}]
BODIES = {
    "whole": {"model": "task:alone", "messages": HELLO},
    "streamed": {"model": "task:alone", "messages": HELLO, "stream": True},
    "translated": {"model": "third", "messages": HELLO},
}


async def one(client, body):
    """The status of one request, read to its end; 0 if its end did not come."""
    try:
        reply = await client.post("/v1/chat/completions", json=body)
    except OSError:
        return 0
    is_whole = not body.get("stream") or reply.text.endswith("data: [DONE]\n\n")
    return reply.status_code if is_whole else 0


async def many(rig, body, runs):
    """Send `runs` requests, some at a time, each as soon as the last is answered; count the statuses."""
    statuses = Counter()
    numbers = iter(range(runs))

    async def keep_asking(client):
        for _ in numbers:
            statuses[await one(client, body)] += 1

    async with rig.http() as client:
        await asyncio.gather(*(keep_asking(client) for _ in range(AT_ONCE)))
    return statuses


def processed_twice(rig):
    """Requests that arrived whole at the vendor more than once, as another attempt or as the same."""
    times = Counter(one.request_id.rpartition("-")[0] for one in rig.world.witness.dispatches)
    return [name for name, count in times.items() if count > 1]


def judge(rig, statuses, runs):
    """At most one client in a thousand sees an error, and nothing was done twice."""
    assert runs == statuses.total()
    assert runs - statuses[200] <= MOST_ERRORS * runs, statuses
    assert [] == processed_twice(rig)


@pytest.mark.parametrize("lane", BODIES)
@pytest.mark.parametrize("fault", ["truncate", "reset"])
async def test_t04_the_connection_ends_with_the_first_byte_of_the_next_request(tmp_path, size, proof, fault, lane):
    """FIN (truncate) or RST crosses every single reuse: one byte of the second request gets through, then the end."""
    runs = size(50, 1000)
    body = BODIES[lane]
    async with Rig(tmp_path, wire="") as rig:
        async with rig.http() as client:
            assert 200 == await one(client, body)
        rig.proxy.use(f"up:{fault}={rig.proxy.passed['up'] + 1}")
        rig.proxy.cut_all()
        first = rig.proxy.accepted
        statuses = await many(rig, body, runs)
        reused = rig.proxy.accepted - first - AT_ONCE
        judge(rig, statuses, runs)
    # Every connection but the first few was opened because the one before it had ended under a request.
    assert reused >= runs - 2 * AT_ONCE
    proof(
        f"{fault}, {lane}: {runs - statuses[200]} errors and 0 done twice in {runs} requests; {reused} reuses hit the end"
    )


async def test_t04_a_vendors_timer_closes_idle_connections_at_any_moment(tmp_path, size, proof, seed):
    """As a server's keep-alive timer does: each connection on which nothing is under way is closed at a random instant."""
    runs = size(100, 1000)
    chance = random.Random(seed)
    async with Rig(tmp_path) as rig:
        closed = 0

        def close_idle():
            nonlocal closed, timer
            served = {one.connection for one in rig.world.witness.dispatches}
            for connection in tuple(rig.vendor.connections):
                is_idle = connection._number in served and connection._task is None and connection._is_open
                if is_idle and chance.random() < 0.5:
                    closed += 1
                    connection._close()
            timer = loop.call_later(chance.uniform(0, 0.004), close_idle)

        loop = asyncio.get_running_loop()
        timer = loop.call_soon(close_idle)
        try:
            statuses = await many(rig, BODIES["whole"], runs)
        finally:
            timer.cancel()
        judge(rig, statuses, runs)
    assert closed > runs / 10
    proof(
        f"timer: {runs - statuses[200]} errors and 0 done twice in {runs} requests; {closed} connections closed meanwhile"
    )

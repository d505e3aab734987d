"""T70: told to stop, the gateway is not ready within a second, refuses nobody meanwhile, and finishes every stream that the grace leaves time for."""

import asyncio
import signal
import time

import httpx2

from tests.faults.life import Vendor, ask, many, traces, write_config
from tests.process import Served

READY_OFF_S = 1.0
EXIT_AFTER_S = 2.0


async def balance(gateway, believes_s):
    """A load balancer: sends requests on new connections until it has believed for `believes_s` that we are not ready.

    Returns the statuses of what it sent, how long readiness took to go, and every answer of the liveness route.
    """
    port = int(gateway.url.rpartition(":")[2])
    statuses, lives, off_s = [], [], None
    told = time.perf_counter()
    async with httpx2.AsyncClient(base_url=gateway.url, headers={"connection": "close"}) as client:
        while off_s is None or time.perf_counter() - told < off_s + believes_s:
            ready = (await client.get("/health/ready")).status_code
            lives.append((await client.get("/health/live")).status_code)
            if ready == 503:
                off_s = off_s or time.perf_counter() - told
            statuses.append((await ask(port, gateway.key, "quick")).status)
            await asyncio.sleep(0.02)
    return statuses, off_s, lives


async def test_t70_streams_finish_and_a_load_balancer_meets_no_closed_door(tmp_path, size, proof):
    """200 streams of 20 s and a grace of 30 s in full."""
    count, tokens, apart, grace = size((20, 10, 0.1, 5), (200, 40, 0.5, 30))
    async with Vendor(tokens=tokens, per_token_s=apart) as vendor:
        write_config(tmp_path, vendor.origin, grace=grace, lame_duck=size(1, 5))
        async with Served(tmp_path, vendor=vendor) as gateway:
            port = int(gateway.url.rpartition(":")[2])
            streams = await many(count, port, gateway.key, "slow", stream=True)
            while vendor.world.witness.count < count:
                await asyncio.sleep(0.01)
            gateway.process.send_signal(signal.SIGTERM)
            statuses, off_s, lives = await balance(gateway, size(0.4, 4))
            answers = await asyncio.gather(*streams)
            last = max(answer.ended_at for answer in answers)
            code = await gateway.process.wait()
            after_s = time.perf_counter() - last
            await gateway.stop()
    whole = [one for one in answers if one.is_whole and one.body.endswith(b"data: [DONE]\n\n")]
    assert (count, count) == (len(whole), len(answers))
    assert {200} == set(statuses)
    assert {200} == set(lives)
    assert off_s < READY_OFF_S
    assert after_s < EXIT_AFTER_S
    assert code == 0
    assert {"ok"} == {one.outcome for one in traces(tmp_path)}
    assert len(traces(tmp_path)) == count + len(statuses)
    proof(
        f"{len(whole)} of {count} streams whole; {len(statuses)} new requests answered meanwhile, 0 refused; not ready after "
        f"{off_s:.2f} s; ended {after_s:.2f} s after the last stream, exit code {code}"
    )


async def test_t70_nobody_connected_is_nothing_to_wait_for(tmp_path, proof):
    """The lame duck is for those who are there."""
    write_config(tmp_path, "http://127.0.0.1:9", lame_duck=20)
    async with Served(tmp_path) as gateway:
        began = time.perf_counter()
        assert await gateway.stop() == 0
        took = time.perf_counter() - began
    assert took < EXIT_AFTER_S
    proof(f"with nobody connected it ended in {took:.2f} s, of a lame duck of 20 s")


async def test_t70_an_idle_connection_is_served_once_more_and_told_that_it_was_the_last_time(tmp_path):
    """No connection is closed under a request: the answer says `connection: close`."""
    async with Vendor() as vendor:
        write_config(tmp_path, vendor.origin, lame_duck=20)
        async with Served(tmp_path, vendor=vendor) as gateway, gateway.http() as client:
            assert (await client.get("/health/ready")).status_code == 200
            gateway.process.send_signal(signal.SIGTERM)
            asked = {"model": "quick", "messages": [{"role": "user", "content": "hej"}]}
            while (ready := await client.get("/health/ready")).status_code == 200:
                await asyncio.sleep(0.01)
            answer = await client.post("/v1/chat/completions", json=asked)
        assert gateway.exit_code == 0
    assert ready.headers["connection"] == "close"
    assert (answer.status_code, answer.headers["connection"]) == (200, "close")

"""The line, end to end: who waits for a turn over real sockets, and who leaves."""

from __future__ import annotations

import asyncio

import openai
import pytest

from tests.rig import Rig

CONFIG = """
defaults: false
providers:
  stub: {{kind: compatible, base_url: "{url}/v1", api_key: sk-canary-stub-key-1, quota: {{at_once: 1}}}}
models:
  first: {{provider: stub, id: vendor/first, price: free}}
timeouts: {{total: 30}}
"""
HEJ = [{"role": "user", "content": "Hej"}]


async def until(is_so):
    """Wait until it is."""
    async with asyncio.timeout(10):
        while not is_so():
            await asyncio.sleep(0.005)


async def test_a_client_that_leaves_the_line_frees_its_place(tmp_path):
    """The vendor never hears of it; whoever is behind it goes as soon as the one before it is served."""
    async with Rig(tmp_path, config=CONFIG) as rig, rig.openai() as client:
        rig.world.by_model["vendor/first"] = "delay=0.4"
        line = rig.service.engine.scheduler
        loop = asyncio.get_running_loop()
        served = loop.create_task(client.chat.completions.create(model="first", messages=HEJ))
        await until(lambda: rig.world.witness.open == 1)
        leaving = loop.create_task(client.chat.completions.create(model="first", messages=HEJ, stream=True))
        await until(lambda: len(line) == 1)
        behind = loop.create_task(client.chat.completions.with_raw_response.create(model="first", messages=HEJ))
        await until(lambda: len(line) == 2)
        leaving.cancel()
        await asyncio.wait([leaving])
        await until(lambda: len(line) == 1)
        await served
        answer = await behind
        assert 0 < int(answer.headers["x-turnout-queue-ms"]) < 2000
        assert rig.world.witness.count == 2
        outcomes = {trace.outcome: trace for trace in await rig.traced()}
    assert {"ok", "client_disconnected"} == set(outcomes)
    assert outcomes["client_disconnected"].attempts == []
    assert outcomes["client_disconnected"].waited_s > 0


async def test_an_sdk_that_waits_for_a_short_time_is_refused_at_once(tmp_path):
    """Its own timeout says how long that is; the SDK raises RateLimitError, with the time to come again."""
    config = CONFIG.replace("at_once: 1", "requests_per_minute: 1")
    async with Rig(tmp_path, config=config) as rig, rig.openai(timeout=20) as client:
        await client.chat.completions.create(model="first", messages=HEJ)
        with pytest.raises(openai.RateLimitError) as refused:
            await client.chat.completions.create(model="first", messages=HEJ)
        assert refused.value.code == "quota_exhausted"
        assert 55 <= int(refused.value.response.headers["retry-after"]) <= 61
        assert rig.world.witness.count == 1


async def test_headers_say_how_urgent_a_request_is(tmp_path):
    """Priority and time; a job with a time far away waits, although nobody else would be let in."""
    async with Rig(tmp_path, config=CONFIG) as rig, rig.http() as client:
        body = {"model": "first", "messages": HEJ}
        said = [{"x-turnout-priority": "low"}, {"x-turnout-by": "00:00"}, {}]
        for headers in said:
            answer = await client.post("/v1/chat/completions", json=body, headers=headers)
            assert answer.status_code == 200
        traces = await rig.traced()
    assert ["low", "medium", "medium"] == [trace.priority for trace in reversed(traces)]

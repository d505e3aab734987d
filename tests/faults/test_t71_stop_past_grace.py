"""T71: what the grace is too short for is ended honestly at its end: streams by an error event and a cut connection, the rest by a 503 that says when to come again."""

import asyncio
import signal
import time

import httpx2
import openai
import pytest

from tests.faults.life import PROMPT, Vendor, ask, many, traces, write_config
from tests.process import Served

EXIT_AFTER_GRACE_S = 2.0


async def sdk_stream(gateway):
    """What OpenAI's SDK makes of it: the text so far, and what it raised."""
    said = ""
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0) as client:
        try:
            async for chunk in await client.chat.completions.create(model="slow", messages=PROMPT, stream=True):
                said += chunk.choices[0].delta.content or ""
        except openai.APIError as error:
            return said, error
    return said, None


@pytest.mark.parametrize("lame_duck", [0, 60], ids=["no lame duck", "a lame duck longer than the grace"])
async def test_t71_the_rest_is_told_at_the_end_of_the_grace(tmp_path, size, proof, lame_duck):
    """Streams, requests that wait for their vendor, and one that is still being sent."""
    count, grace = size((10, 0.7), (200, 5.0))
    async with Vendor(tokens=5000, per_token_s=0.1) as vendor:
        vendor.world.by_model["vendor/quick"] = "delay=300"
        write_config(tmp_path, vendor.origin, grace=grace, lame_duck=lame_duck)
        async with Served(tmp_path, vendor=vendor) as gateway:
            port = int(gateway.url.rpartition(":")[2])
            streams = await many(count, port, gateway.key, "slow", stream=True)
            waiting = await many(count, port, gateway.key, "quick")
            official = asyncio.ensure_future(sdk_stream(gateway))
            while vendor.world.witness.count < 2 * count + 1 or not vendor.world.witness.dispatches[0].sent_tokens:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.3)
            began = time.perf_counter()
            gateway.process.send_signal(signal.SIGTERM)
            code = await gateway.process.wait()
            took = time.perf_counter() - began
            cut, told = await asyncio.gather(*streams), await asyncio.gather(*waiting)
            said, error = await official
            await gateway.stop()
    assert code == 0
    assert grace <= took < grace + EXIT_AFTER_GRACE_S
    assert [] == [one for one in cut if one.is_whole or b"gateway_stopping" not in one.body.splitlines()[-2]]
    assert [] == [one for one in cut if b'finish_reason":"' in one.body or b"[DONE]" in one.body]
    assert {(503, True)} == {(one.status, b"retry-after: 1\r\n" in one.headers) for one in told}
    assert [] == [one for one in told if b'"gateway_stopping"' not in one.body or not one.is_last]
    assert said
    assert isinstance(error, openai.APIError)
    booked = traces(tmp_path)
    assert {("gateway_stopping", 503)} == {(one.outcome, one.status) for one in booked}
    assert len(booked) == 2 * count + 1
    assert {"estimated"} == {attempt.usage.basis for one in booked for attempt in one.attempts}
    proof(
        f"{len(cut)} streams and {len(told)} waiting requests told at the end of a grace of {grace:g} s; exit after "
        f"{took:.2f} s, code {code}; the SDK raised {type(error).__name__}"
    )


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
async def test_t71_a_second_signal_means_now(tmp_path, second, proof):
    """As honestly as at the end of the grace."""
    async with Vendor(tokens=5000, per_token_s=0.1) as vendor:
        write_config(tmp_path, vendor.origin, grace=60, lame_duck=30)
        async with Served(tmp_path, vendor=vendor) as gateway:
            port = int(gateway.url.rpartition(":")[2])
            stream = asyncio.ensure_future(ask(port, gateway.key, "slow", stream=True))
            async with httpx2.AsyncClient(base_url=gateway.url) as client:
                while not (vendor.world.witness.count and vendor.world.witness.dispatches[0].sent_tokens):
                    await asyncio.sleep(0.01)
                gateway.process.send_signal(signal.SIGTERM)
                while (await client.get("/health/ready")).status_code == 200:
                    await asyncio.sleep(0.01)
            began = time.perf_counter()
            gateway.process.send_signal(second)
            code = await gateway.process.wait()
            took = time.perf_counter() - began
            answer = await stream
            await gateway.stop()
    assert code == 0
    assert took < EXIT_AFTER_GRACE_S
    assert not answer.is_whole
    assert b"gateway_stopping" in answer.body
    proof(f"a second signal ({second.name}) ended it in {took:.2f} s")

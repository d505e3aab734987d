"""T05: a vendor that takes a request and says nothing costs the client the first-chunk limit and no more; then it is a 504."""

import asyncio
import contextlib
import time

import pytest

from tests.faults.sdk import UPSTREAMS, WAYS, ask, paid, quick
from tests.gateway.wire import CHUNKED, serving
from tests.rig import Rig

LIMIT_S = 0.3


async def timed(client, upstream, *, stream):
    began = time.perf_counter()
    told = await ask(client, f"{upstream}-alone", UPSTREAMS[upstream], stream=stream)
    return told, time.perf_counter() - began


@pytest.mark.parametrize("script", ["stall", "stall-at=0", "stall-first"], ids=["no head", "no body", "no content"])
async def test_t05_silence_before_content(tmp_path, proof, script):
    """Nothing at all, a head alone, a head and an opening event: one dispatch, an estimate, and upstream is closed."""
    ways = [way for way in WAYS if way[1] or script != "stall-first"]
    config = paid(first_chunk=str(LIMIT_S), idle=str(LIMIT_S), ambiguous=False)
    async with Rig(tmp_path, config=config) as rig, quick(rig) as client:
        rig.world.by_model = {"*": script}
        results = await asyncio.gather(*(timed(client, upstream, stream=stream) for upstream, stream in ways))
        traces = await rig.traced()
        async with asyncio.timeout(5):
            while rig.world.witness.open:
                await asyncio.sleep(0)
        outcomes = [one.outcome for one in rig.world.witness.dispatches]
    assert {(told.status, told.code, told.is_final) for told, _ in results} == {(504, "upstream_timeout", True)}
    assert LIMIT_S <= min(took for _, took in results)
    assert max(took for _, took in results) <= LIMIT_S + 1
    assert outcomes == ["client-closed"] * len(ways)
    assert {one.usage.basis for trace in traces for one in trace.attempts} == {"estimated"}
    slowest = max(took for _, took in results)
    proof(f"{script}: 504 in {len(ways)} ways, {slowest - LIMIT_S:.3f} s past the limit at most")


async def test_t05_comments_are_no_content(tmp_path, proof):
    """A vendor that keeps the connection alive and says nothing meets the same limit."""
    is_over = asyncio.Event()

    async def script(peer):
        await peer.request()
        await peer.answer(CHUNKED)
        while not is_over.is_set():
            await peer.answer(b"b\r\n: waiting\n\n\r\n")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(is_over.wait(), 0.02)

    async with serving(script) as server:
        at = f"http://127.0.0.1:{server.port}"
        config = paid(first_chunk=str(LIMIT_S), ambiguous=False).replace('"{url}', f'"{at}')
        async with Rig(tmp_path, config=config) as rig, quick(rig) as client:
            told, took = await timed(client, "openai", stream=True)
            is_over.set()
    assert (told.status, told.code) == (504, "upstream_timeout")
    assert LIMIT_S <= took <= LIMIT_S + 1
    proof(f"comments for ever: 504, {took - LIMIT_S:.3f} s past the limit")

"""T06: a stream that stalls at any event is an error within the idle limit, and no SDK ever takes it for an end."""

import asyncio
import random
import time

import pytest

from tests.faults.sdk import ask, paid, quick
from tests.rig import Rig

AT_ONCE = 25
IDLE_S = 0.3
FIRST_EVENTS = {"openai": 2, "claude": 4}
"""How many events must have come before a stall for the client to have seen content."""


async def timed(client, upstream):
    began = time.perf_counter()
    told = await ask(client, f"{upstream}-alone", stream=True)
    return told, time.perf_counter() - began


@pytest.mark.parametrize("upstream", ["openai", "claude"])
async def test_t06_a_stalled_stream_always_makes_the_sdk_raise(tmp_path, size, seed, proof, upstream):
    """Each stalls after a random number of events past the first content; native and translated."""
    runs = size(50, 200)
    chance = random.Random(seed)
    outcomes = []
    async with Rig(tmp_path, config=paid(idle=str(IDLE_S))) as rig, quick(rig) as client:
        for begin in range(0, runs, AT_ONCE):
            count = min(AT_ONCE, runs - begin)
            first = FIRST_EVENTS[upstream]
            rig.world.queue.extend(f"stall-event={chance.randint(first, first + 6)}" for _ in range(count))
            outcomes += await asyncio.gather(*(timed(client, upstream) for _ in range(count)))
        traces = await rig.traced()
        assert rig.world.witness.count == runs
        sent = sum(one.sent_tokens for one in rig.world.witness.dispatches)
    raised = sum((told.error, told.code) == ("APIError", "stream_interrupted") for told, _ in outcomes)
    assert raised == runs
    assert [told.reasons for told, _ in outcomes if told.reasons] == []
    assert all(told.text for told, _ in outcomes)
    slowest = max(seconds for _, seconds in outcomes)
    assert slowest <= IDLE_S + 1
    assert {trace.outcome for trace in traces} == {"stream_interrupted"}
    assert {trace.attempts[0].usage.basis for trace in traces} == {"estimated"}
    booked = sum(trace.attempts[0].usage.output_tokens for trace in traces)
    assert 0.7 * sent <= booked <= 1.5 * sent
    proof(
        f"{upstream}: {raised} of {runs} stalled streams made the SDK raise, {slowest:.2f} s after they began at most; "
        f"{booked} tokens booked for the {sent} that the vendor had sent"
    )


@pytest.mark.parametrize("upstream", ["openai", "claude"])
async def test_t06_the_connection_ends_without_its_last_chunk(tmp_path, upstream):
    """On the wire: an error event, then the end, and no `0` chunk."""
    async with Rig(tmp_path, config=paid(idle=str(IDLE_S))) as rig:
        rig.world.queue.append("stall-event=5")
        answer = await rig.raw_stream(f"{upstream}-alone")
    assert b'data: {"error":' in answer
    assert b'"code":"stream_interrupted"' in answer
    assert not answer.endswith(b"0\r\n\r\n")
    assert b"[DONE]" not in answer

"""T06: a stream stalls at a random event: an error within the idle limit, and no SDK takes it for an end."""

import asyncio
import random
import time

import openai

from tests.rig import CONFIG, Rig

RUNS = 200
AT_ONCE = 25
IDLE_S = 0.3
SEED = 20261121


async def one(client, slack):
    """Return (raised, invented finish reasons, seconds after the last chunk)."""
    stream = await client.chat.completions.create(
        model="task:alone", messages=[{"role": "user", "content": "Skriv en mail"}], stream=True
    )
    reasons, last = [], time.perf_counter()
    try:
        async for chunk in stream:
            last = time.perf_counter()
            reasons += [choice.finish_reason for choice in chunk.choices if choice.finish_reason]
    except openai.APIError:
        return True, reasons, time.perf_counter() - last
    return False, reasons, time.perf_counter() - last


async def test_t06_a_stalled_stream_always_makes_the_sdk_raise_within_the_idle_limit(tmp_path):
    """200 runs, each stalling after a random number of events past the first content."""
    chance = random.Random(SEED)
    config = CONFIG.replace("idle: 0.5", f"idle: {IDLE_S}")
    async with Rig(tmp_path, config=config) as rig, rig.openai() as client:
        outcomes = []
        for begin in range(0, RUNS, AT_ONCE):
            count = min(AT_ONCE, RUNS - begin)
            rig.world.queue.extend(f"stall-event={chance.randint(2, 8)}" for _ in range(count))
            outcomes += await asyncio.gather(*(one(client, 1.0) for _ in range(count)))
        await rig.service.flush_traces()
        traces = rig.traces(RUNS)
    assert [raised for raised, _, _ in outcomes] == [True] * RUNS, f"seed {SEED}"
    assert [reasons for _, reasons, _ in outcomes if reasons] == []
    assert max(seconds for _, _, seconds in outcomes) <= IDLE_S + 1
    assert {trace.outcome for trace in traces} == {"stream_interrupted"}
    assert {trace.attempts[0].usage.basis for trace in traces} == {"estimated"}
    assert rig.world.witness.count == RUNS


async def test_t06_the_connection_ends_without_its_last_chunk(rig):
    """On the wire: an error event, then the end, and no `0` chunk."""
    rig.world.queue.append("stall-event=4")
    answer = await rig.raw_stream("task:alone")
    assert b'data: {"error":' in answer
    assert b'"code":"stream_interrupted"' in answer
    assert not answer.endswith(b"0\r\n\r\n")
    assert b"[DONE]" not in answer

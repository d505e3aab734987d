"""A slow first candidate is not waited for: the second is asked beside it, for at most 5 % more calls."""

import asyncio
import random
import time

from tests.rig import CONFIG, Rig

PROMPT = [{"role": "user", "content": "hej"}]
HEDGED = CONFIG.replace('because: "cheapest first"', 'because: "cheapest first", hedge: true').replace(
    "first_chunk: 1,", "first_chunk: 10,"
)
SLOW_S = 3.0
SHARE_SLOW = 0.03


async def one(client, stream):
    """Seconds to a whole answer, and who gave it."""
    began = time.perf_counter()
    if stream:
        raw = await client.chat.completions.with_raw_response.create(model="task:work", messages=PROMPT, stream=True)
        async for _ in raw.parse():
            pass
    else:
        raw = await client.chat.completions.with_raw_response.create(model="task:work", messages=PROMPT)
    return time.perf_counter() - began, raw.headers["x-turnout-model"]


async def test_hedge_the_slow_few_are_answered_by_the_next_candidate(tmp_path, size, seed, proof):
    """3 of 100 first answers stall for 3 s: they are given up for the second candidate's, and nothing else changes."""
    chance = random.Random(seed)
    runs = size(200, 2000)
    async with Rig(tmp_path, config=HEDGED) as rig, rig.openai() as client:
        for number in range(40):
            await one(client, stream=number % 2 == 0)
        took = []
        for begin in range(0, runs, 10):
            slow = [chance.random() < SHARE_SLOW for _ in range(min(10, runs - begin))]
            for is_slow in slow:
                rig.world.by_model["vendor/first"] = f"delay={SLOW_S}" if is_slow else ""
                took.append((*await one(client, stream=chance.random() < 0.5), is_slow))
        traces = await rig.traced()
        metrics = rig.service.metrics().decode()
    hedges = rig.world.witness.count - 40 - runs
    slow_ones = [(seconds, model) for seconds, model, is_slow in took if is_slow]
    assert hedges <= 0.05 * (runs + 40)
    assert "turnout_hedges_total" in metrics
    saved = [seconds for seconds, model in slow_ones if model == "second"]
    assert all(seconds < SLOW_S for seconds in saved)
    assert len(saved) >= 0.5 * len(slow_ones)
    lost = [attempt for trace in traces for attempt in trace.attempts if attempt.outcome == "superseded"]
    assert all(attempt.usage.basis == "estimated" for attempt in lost)
    proof(
        f"{len(saved)} of {len(slow_ones)} answers that stalled for {SLOW_S:g} s came from the second candidate, the slowest "
        f"after {max(saved):.2f} s; {hedges} more calls for {runs} requests"
    )


async def test_hedge_the_loser_is_cancelled_at_once(tmp_path):
    """Its connection is closed within a second; the vendor sees a client that left."""
    async with Rig(tmp_path, config=HEDGED) as rig, rig.openai() as client:
        for _ in range(40):
            await one(client, stream=True)
        rig.world.by_model["vendor/first"] = "delay=60"
        took, model = await one(client, stream=True)
        async with asyncio.timeout(1):
            while rig.world.witness.open:
                await asyncio.sleep(0.01)
    assert model == "second"
    assert took < 2
    assert [one.outcome for one in rig.world.witness.dispatches if one.model == "vendor/first"][-1] == "client-closed"

"""gateway/shared_limits.py: whatever happens, no limit is passed."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.limit_lab import Gateways, limit, most_within_a_minute
from turnout.core.principal import Who
from turnout.errors import RateLimited
from turnout.gateway.virtual_time import run_virtually

ANNA = Who(user="anna")


@pytest.mark.parametrize("seed", range(6))
def test_never_more_than_the_limit_whatever_happens(seed):
    """Gateways come, leave, are killed and stand still, clients ask here and there: no 60 seconds see too many.

    But for what one used that was killed while it was alone: nobody can know that, so nobody is killed alone here.
    """
    requests, tokens, at_once = 40, 1500, 6

    async def main(loop):
        chance = random.Random(seed)
        gateways = Gateways(loop, 2, limit("user:*", requests=requests, tokens=tokens, at_once=at_once))
        seen, made, most = [], 2, 0
        running = {one: set() for one in gateways.limiters}
        under_way = set()

        async def ask(limiter, number):
            want = chance.randrange(20, 120)
            try:
                held = await limiter.admit(ANNA, want)
            except RateLimited:
                return
            used = chance.randrange(0, want + 1)
            seen.append((loop.time(), used))
            under_way.add(number)
            try:
                await asyncio.sleep(chance.random() * 2)
            finally:
                under_way.discard(number)
            held.end(used)

        async with gateways:
            for step in range(4 * 60 * 10):
                await asyncio.sleep(0.1)
                for place in range(chance.randrange(3)):
                    one = chance.choice(list(running))
                    running[one].add(loop.create_task(ask(one, (step, place))))
                most = max(most, len(under_way))
                if step % 70 < 69:
                    continue
                what = chance.random()
                if what < 0.4 and len(running) < 5:
                    made += 1
                    running[await gateways.come(f"w{made}")] = set()
                elif len(running) > 2:
                    one = chance.choice(list(running))
                    tasks = running.pop(one)
                    if what < 0.7:
                        await asyncio.gather(*tasks)
                        await gateways.leave(one)
                    else:
                        for task in tasks:
                            task.cancel()
                        await gateways.kill(one)
            await asyncio.gather(*(task for tasks in running.values() for task in tasks))
        return seen, most

    seen, most = run_virtually(main)
    assert most_within_a_minute([(at, 1) for at, _ in seen]) <= requests
    assert most_within_a_minute(seen) <= tokens
    assert most <= at_once
    assert len(seen) > 60

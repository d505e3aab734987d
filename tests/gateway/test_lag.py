"""How late the event loop is."""

import asyncio
import time

from turnout.gateway.lag import PERIOD_S, LagTimer

BUSY_S = 0.12


async def samples(count, meanwhile=lambda: None):
    """So many samples: (lag, time since the one before). meanwhile: called after each."""
    taken = []
    enough = asyncio.Event()

    def take(lag_s, elapsed_s):
        taken.append((lag_s, elapsed_s))
        meanwhile()
        if len(taken) >= count:
            enough.set()

    timer = LagTimer(time.monotonic, take)
    timer.start()
    try:
        async with asyncio.timeout(10):
            await enough.wait()
    finally:
        timer.stop()
    return taken


async def test_what_holds_the_loop_up_is_its_lag():
    """Less the part of it in which nothing was due."""
    taken = await samples(4, lambda: time.sleep(BUSY_S))
    held = [lag_s for lag_s, _ in taken[1:]]
    assert min(held) >= BUSY_S - PERIOD_S - 0.005


async def test_samples_come_at_their_pace_and_tell_the_time_between_them():
    """A loop at rest is hardly late; the least of a few is what a busy machine cannot spoil."""
    taken = await samples(5)
    assert min(lag_s for lag_s, _ in taken) < 0.02
    assert all(abs(elapsed_s - PERIOD_S - lag_s) < 1e-9 or lag_s == 0 for lag_s, elapsed_s in taken)


async def test_after_its_stop_it_says_nothing_more():
    """And a second stop, or one before any start, is well."""
    taken = []
    timer = LagTimer(time.monotonic, lambda *sample: taken.append(sample))
    timer.stop()
    timer.start()
    timer.stop()
    timer.stop()
    await asyncio.sleep(2 * PERIOD_S)
    assert taken == []

"""Cycles are found at rest, or when a look is overdue; what stands is looked at once; the young ones are few."""

import asyncio
import gc
import weakref

import pytest

from turnout.gateway.collecting import AT_REST, OVERDUE, ROUNDS, YOUNG, Collector

LOOK_S = 0.005


class Knot:
    """Refers to itself, so that only the collector frees it."""

    def __init__(self):
        self.me = self


@pytest.fixture(autouse=True)
def _as_it_was():
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


async def freed(knot):
    """The number of periods until a knot is gone."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.timeout(10):
        gone = loop.create_future()
        watch = weakref.ref(knot.pop(), lambda _: gone.set_result(None))
        await gone
    assert watch() is None
    return (loop.time() - began) / LOOK_S


async def test_a_cycle_is_found_at_rest():
    """And no sooner by anything else, since it is young and alone."""
    collector = Collector(lambda: AT_REST, look_s=LOOK_S)
    collector.start()
    assert gc.get_threshold()[:2] == (YOUNG, ROUNDS)
    assert await freed([Knot()]) >= 0.5
    collector.stop()


async def test_a_gateway_that_never_rests_is_made_to_wait_at_last():
    """Ten periods later."""
    collector = Collector(lambda: AT_REST + 1, look_s=LOOK_S)
    collector.start()
    assert await freed([Knot()]) >= OVERDUE - 1
    collector.stop()


async def test_what_stands_is_looked_at_once():
    """It is in no generation that is looked at any more; what is made later is."""
    standing = [[] for _ in range(3 * YOUNG)]
    collector = Collector(lambda: 0, look_s=LOOK_S)
    collector.start()
    assert not any(standing[0] is one for one in gc.get_objects())
    later = []
    assert any(later is one for one in gc.get_objects())
    collector.stop()


async def test_stopped_it_looks_no_more():
    """Twice is once."""
    looks = []
    collector = Collector(lambda: looks.append(1) or 0, look_s=LOOK_S)
    collector.start()
    collector.stop()
    collector.stop()
    await asyncio.sleep(5 * LOOK_S)
    assert looks == []

"""Cycles are found at rest, or when a look is overdue; what stands is looked at once; the young ones are few."""

import asyncio
import gc
import weakref

import pytest

from turnout.gateway.collecting import AT_REST, LOOK_S, MANY, OVERDUE, ROUNDS, YOUNG, Collector
from turnout.gateway.virtual_time import run_virtually


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


@pytest.fixture(name="start")
def start_fixture():
    """Gives `start(in_flight)`, to be called on a loop."""

    def start(in_flight):
        collector = Collector(in_flight)
        collector.start()
        return collector

    return start


def rounds_until_freed(start, in_flight, standing=0):
    """The number of looks due until a knot is gone. standing: objects made before it, which stay."""

    async def main(loop):
        collector = start(lambda: in_flight)
        stays = [[] for _ in range(standing)]
        gc.collect(0)  # else it is a matter of luck when the next look at young ones comes
        thresholds = gc.get_threshold()
        gone = loop.create_future()
        knot = Knot()
        watch = weakref.ref(knot, lambda _: gone.set_result(loop.time()))
        del knot
        began = loop.time()
        ended = await asyncio.wait_for(gone, 100 * LOOK_S)
        collector.stop()
        assert watch() is None
        assert len(stays) == standing
        assert thresholds[:2] == (YOUNG, ROUNDS)
        return (ended - began) / LOOK_S

    return run_virtually(main)


def test_a_cycle_is_found_at_rest(start):
    """And no sooner by anything else, since it is young and alone."""
    assert rounds_until_freed(start, AT_REST) == 1


def test_a_gateway_that_never_rests_is_made_to_wait_at_last(start):
    """Ten minutes later."""
    assert rounds_until_freed(start, AT_REST + 1) == OVERDUE


def test_a_long_look_is_put_off(start):
    """As nobody waits for it, and all others would."""
    assert rounds_until_freed(start, 0, standing=MANY // 2) == 1
    assert rounds_until_freed(start, 0, standing=MANY + 1) == OVERDUE


def test_what_stands_is_looked_at_once(start):
    """It is in no generation that is looked at any more; what is made later is."""

    async def main(_loop):
        standing = [[] for _ in range(3 * YOUNG)]
        collector = start(lambda: 0)
        assert not any(standing[0] is one for one in gc.get_objects())
        later = []
        assert any(later is one for one in gc.get_objects())
        collector.stop()

    run_virtually(main)


def test_stopped_it_looks_no_more(start):
    """Twice is once."""
    looks = []

    async def main(_loop):
        collector = start(lambda: looks.append(1) or 0)
        await asyncio.sleep(1.5 * LOOK_S)
        collector.stop()
        collector.stop()
        await asyncio.sleep(5 * LOOK_S)

    run_virtually(main)
    assert len(looks) == 1

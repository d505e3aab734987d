from __future__ import annotations

import asyncio

import pytest

from turnout.errors import Overloaded
from turnout.gateway.pool import Pool

KEY = "http://h:80"


class Line:
    """The least that a pool can hold."""

    def __init__(self, pool):
        self.pool = pool
        self.idle_since = 0.0
        self.is_usable = True
        self.was_closed = False

    def abort(self):
        if not self.was_closed:
            self.was_closed = True
            self.is_usable = False
            self.pool.discard(KEY, self)


def pool_of(*, idle=4, keep_s=30.0, slots=4):
    return Pool(max_idle_per_origin=idle, idle_keep_s=keep_s, max_per_origin=slots)


async def opened(pool, count=1):
    """Connections in use."""
    lines = []
    for _ in range(count):
        assert await pool.reserve(KEY, 0.0) is None
        lines.append(Line(pool))
    return lines


async def waiting(pool, count=1):
    """Requests in the queue, in order."""
    tasks = []
    for _ in range(count):
        tasks.append(asyncio.get_running_loop().create_task(pool.reserve(KEY, 0.0)))
        await asyncio.sleep(0)
    return tasks


async def test_nothing_is_idle_at_first():
    """An unknown origin has no connections and leaves no trace."""
    pool = pool_of()
    assert pool.take(KEY, 0.0) is None
    assert repr(pool) == "<Pool empty>"


async def test_the_last_one_back_goes_out_first():
    """So that those not needed grow old."""
    pool = pool_of()
    first, second = await opened(pool, 2)
    pool.put(KEY, first, 1.0)
    pool.put(KEY, second, 2.0)
    assert repr(pool) == f"<Pool {KEY}: 2 idle, 0 in use, 0 waiting>"
    assert pool.take(KEY, 3.0) is second
    assert pool.take(KEY, 3.0) is first
    assert pool.take(KEY, 3.0) is None
    assert repr(pool) == f"<Pool {KEY}: 0 idle, 2 in use, 0 waiting>"
    pool.close()


async def test_what_is_dead_or_too_old_is_not_handed_out():
    """It is closed instead, and its slot is free."""
    pool = pool_of(keep_s=30.0)
    dead, old, fresh = await opened(pool, 3)
    pool.put(KEY, fresh, 20.0)
    pool.put(KEY, old, 5.0)
    pool.put(KEY, dead, 20.0)
    dead.is_usable = False
    assert pool.take(KEY, 40.0) is fresh
    assert (dead.was_closed, old.was_closed) == (True, True)
    assert repr(pool) == f"<Pool {KEY}: 0 idle, 1 in use, 0 waiting>"
    pool.close()


async def test_more_idle_connections_than_allowed_are_closed():
    """The one that comes back too many."""
    pool = pool_of(idle=1)
    first, second = await opened(pool, 2)
    pool.put(KEY, first, 0.0)
    pool.put(KEY, second, 0.0)
    assert (first.was_closed, second.was_closed) == (False, True)
    pool.close()


async def test_an_idle_connection_that_dies_leaves():
    """At once, from the middle of the stack; the origin is forgotten with its last connection."""
    pool = pool_of()
    first, second = await opened(pool, 2)
    pool.put(KEY, first, 0.0)
    pool.put(KEY, second, 0.0)
    first.abort()
    assert repr(pool) == f"<Pool {KEY}: 1 idle, 0 in use, 0 waiting>"
    second.abort()
    assert repr(pool) == "<Pool empty>"
    pool.close()


async def test_those_who_wait_are_served_in_order():
    """By a connection that comes back, or by a slot without one."""
    pool = pool_of(slots=2)
    first, second = await opened(pool, 2)
    one, two, three = await waiting(pool, 3)
    assert repr(pool) == f"<Pool {KEY}: 0 idle, 2 in use, 3 waiting>"
    pool.put(KEY, first, 1.0)
    assert await one is first
    second.abort()
    assert await two is None
    assert not three.done()
    pool.put(KEY, first, 2.0)
    assert await three is first
    assert repr(pool) == f"<Pool {KEY}: 0 idle, 2 in use, 0 waiting>"


async def test_a_full_origin_gives_an_idle_connection_before_it_makes_anyone_wait():
    """Somebody who wants a fresh connection closes it, and has its slot."""
    pool = pool_of(slots=1)
    (line,) = await opened(pool)
    pool.put(KEY, line, 0.0)
    assert await pool.reserve(KEY, 0.0) is line
    line.abort()
    assert await pool.reserve(KEY, 0.0) is None
    pool.release_slot(KEY)
    assert repr(pool) == "<Pool empty>"
    pool.close()


async def test_who_stops_waiting_is_passed_over():
    """Its place is not filled."""
    pool = pool_of(slots=1)
    (line,) = await opened(pool)
    one, two = await waiting(pool, 2)
    one.cancel()
    with pytest.raises(asyncio.CancelledError):
        await one
    assert repr(pool) == f"<Pool {KEY}: 0 idle, 1 in use, 1 waiting>"
    pool.put(KEY, line, 0.0)
    assert await two is line
    line.abort()
    assert repr(pool) == "<Pool empty>"


@pytest.mark.parametrize("what", ["connection", "slot", "close"])
async def test_what_becomes_free_as_a_waiter_is_cancelled_is_not_lost(what):
    """The waiter is cancelled and still queued: the next one gets it."""
    pool = pool_of(slots=1)
    (line,) = await opened(pool)
    one, two = await waiting(pool, 2)
    one.cancel()
    if what == "connection":
        pool.put(KEY, line, 0.0)
        assert await two is line
    elif what == "slot":
        line.abort()
        assert await two is None
    else:
        pool.close()
        with pytest.raises(Overloaded):
            await two
    with pytest.raises(asyncio.CancelledError):
        await one
    assert repr(pool) == f"<Pool {KEY}: 0 idle, 1 in use, 0 waiting>"


async def test_a_waiter_cancelled_as_the_pool_closes_has_nothing_to_pass_on():
    """It was given an error."""
    pool = pool_of(slots=1)
    await opened(pool)
    (one,) = await waiting(pool)
    pool.close()
    one.cancel()
    with pytest.raises(asyncio.CancelledError):
        await one
    pool.release_slot(KEY)
    assert repr(pool) == "<Pool empty>"


@pytest.mark.parametrize("what", ["slot", "connection", "dead connection"])
async def test_what_was_given_to_somebody_cancelled_in_the_same_turn_is_passed_on(what):
    """A slot, a connection, and one that died on the way: nothing leaks."""
    pool = pool_of(slots=1)
    (line,) = await opened(pool)
    (task,) = await waiting(pool)
    if what == "slot":
        line.abort()
    else:
        pool.put(KEY, line, 0.0)
    line.is_usable = what == "connection"
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert repr(pool) == (f"<Pool {KEY}: 1 idle, 0 in use, 0 waiting>" if what == "connection" else "<Pool empty>")
    pool.close()


async def test_idle_connections_are_swept_when_their_time_is_up():
    """By one timer, that is armed while anything is idle and not otherwise."""
    loop = asyncio.get_running_loop()
    pool = pool_of(keep_s=0.05)
    first, second = await opened(pool, 2)
    assert pool._sweeper is None
    pool.put(KEY, first, loop.time() - 0.03)
    pool.put(KEY, second, loop.time())
    closed = []
    for line in (first, second):
        done = asyncio.Event()
        line.abort = lambda abort=line.abort, done=done: (abort(), done.set())
        closed.append(done)
    await asyncio.wait_for(asyncio.gather(*(done.wait() for done in closed)), 5)
    assert repr(pool) == "<Pool empty>"
    assert pool._sweeper is None


async def test_a_sweep_leaves_what_is_young():
    """And is armed again for it."""
    loop = asyncio.get_running_loop()
    pool = pool_of(keep_s=30.0)
    old, young = await opened(pool, 2)
    pool.put(KEY, old, loop.time() - 40.0)
    pool.put(KEY, young, loop.time())
    pool._sweep()
    assert (old.was_closed, young.was_closed) == (True, False)
    assert 29.0 < pool._sweeper.when() - loop.time() <= 30.0
    pool.close()


async def test_a_closed_pool_keeps_and_gives_nothing():
    """Idle connections are closed, those who wait and those who come are refused, what comes back is closed."""
    pool = pool_of(slots=2)
    idle, busy = await opened(pool, 2)
    one, two = await waiting(pool, 2)
    two.cancel()
    pool.put(KEY, idle, 0.0)
    assert await one is idle
    pool.put(KEY, idle, 0.0)
    (three,) = await waiting(pool)
    assert await three is idle
    (four,) = await waiting(pool)
    pool.close()
    with pytest.raises(Overloaded):
        await four
    with pytest.raises(Overloaded):
        await pool.reserve(KEY, 0.0)
    pool.put(KEY, busy, 0.0)
    pool.put(KEY, idle, 0.0)
    assert (idle.was_closed, busy.was_closed) == (True, True)
    pool.close()
    assert repr(pool) == "<Pool empty>"
    with pytest.raises(asyncio.CancelledError):
        await two


async def test_closing_closes_what_is_idle_and_stops_the_sweep():
    """Nothing of the pool is left on the loop."""
    pool = pool_of()
    (line,) = await opened(pool)
    pool.put(KEY, line, 0.0)
    pool.close()
    assert (line.was_closed, pool._sweeper, pool.is_closed) == (True, None, True)

"""gateway/quota_saver.py: what was used of quotas is known after a restart."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import pytest

from turnout.core.catalog import Account, Candidate, Model, Quota
from turnout.core.eligible import Choice
from turnout.errors import QuotaExhausted
from turnout.gateway.clock import SystemClock
from turnout.gateway.quota_saver import FACT, QuotaSaver
from turnout.gateway.scheduler import Scheduler
from turnout.gateway.waiting import Want
from turnout.stores.sqlite import SqliteStateStore

QUOTAS = {"free": Quota("free", "free", requests_minute=2, requests_day=50)}
FREE = Choice(
    Candidate("a@free", Model(name="a", provider="free", id="a"), Account("free", "compatible"), "a", None, ("free",)),
    "control",
)


@pytest.fixture
def store(tmp_path):
    store = SqliteStateStore(tmp_path / "state.sqlite3")
    yield store
    store.close()


def started(store):
    """A gateway's part, after a start."""
    clock = SystemClock()
    scheduler = Scheduler(QUOTAS, clock)
    return scheduler, QuotaSaver(store, scheduler, clock, contextlib.nullcontext())


async def used_up(scheduler):
    """Take all that there is."""
    while (turn := scheduler.now_or_never([FREE], Want("me", "high", 0.0))) is not None:
        turn.end(0)


async def test_what_was_used_before_a_restart_stays_used(store):
    """The next run has no more than what is left."""
    scheduler, saver = started(store)
    await used_up(scheduler)
    await saver.save()
    again, _ = started(store)
    with pytest.raises(QuotaExhausted):
        await again.turn([FREE], Want("me", "high", 0.0))


async def test_it_is_written_while_it_runs(store):
    """At once after a calm, so that a kill loses next to nothing."""
    scheduler, saver = started(store)
    running = asyncio.get_running_loop().create_task(saver.run())
    await used_up(scheduler)
    async with asyncio.timeout(5):
        while store.get_fact(FACT) is None:
            await asyncio.sleep(0.005)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_what_has_not_changed_is_not_written(store):
    """An idle gateway leaves its file alone."""
    scheduler, saver = started(store)
    await saver.save()
    assert store.get_fact(FACT) is None
    await used_up(scheduler)
    await saver.save()
    store.put_fact(FACT, b"ours")
    await saver.save()
    assert store.get_fact(FACT) == b"ours"


async def test_what_cannot_be_read_is_said_and_forgotten(store, caplog):
    """It is no reason not to start."""
    store.put_fact(FACT, b"nonsense")
    scheduler, _ = started(store)
    assert ["what was used of quotas cannot be read, counting begins anew"] == [r.message for r in caplog.records]
    assert scheduler.now_or_never([FREE], Want("me", "high", 0.0)) is not None


async def test_a_file_that_cannot_be_written_is_said_once_and_tried_again(tmp_path, caplog):
    """One line for each time that it begins to fail, not for each second."""
    store = SqliteStateStore(tmp_path / "state.sqlite3")
    scheduler, saver = started(store)
    await used_up(scheduler)
    store.close()
    await saver.save()
    await saver.save()
    assert len(caplog.records) == 1
    assert "cannot be written" in caplog.records[0].message
    saver._state = store = SqliteStateStore(tmp_path / "state.sqlite3")
    await saver.save()
    assert store.get_fact(FACT) is not None
    store.close()


async def test_the_loop_does_not_wait_for_the_file(store):
    """It is written in a thread, which waits for whoever holds the lock."""
    clock = SystemClock()
    scheduler = Scheduler(QUOTAS, clock)
    lock = threading.Lock()
    saver = QuotaSaver(store, scheduler, clock, lock)
    await used_up(scheduler)
    with lock:
        saving = asyncio.get_running_loop().create_task(saver.save())
        await asyncio.sleep(0)
        assert store.get_fact(FACT) is None
    await saving
    assert store.get_fact(FACT) is not None

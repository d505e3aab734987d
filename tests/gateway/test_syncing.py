"""A journal is on the disk within the window, or at once for whoever waits, and its failures are told."""

from __future__ import annotations

import asyncio

import pytest

from tests.entries import intent
from tests.gateway.disks import FailingDisk
from tests.gateway.ledgers import until
from turnout.gateway.journal import Journal
from turnout.gateway.syncing import Syncing


@pytest.fixture
def disk():
    return FailingDisk()


@pytest.fixture
def journal(tmp_path, disk):
    made = Journal(tmp_path, "w1", disk=disk)
    made.open()
    yield made
    made.close()


@pytest.fixture
async def failures():
    return []


@pytest.fixture
async def syncing(journal, failures):
    made = Syncing(journal, failures.append)
    made.start()
    yield made
    await made.stop()
    await made.stop()


async def test_what_is_marked_is_synced(journal, syncing):
    """Without anybody waiting for it."""
    journal.write(intent("a-1"))
    syncing.mark()
    await until(lambda: journal.synced == journal.position)


async def test_nothing_is_synced_while_nothing_is_written(journal, syncing, disk):
    """An idle gateway leaves the disk alone."""
    syncing.mark()
    await until(lambda: journal.synced == journal.position)
    disk.calls.clear()
    await asyncio.sleep(0.05)
    assert [] == disk.calls


async def test_who_waits_does_not_wait_for_the_window(journal, failures):
    """And who has nothing to wait for does not wait at all."""
    slow = Syncing(journal, failures.append, window_s=30.0)
    slow.start()
    for n in range(3):
        journal.write(intent(f"a-{n}"))
        async with asyncio.timeout(10):
            await slow.until(journal.position)
            await slow.until(journal.position)
    await slow.stop()


async def test_those_who_wait_together_share_a_sync(journal, syncing, disk):
    """A hundred at once take a few, on a busy machine some more."""

    async def one(name):
        journal.write(intent(name))
        await syncing.until(journal.position)

    await asyncio.gather(*[one(f"a-{n}") for n in range(100)])
    assert journal.synced == journal.position
    assert disk.calls.count("sync") < 40


async def test_who_gives_up_waiting_does_not_disturb_the_others(journal, syncing):
    """A request that was cancelled."""
    journal.write(intent("a-1"))
    loop = asyncio.get_running_loop()
    gone = loop.create_task(syncing.until(journal.position))
    stays = loop.create_task(syncing.until(journal.position))
    await asyncio.sleep(0)
    gone.cancel()
    await stays
    assert gone.cancelled()


async def test_a_failure_is_told_to_those_who_wait(journal, syncing, disk, failures):
    """And to the owner, who renews the journal; then it goes on."""
    disk.fails = {"sync"}
    journal.write(intent("a-1"))
    loop = asyncio.get_running_loop()
    gone = loop.create_task(syncing.until(journal.position))
    stays = loop.create_task(syncing.until(journal.position))
    await asyncio.sleep(0)
    gone.cancel()
    with pytest.raises(OSError, match="Input/output"):
        await stays
    assert 1 <= len(failures)
    disk.fails = set()
    journal.renew()
    journal.write(intent("a-1"))
    await syncing.until(journal.position)


async def test_a_stop_syncs_what_is_left(journal, failures):
    """However far the window is."""
    slow = Syncing(journal, failures.append, window_s=30.0)
    slow.start()
    journal.write(intent("a-1"))
    slow.mark()
    await slow.stop()
    assert journal.synced == journal.position

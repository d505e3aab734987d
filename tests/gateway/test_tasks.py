"""Tasks have names, references and a voice."""

import asyncio
import logging

from turnout.gateway.tasks import Tasks


async def test_a_task_runs_under_its_name_and_is_forgotten_when_done():
    """The reference is kept as long as it runs."""
    tasks = Tasks()
    gate = asyncio.Event()

    async def work():
        await gate.wait()
        return 7

    task = tasks.start(work(), "the work")
    assert task.get_name() == "the work"
    assert len(tasks) == 1
    gate.set()
    assert await task == 7
    await asyncio.sleep(0)
    assert len(tasks) == 0


async def test_a_failure_is_logged_once_with_the_name(caplog):
    """Nothing dies silently."""
    tasks = Tasks()

    async def work():
        raise ValueError("broken")

    with caplog.at_level(logging.ERROR, "turnout.tasks"):
        task = tasks.start(work(), "doomed")
        await asyncio.wait([task])
        await asyncio.sleep(0)
    assert [record.getMessage() for record in caplog.records] == ["task doomed failed: ValueError('broken')"]


async def test_stop_cancels_and_waits_for_the_cleaning_up():
    """What a task does in `finally` is done when `stop` returns."""
    tasks = Tasks()
    done = []
    begun = asyncio.Event()

    async def work():
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            done.append(True)

    tasks.start(work(), "long")
    await begun.wait()
    await tasks.stop()
    assert done == [True]
    await tasks.stop()


async def test_ended_waits_for_all_without_a_word():
    """And for what those start that are waited for."""
    tasks = Tasks()
    done = []

    async def work(name):
        await asyncio.sleep(0)
        if name == "first":
            tasks.start(work("second"), "second")
        done.append(name)

    tasks.start(work("first"), "first")
    await tasks.ended()
    assert done == ["first", "second"]
    assert len(tasks) == 0
    await tasks.ended()

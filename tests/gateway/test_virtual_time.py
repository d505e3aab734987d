"""The loop whose time jumps: asyncio as ever, without the waiting."""

import asyncio
import threading
import time

import pytest

from turnout.gateway.virtual_time import Standstill, VirtualClock, VirtualLoop, run_virtually


def test_a_day_takes_no_time_and_ends_to_the_instant() -> None:
    """Sleeps, timers and timeouts ring in order, exactly when they are due, however many hours lie between."""
    rung: list[tuple[str, float]] = []

    async def main(loop: VirtualLoop) -> float:
        async def sleeper(name: str, delay_s: float) -> None:
            await asyncio.sleep(delay_s)
            rung.append((name, loop.time() - 1000.0))

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1), asyncio.TaskGroup() as group:
                group.create_task(sleeper("never", 86_400.0))
        loop.call_at(1000.0 + 7200.0, lambda: rung.append(("timer", loop.time() - 1000.0)))
        async with asyncio.TaskGroup() as group:
            for name, delay_s in (("night", 86_399.9), ("noon", 43_199.9), ("soon", 0.0)):
                group.create_task(sleeper(name, delay_s))
        return loop.time()

    began = time.perf_counter()
    ended = run_virtually(main)
    assert time.perf_counter() - began < 5
    assert [("soon", 0.1), ("timer", 7200.0), ("noon", 43_200.0), ("night", 86_400.0)] == [
        (name, pytest.approx(at)) for name, at in rung
    ]
    assert ended == 1000.0 + rung[-1][1]


def test_timers_ring_at_their_very_instant() -> None:
    """However awkward the numbers: one that rings a hair early makes its owner wait for nothing, again and again."""

    async def main(loop: VirtualLoop) -> int:
        wrong = 0
        for number in range(1, 2000):
            due = loop.time() + 86_400.0 / number / 7
            rung = loop.create_future()
            loop.call_at(due, rung.set_result, None)
            await rung
            wrong += loop.time() != due
        return wrong

    assert 0 == run_virtually(main)


def test_the_same_run_twice_is_the_same() -> None:
    """Draws, ids and the order of things repeat with the seed, and change with it."""

    def run(seed: int) -> list[object]:
        async def main(loop: VirtualLoop) -> list[object]:
            clock = VirtualClock(loop, began=1.8e9, seed=seed)
            told: list[object] = [clock.token()]
            for _ in range(3):
                await asyncio.sleep(clock.draw())
                told += [clock.now(), clock.wall(), clock.request_id()]
            return told

        return run_virtually(main)

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_the_clock_and_the_loop_are_one() -> None:
    """The wall clock begins where it is told to, and both move as the loop does."""

    async def main(loop: VirtualLoop) -> tuple[float, float, bool]:
        clock = VirtualClock(loop, began=1.8e9)
        await asyncio.sleep(60)
        return clock.now() - 500.0, clock.wall() - 1.8e9, 0 <= clock.draw() < 1

    assert (60.0, 60.0, True) == run_virtually(main, begins_at=500.0)


def test_a_deadlock_is_named_instead_of_hanging() -> None:
    """When no timer is left, whoever waits is told; its `finally` still runs."""
    ended: list[str] = []

    async def stuck() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("stuck")

    async def main(loop: VirtualLoop) -> None:
        await asyncio.sleep(5)
        await loop.create_task(stuck(), name="who waits for ever")

    with pytest.raises(Standstill, match=r"1005\.000 s; these wait: .*who waits for ever"):
        run_virtually(main)
    assert ["stuck"] == ended


def test_polling_is_named_instead_of_hanging() -> None:
    """A task that gives up its turn again and again, while time stands still, is a fault."""

    async def main(loop: VirtualLoop) -> None:
        while loop.time() < 2000.0:
            await asyncio.sleep(0)

    with pytest.raises(Standstill, match="polls"):
        run_virtually(main)


def test_what_runs_in_a_thread_takes_no_virtual_time() -> None:
    """The loop waits for it in earnest, although a timer is near; its result and its error come back."""
    may_end = threading.Event()

    def slow() -> str:
        may_end.wait(20)
        return "done"

    def broken() -> None:
        raise ValueError("no")

    async def main(loop: VirtualLoop) -> tuple[str, float]:
        loop.call_later(0.001, may_end.set)  # rings only when the thread has ended: so it must not be needed
        threading.Timer(0.05, may_end.set).start()
        told = await asyncio.to_thread(slow)
        at = loop.time()
        with pytest.raises(ValueError, match="no"):
            await asyncio.to_thread(broken)
        return told, at

    assert ("done", 1000.0) == run_virtually(main)


def test_an_error_of_the_main_task_comes_out() -> None:
    """As with asyncio.run, and tasks that are left are cancelled."""
    left: list[bool] = []

    async def other() -> None:
        try:
            await asyncio.sleep(1e6)
        except asyncio.CancelledError:
            left.append(True)
            raise

    async def main(loop: VirtualLoop) -> None:
        task = loop.create_task(other())
        await asyncio.sleep(1)
        assert not task.done()
        raise KeyError("gone")

    with pytest.raises(KeyError, match="gone"):
        run_virtually(main)
    assert [True] == left

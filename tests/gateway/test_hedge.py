"""Two runners against each other: who wins, who is cancelled, and what comes too late."""

import asyncio

import pytest

from turnout.errors import UpstreamFault
from turnout.gateway.hedge import race
from turnout.gateway.tasks import Tasks

SILENT_S = 0.01


class Course:
    """Runners whose results are released by hand. cancelled: whose run was cut short. discarded: what came too late."""

    def __init__(self) -> None:
        self.tasks = Tasks()
        self.gates = {name: asyncio.Event() for name in ("first", "second")}
        self.results = {"first": 1, "second": 2}
        self.started: list[str] = []
        self.cancelled: list[str] = []
        self.discarded: list[int] = []
        self.begun = asyncio.Event()

    async def run(self, name):
        self.started.append(name)
        try:
            await self.gates[name].wait()
        except asyncio.CancelledError:
            self.cancelled.append(name)
            raise
        result = self.results[name]
        if isinstance(result, Exception):
            raise result
        return result

    def second(self):
        self.begun.set()
        return self.run("second")

    def race(self, *, after_s=SILENT_S, second=None):
        return race(
            self.tasks,
            self.run("first"),
            second or self.second,
            after_s=after_s,
            has_won=lambda result: result > 0,
            discard=self.discarded.append,
        )


async def test_a_first_that_is_quick_runs_alone():
    """No second is begun."""
    course = Course()
    course.gates["first"].set()
    assert await course.race(after_s=10.0) == 1
    assert course.started == ["first"]


async def test_the_second_begins_when_the_first_is_silent_and_may_win():
    """The loser is cancelled, and has ended when the winner is told."""
    course = Course()
    course.gates["second"].set()
    assert await course.race() == 2
    assert (course.started, course.cancelled, len(course.tasks)) == (["first", "second"], ["first"], 0)


async def test_the_first_may_still_win():
    """Then the hedge is cancelled."""
    course = Course()
    running = asyncio.ensure_future(course.race())
    await course.begun.wait()
    course.gates["first"].set()
    assert await running == 1
    assert course.cancelled == ["second"] or course.started == ["first"]


async def test_a_loser_is_waited_past():
    """A result that has not won is kept only if nothing better comes."""
    course = Course()
    course.results["first"] = -1
    running = asyncio.ensure_future(course.race())
    await course.begun.wait()
    course.gates["first"].set()
    await asyncio.sleep(0)
    assert not running.done()
    course.gates["second"].set()
    assert await running == 2


async def test_when_both_lose_a_loss_is_told():
    """Nobody is left to wait for."""
    course = Course()
    course.results.update(first=-1, second=-2)
    running = asyncio.ensure_future(course.race())
    await course.begun.wait()
    for gate in course.gates.values():
        gate.set()
    assert await running == -1


async def test_two_that_arrive_together_leave_one_to_discard():
    """What is not taken is given back, never dropped."""
    course = Course()
    running = asyncio.ensure_future(course.race())
    await course.begun.wait()
    for gate in course.gates.values():
        gate.set()
    won = await running
    assert sorted([won, *course.discarded]) == [1, 2] or course.cancelled


async def test_there_may_be_no_second():
    """Its budget was empty: the first goes on alone."""
    course = Course()

    def none():
        course.begun.set()

    running = asyncio.ensure_future(course.race(second=none))
    await course.begun.wait()
    course.gates["first"].set()
    assert await running == 1


async def test_cancelling_the_race_cancels_both():
    """And it is over only when they are."""
    course = Course()
    running = asyncio.ensure_future(course.race())
    await course.begun.wait()
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert sorted(course.cancelled) == ["first", "second"]
    assert len(course.tasks) == 0


async def test_a_runners_bug_is_raised(caplog):
    """A race hides no exception."""
    course = Course()
    course.results["first"] = UpstreamFault("boom")
    course.gates["first"].set()
    with pytest.raises(UpstreamFault, match="boom"):
        await course.race()
    assert "task attempt failed" in caplog.text


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("turns", range(6))
async def test_a_winner_that_nobody_takes_any_more_is_given_back(turns, times):
    """Whenever the cancellation comes, once or twice: every result is returned or discarded, and nothing runs on."""
    course = Course()
    running = asyncio.ensure_future(course.race())
    await course.begun.wait()
    course.gates["first"].set()
    for _ in range(turns):
        await asyncio.sleep(0)
    for _ in range(times):
        running.cancel()
        await asyncio.sleep(0)
    (told,) = await asyncio.gather(running, return_exceptions=True)
    assert len(course.tasks) == 0
    taken = [*course.discarded, *course.cancelled, *([] if isinstance(told, BaseException) else [told])]
    assert len(taken) == len(course.started)

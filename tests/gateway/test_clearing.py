"""gateway/clearing.py: who clears tells the others, through the file that they share."""

from __future__ import annotations

import asyncio
import itertools
import threading

import pytest

from tests.gateway.lab import StillClock
from turnout.errors import StoreError
from turnout.gateway.cache import Cache
from turnout.gateway.clearing import Clearing
from turnout.gateway.exchange import AnswerHeads
from turnout.stores.sqlite import SqliteStateStore


class Forgetful:
    """A Finder that knows nothing, and remembers what it was told to forget."""

    def __init__(self) -> None:
        self.forgot: list[str | None] = []
        self.heard = asyncio.Event()

    async def find(self, exchange, planned):
        """It never knows."""

    def learn(self, exchange, planned, kept):
        """It learns nothing."""

    def clear(self, workspace):
        """Note it."""
        self.forgot.append(workspace)
        self.heard.set()
        return 2


class Process:
    """One gateway's part of it, over its own connection to the file."""

    def __init__(self, path, tokens) -> None:
        self.state = SqliteStateStore(path)
        self.finder = Forgetful()
        cache = Cache(StillClock(), AnswerHeads(), {})
        cache.finders.append(self.finder)
        self.clearing = Clearing(self.state, cache, lambda: f"mark {next(tokens)}", threading.RLock())


@pytest.fixture
async def both(tmp_path):
    """Two processes of one home."""
    tokens = itertools.count()
    pair = [Process(tmp_path / "state.sqlite3", tokens) for _ in range(2)]
    for one in pair:
        one.clearing.start()
    yield pair
    for one in pair:
        await one.clearing.stop()
        one.state.close()


async def test_who_clears_says_how_many_and_the_other_forgets_everything(both):
    """Whichever workspace was meant; once, and not again at the next look."""
    ours, theirs = both
    assert await ours.clearing.clear("blue") == 2
    for _ in range(2):
        for one in both:
            await asyncio.to_thread(one.clearing.look)
    await asyncio.wait_for(theirs.finder.heard.wait(), 5)
    assert (ours.finder.forgot, theirs.finder.forgot) == (["blue"], [None])


async def test_of_several_marks_the_last_is_enough(both):
    """They may come between two looks."""
    ours, theirs = both
    for _ in range(3):
        await ours.clearing.clear(None)
    await asyncio.to_thread(theirs.clearing.look)
    await asyncio.wait_for(theirs.finder.heard.wait(), 5)
    assert theirs.finder.forgot == [None]


async def test_a_mark_from_before_the_start_is_old(both, tmp_path):
    """A new process holds nothing that could be wrong."""
    await both[0].clearing.clear(None)
    late = Process(tmp_path / "state.sqlite3", itertools.count(100))
    late.clearing.start()
    await asyncio.to_thread(late.clearing.look)
    await late.clearing.stop()
    late.state.close()
    assert late.finder.forgot == []


async def test_after_the_stop_nothing_is_followed(both):
    """A thread may still be looking."""
    ours, theirs = both
    await theirs.clearing.stop()
    await ours.clearing.clear(None)
    await asyncio.to_thread(theirs.clearing.look)
    assert theirs.finder.forgot == []


async def test_a_file_that_cannot_be_written_is_told_after_ours_are_gone(both):
    """The others have not heard then."""
    ours, _ = both
    ours.state.close()
    with pytest.raises(StoreError):
        await ours.clearing.clear(None)
    assert ours.finder.forgot == [None]

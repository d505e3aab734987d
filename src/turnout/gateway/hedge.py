"""Runs two attempts against each other: the second begins when the first has been silent for too long.

The first that wins ends the race; the other is cancelled, and waited for, so that its connection is closed and its books
are made before anything else happens. Cancelling the race cancels both, and it is over only when they are, however often it
is cancelled; then the winner is given back too. When a second begins is core/hedging.py's to say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from turnout.gateway.tasks import Tasks

T = TypeVar("T")


async def race(
    tasks: Tasks,
    first: Coroutine[Any, Any, T],
    second: Callable[[], Coroutine[Any, Any, T] | None],
    *,
    after_s: float,
    has_won: Callable[[T], bool],
    discard: Callable[[T], object],
) -> T:
    """Return the first result that `has_won`, else the one that came last; of two at once, the first runner's.

    second: asked after `after_s` seconds of silence; None if there shall be none. discard: takes every other result.
    Raises what the runners raise.
    """
    runners = [tasks.start(first, "attempt")]
    taken: list[asyncio.Task[T]] = []
    try:
        await asyncio.wait(runners, timeout=after_s)
        if not runners[0].done() and (work := second()) is not None:
            runners.append(tasks.start(work, "hedge"))
        taken.append(await _winner(runners, has_won))
    finally:
        interrupted = await _stop([runner for runner in runners if runner not in taken])
        if interrupted is not None:
            taken.clear()
        for runner in runners:
            if runner not in taken and not runner.cancelled() and runner.exception() is None:
                discard(runner.result())
    if interrupted is not None:
        raise interrupted
    return taken[0].result()


async def _winner(runners: Sequence[asyncio.Task[T]], has_won: Callable[[T], bool]) -> asyncio.Task[T]:
    running = set(runners)
    while True:
        done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        ended = [runner for runner in runners if runner in done]
        for runner in ended:
            if has_won(runner.result()):
                return runner
        if not running:
            return ended[0]


async def _stop(runners: Sequence[asyncio.Task[T]]) -> asyncio.CancelledError | None:
    """Cancel all and wait for all. Returns the cancellation that came meanwhile: it waits too, or their books stay open."""
    interrupted = None
    for runner in runners:
        runner.cancel()
    while left := [runner for runner in runners if not runner.done()]:
        try:
            await asyncio.wait(left)
        except asyncio.CancelledError as cancelled:
            interrupted = cancelled
    return interrupted

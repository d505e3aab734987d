"""Runs asyncio without waiting: an event loop whose time stands still while there is work, then jumps to the next timer.

A day with a thousand requests takes seconds, and goes the same way every time: nothing here depends on how fast the machine
is. For drills, and for tests of whatever waits. Rules:
* There is nothing but tasks and timers: no sockets, no signals, no child processes.
* What runs in a thread is waited for in real time, and takes no virtual time.
* When nothing can ever happen again, or time does not move on, it raises Standstill instead of hanging.

It is asyncio's own loop with another selector, so tasks, timeouts and cancellation are asyncio's; `_selector`, `_scheduled`
and `_write_to_self` are what its public loops fill in too (base_events.py, 3.11 to 3.14).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from turnout.core.simulation.chance import Chance

T = TypeVar("T")

BEGINS_AT = 1000.0
"""The first instant, in virtual seconds: not 0, which elsewhere stands for "it did not come to that"."""

TURNS = 100_000
"""Turns of the loop at one instant, at most: 100 times what a thousand requests in one burst need. More is polling."""


class Standstill(RuntimeError):
    """Nobody can go on: every task waits for another, or time does not move."""


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop on virtual time. `time()` is its clock."""

    _scheduled: list[asyncio.TimerHandle]

    def __init__(self, begins_at: float = BEGINS_AT) -> None:
        super().__init__()
        self._at = begins_at
        self._turns = 0
        self._threads = 0
        self._woken = threading.Event()
        self._selector = self  # BaseEventLoop asks it what has happened

    def time(self) -> float:
        """Virtual seconds."""
        return self._at

    def select(self, timeout: float | None) -> tuple[()]:
        """Move time on to the next timer, unless something is ready (timeout: 0). No event ever comes from outside."""
        if timeout == 0:
            self._turns += 1
            if self._turns > TURNS:
                raise Standstill(f"{TURNS:,} turns at one instant ({self._at:.3f} s): something polls")
        elif self._threads:
            self._woken.wait()
            self._woken.clear()
        elif timeout is None:
            waiting = ", ".join(sorted(task.get_name() for task in asyncio.all_tasks(self)))
            raise Standstill(f"nothing can happen any more at {self._at:.3f} s; these wait: {waiting}")
        else:
            self._turns = 0
            self._at = max(self._at, self._scheduled[0].when())  # to the very instant: adding `timeout` may miss it
        return ()

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """As asyncio's; time stands still until it is done."""
        running = super().run_in_executor(executor, func, *args)
        self._threads += 1
        running.add_done_callback(self._thread_ended)
        return running

    def _thread_ended(self, _done: asyncio.Future[Any]) -> None:
        self._threads -= 1

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109  # asyncio's signature
        """As asyncio's, which ends the threads from one more thread."""
        del timeout  # real seconds, which have no meaning here
        self._threads += 1
        try:
            await super().shutdown_default_executor()
        finally:
            self._threads -= 1

    def _write_to_self(self) -> None:
        """Wake from `select`: called from another thread, or by a signal's handler."""
        self._woken.set()

    def _process_events(self, event_list: tuple[()]) -> None:
        """There are none."""


class VirtualClock:
    """The clock of what runs on a VirtualLoop (see clock.Clock). seed: the same draws and ids every time.

    began: Unix seconds at the loop's first instant.
    """

    def __init__(self, loop: VirtualLoop, *, began: float, seed: int = 1) -> None:
        self._loop = loop
        self._offset = began - loop.time()
        self._seed = seed
        self._drawn = 0

    def now(self) -> float:
        """Virtual seconds."""
        return self._loop.time()

    def wall(self) -> float:
        """Unix seconds of the virtual day."""
        return self._offset + self._loop.time()

    def draw(self) -> float:
        """A number in [0, 1)."""
        return self._next().draw("draw")

    def request_id(self) -> str:
        """As SystemClock's: milliseconds, then chance."""
        return f"req_{int(self.wall() * 1000):012x}{self._next().name}"

    def token(self) -> str:
        """No secret: the same every time."""
        return self._next().name

    def _next(self) -> Chance:
        self._drawn += 1
        return Chance(self._seed, b"clock", self._drawn)


def run_virtually(main: Callable[[VirtualLoop], Coroutine[Any, Any, T]], *, begins_at: float = BEGINS_AT) -> T:
    """Run `main(loop)` to its end on a loop of its own. Raises what it raises, or Standstill."""
    loop = VirtualLoop(begins_at)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main(loop))

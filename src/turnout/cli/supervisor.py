"""Keeps the workers of `turnout serve --workers N`: starts them, starts them again, passes signals on, ends with them.

The supervisor serves nothing and holds no key. It opens the listening socket, makes the master key and gives each worker
the socket over its stdin (`api/hand_over.py`), which is a worker's life line too: when the supervisor is gone, however
that came, the worker finds its stdin closed and ends as by Ctrl-C. So nothing outlives a SIGKILL, on any Unix.

A worker has a session of its own: Ctrl-C in a terminal is the supervisor's to pass on, once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from turnout.api.hand_over import give, until_ready
from turnout.gateway.tasks import Tasks

TURNOUT: Final = (sys.executable, "-P", "-c", "from turnout.cli import main; main()")
"""The command that we are ourselves. -P: no module is taken from the folder that we were started in."""

PASSED_ON: Final = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
STOPPING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)

_log = logging.getLogger("turnout.supervisor")


class Backoff(msgspec.Struct, frozen=True):
    """When a worker that ended is started again, in seconds.

    At once, if it has served for `steady_s` or this is the first time: a start takes 0.3 s, and its clients wait. Else it
    does not recover: after 1, 2, 4 … `longest_s`. forced_s: after a second signal to stop, before the rest is killed.
    """

    steady_s: float = 1.0
    first_s: float = 1.0
    longest_s: float = 30.0
    forced_s: float = 3.0

    def delay_s(self, early: int) -> float:
        """How long to wait after `early` starts in a row that did not last. O(1)."""
        return 0.0 if early <= 1 else min(self.longest_s, self.first_s * 2.0 ** min(early - 2, 30))


class Supervisor:
    """Workers over one listening socket. command: how to start one. on_ready: called once, when all serve."""

    def __init__(
        self,
        listener: socket.socket,
        command: Sequence[str],
        count: int,
        *,
        on_ready: Callable[[], object],
        backoff: Backoff | None = None,
    ) -> None:
        self._listener = listener
        self._command = tuple(command)
        self._count = count
        self._on_ready = on_ready
        self._backoff = backoff or Backoff()
        self._tasks = Tasks()
        self._running: dict[int, Process] = {}
        self._ready: set[int] = set()
        self._awaited = set(range(1, count + 1))
        self._stopped_by: signal.Signals | None = None
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Keep the workers until told to stop and the last has ended. Takes the signals of the process."""
        loop = asyncio.get_running_loop()
        for sign in STOPPING:
            loop.add_signal_handler(sign, self.stop, sign)
        for sign in PASSED_ON:
            loop.add_signal_handler(sign, self._pass_on, sign)
        try:
            await asyncio.gather(*[self._tasks.start(self._keep(n), f"worker {n}") for n in range(1, self._count + 1)])
        finally:
            await self._tasks.stop()
            for sign in (*STOPPING, *PASSED_ON):
                loop.remove_signal_handler(sign)

    def stop(self, sign: signal.Signals) -> None:
        """Pass a signal to stop on, and start no worker again. A second one ends a worker that does not even then."""
        if self._stopped_by is not None:
            self._tasks.start(self._force(), "end by force")
        self._stopped_by = sign
        self._stopping.set()
        self._listener.close()  # the workers hold it still, for as long as they accept
        for number, process in self._running.items():
            # One that has not come as far as its own signals yet has nothing to end: no traceback of a Ctrl-C either.
            _signal(process, sign if number in self._ready else signal.SIGTERM)

    def _pass_on(self, sign: signal.Signals) -> None:
        for number in self._ready:
            _signal(self._running[number], sign)

    async def _force(self) -> None:
        await asyncio.sleep(self._backoff.forced_s)
        for process in self._running.values():
            _signal(process, signal.SIGKILL)

    async def _keep(self, number: int) -> None:
        """Keep one worker running until told to stop."""
        loop = asyncio.get_running_loop()
        early = 0
        while self._stopped_by is None:
            code, ready_at = await self._run_one(number)
            if self._stopped_by is not None:
                return
            has_lasted = ready_at is not None and loop.time() - ready_at >= self._backoff.steady_s
            early = 1 if has_lasted else early + 1
            delay_s = self._backoff.delay_s(early)
            if delay_s:
                told = "worker %d ended (%s): %d starts in a row that did not last, the next in %g s"
                _log.error(told, number, _told(code), early, delay_s)
            else:
                _log.error("worker %d ended (%s): another starts", number, _told(code))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay_s)

    async def _run_one(self, number: int) -> tuple[int, float | None]:
        """Start one worker and give it the listener. Return, once it has ended, its exit code and when it began to serve."""
        ready_at = None
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                ours.setblocking(False)
                give(ours, self._listener)
                process = await asyncio.create_subprocess_exec(
                    *self._command, stdin=theirs.fileno(), start_new_session=True
                )
            self._running[number] = process
            if self._stopped_by is not None:
                _signal(process, signal.SIGTERM)
            try:
                if await until_ready(ours):
                    ready_at = asyncio.get_running_loop().time()
                    self._became_ready(number)
                return await process.wait(), ready_at
            finally:
                self._ready.discard(number)
                del self._running[number]
                _signal(process, signal.SIGKILL)  # only where this was cancelled is there anything left to kill

    def _became_ready(self, number: int) -> None:
        self._ready.add(number)
        if self._stopped_by is not None:  # told to stop in this very moment, by a signal that was too early for it
            _signal(self._running[number], self._stopped_by)
        self._awaited.discard(number)
        if not self._awaited:
            self._awaited.add(0)  # that is no worker: once is enough
            self._on_ready()


def _signal(process: Process, sign: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(sign)


def _told(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

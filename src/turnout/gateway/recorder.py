"""Keeps traces off the request path: a bounded queue, written in batches by a worker thread.

Recording is one append; what is personal is taken out, encoded and written by the thread. Nothing runs while there is nothing to write: the
first trace of a batch arms one timer. Traces are telemetry: when the queue is full they are dropped and counted, and a
store that fails costs a log line per change of state, not a request (fail open).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque

import msgspec

from turnout.core.trace import Trace, make_impersonal
from turnout.errors import StoreError
from turnout.gateway.telemetry import Telemetry
from turnout.stores import TraceStore

BATCH_S = 0.25
"""How long a trace may wait: short enough that `turnout explain` finds the request that was just made."""

QUEUE_LENGTH = 20_000
"""About 20 MB of traces: what a few seconds of full load make while the disk is stuck."""

_log = logging.getLogger("turnout.recorder")


class Recorder:
    """Takes traces from the event loop, gives batches to the store."""

    def __init__(self, store: TraceStore, telemetry: Telemetry) -> None:
        self._store = store
        self._telemetry = telemetry
        self._waiting: deque[Trace] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Future[None] | None = None
        self._is_well = True

    def record(self, trace: Trace) -> None:
        """Take one trace. O(1), never raises, never waits."""
        if len(self._waiting) >= QUEUE_LENGTH:
            self._telemetry.traces_dropped += 1
            return
        self._waiting.append(trace)
        if self._timer is None and self._writing is None:
            self._timer = asyncio.get_running_loop().call_later(BATCH_S, self._begin)

    def _begin(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        batch = list(self._waiting)
        self._waiting.clear()
        self._writing = loop.run_in_executor(None, self._write, batch)
        self._writing.add_done_callback(self._ended)

    def _ended(self, _done: asyncio.Future[None]) -> None:
        self._writing = None
        if self._waiting and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(BATCH_S, self._begin)

    def _write(self, batch: list[Trace]) -> None:
        for trace in batch:
            make_impersonal(trace)
        try:
            self._store.add([trace.request_id for trace in batch], msgspec.json.Encoder().encode_lines(batch))
        except StoreError as error:
            self._telemetry.traces_dropped += len(batch)
            if self._is_well:
                _log.warning("traces cannot be written and are dropped until they can: %s", error.message)
            self._is_well = False
        else:
            if not self._is_well:
                _log.warning("traces are written again")
            self._is_well = True

    async def flush(self) -> None:
        """Write what waits, and wait for it."""
        while self._waiting or self._writing is not None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._writing is None:
                self._begin()
            if self._writing is not None:
                await asyncio.wait([self._writing])
                await asyncio.sleep(0)  # let the done callback run

"""Traces off the request path."""

import asyncio
import logging

from turnout.core.trace import Trace
from turnout.errors import StoreError
from turnout.gateway.recorder import QUEUE_LENGTH, Recorder
from turnout.gateway.telemetry import Telemetry
from turnout.stores.sqlite import SqliteTraceStore


def trace(number):
    return Trace(f"req_{number:08d}", 1.0, "r")


class Stuck:
    """A store whose disk is full until it is not."""

    def __init__(self):
        self.is_full = True
        self.rows = []

    def add(self, ids, lines):
        if self.is_full:
            raise StoreError("traces.sqlite3: disk full")
        self.rows += ids


async def test_what_is_recorded_is_in_the_store_after_a_flush(tmp_path):
    """Through the thread and SQLite."""
    store = SqliteTraceStore(tmp_path / "t.sqlite3")
    recorder = Recorder(store, Telemetry(0.0))
    for number in range(10):
        recorder.record(trace(number))
    await recorder.flush()
    assert len(store.latest(100)) == 10
    store.close()


async def test_what_is_personal_is_not_written(tmp_path):
    """A user's label that is an address."""
    store = SqliteTraceStore(tmp_path / "t.sqlite3")
    recorder = Recorder(store, Telemetry(0.0))
    recorder.record(Trace("req_1", 1.0, "r", user="ola@x.dk"))
    await recorder.flush()
    assert b'"user":"<email>"' in store.get("req_1")
    store.close()


async def test_a_batch_is_written_without_a_flush(tmp_path):
    """Within the batch time, by its own timer."""
    store = SqliteTraceStore(tmp_path / "t.sqlite3")
    recorder = Recorder(store, Telemetry(0.0))
    recorder.record(trace(1))
    async with asyncio.timeout(5):
        while store.get("req_00000001") is None:
            await asyncio.sleep(0.01)
    await recorder.flush()
    store.close()


async def test_a_full_queue_drops_and_counts_and_never_waits():
    """Only telemetry may drop."""
    telemetry = Telemetry(0.0)
    store = Stuck()
    store.is_full = False
    recorder = Recorder(store, telemetry)
    for number in range(QUEUE_LENGTH + 7):
        recorder.record(trace(number))
    assert telemetry.traces_dropped == 7
    await recorder.flush()
    assert len(store.rows) == QUEUE_LENGTH


async def test_a_store_that_fails_is_said_once_and_its_return_once(caplog):
    """A log line per change of state, not per request."""
    telemetry, store = Telemetry(0.0), Stuck()
    recorder = Recorder(store, telemetry)
    with caplog.at_level(logging.WARNING, "turnout.recorder"):
        for number in range(3):
            recorder.record(trace(number))
            await recorder.flush()
        store.is_full = False
        for number in range(2):
            recorder.record(trace(number))
            await recorder.flush()
    assert telemetry.traces_dropped == 3
    assert len(store.rows) == 2
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "traces cannot be written and are dropped until they can",
        "traces are written again",
    ]

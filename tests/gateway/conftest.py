"""The event loops that tests of sockets run on: both, for the files of the outgoing edge; else asyncio's."""

from __future__ import annotations

import asyncio

import uvloop

ON_BOTH_LOOPS = ("test_connection", "test_dial", "test_transport")


def pytest_asyncio_loop_factories(config, item):
    """Called by pytest-asyncio for each asynchronous test."""
    loops = {"asyncio": asyncio.new_event_loop}
    if item.path.name.startswith(ON_BOTH_LOOPS):
        loops["uvloop"] = uvloop.new_event_loop
    return loops

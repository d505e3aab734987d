"""The open-loop load client: every end is told apart, and every time counts from the instant at which it was due."""

import asyncio
import json
import socket

import pytest

from tests.bench.load import chat_wire
from tests.bench.sse_load import (
    COMPLETE,
    CUT,
    ERROR_EVENT,
    FIRST_CHUNK,
    GAP,
    LATE,
    LATENESS,
    REFUSAL,
    REFUSED,
    TOTAL,
    UNANSWERED,
    UNCONNECTED,
    constant_rate,
    run_constant_rate,
)
from turnout.api.simulator import SimulatorServer
from turnout.core.simulation.world import World


def wire(port, fault="", *, stream=True):
    """A chat request to the simulated vendor."""
    body = {"model": "m", "stream": stream, "messages": [{"role": "user", "content": "hej"}]}
    return chat_wire(port, json.dumps(body).encode(), [("x-fault", fault)])


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ("", COMPLETE),
        ("slice=3", COMPLETE),
        ("error-event=2", ERROR_EVENT),
        ("no-done", CUT),
        ("cut-event=3", CUT),
        ("reset-event=3", CUT),
        ("close-event=3", CUT),
        ("503", REFUSED),
        ("reset", UNANSWERED),
        ("stall", LATE),
    ],
)
@pytest.mark.parametrize("connections", [2, 20])
async def test_every_end_of_a_stream_is_told_apart(fault, outcome, connections):
    """Also when there are fewer connections than requests, and most die: others are opened in their place."""
    async with SimulatorServer(World.instant()) as server:
        asked = wire(server.port, fault)
        seen = await constant_rate(
            server.port,
            asked,
            rate_per_s=200,
            seconds=0.1,
            connections=connections,
            drain_s=0.2 if outcome == LATE else 5,
        )
    assert {outcome: 20} == dict(seen.outcomes)
    assert seen.count(REFUSED) == seen.statuses[503]
    assert (20 if outcome == REFUSED else 0) == len(seen.series[REFUSAL])
    assert (20 if outcome == COMPLETE else 0) == len(seen.series[TOTAL])
    # A request that waited for a connection was not sent at all if none became free.
    assert (20 if outcome != LATE else connections if connections == 2 else 20) == len(seen.series[LATENESS])


async def test_whole_answers_and_numbered_requests():
    """No stream: complete is a whole answer. The wire may be a function of the request's number."""
    numbers = []

    def numbered(number):
        numbers.append(number)
        return wire(server.port, "" if number % 2 else "429", stream=False)

    async with SimulatorServer(World.instant()) as server:
        seen = await constant_rate(server.port, numbered, rate_per_s=100, seconds=0.2, connections=4)
    assert list(range(20)) == numbers
    assert {COMPLETE: 10, REFUSED: 10} == dict(seen.outcomes)
    assert {200: 10, 429: 10} == dict(seen.statuses)
    assert seen.first_problem.startswith("request 0: refused: status 429: ")
    assert "10 complete, 10 refused" in str(seen)
    assert 50 == seen.completed_per_s


async def test_a_pause_of_the_server_counts_for_everybody_who_was_due_in_it():
    """One connection, one slow answer: those behind it waited too, and it shows (no coordinated omission)."""
    async with SimulatorServer(World.instant(faults=["delay=0.3"])) as server:
        body = chat_wire(server.port, wire(server.port).partition(b"\r\n\r\n")[2], [])
        seen = await constant_rate(server.port, body, rate_per_s=100, seconds=0.2, connections=1)
    assert 20 == seen.count(COMPLETE)
    assert seen.percentile(FIRST_CHUNK, 0.0) >= 0.1
    assert seen.percentile(FIRST_CHUNK, 0.99) >= 0.3
    assert seen.percentile(GAP, 0.5) < 0.1
    assert seen.percentile(LATENESS, 0.5) >= 0.1


async def test_nobody_there():
    """Each request is told so; it ends."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    seen = await constant_rate(port, b"", rate_per_s=200, seconds=0.1, connections=3)
    assert {UNCONNECTED: 20} == dict(seen.outcomes)
    assert 0 == seen.percentile(TOTAL, 0.5)


async def test_a_loop_of_its_own():
    """For a thread: the same on uvloop."""
    async with SimulatorServer(World.instant()) as server:
        seen = await asyncio.to_thread(
            run_constant_rate, server.port, wire(server.port), rate_per_s=200, seconds=0.1, connections=5
        )
    assert 20 == seen.count(COMPLETE)

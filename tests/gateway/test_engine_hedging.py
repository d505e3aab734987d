"""A hedged task: when a second candidate is asked, who wins, and what the books say."""

import asyncio

import pytest

from tests.gateway.lab import CONFIG, OK, Client, Lab, outcomes, refusal
from turnout.core.hedging import FEWEST, FirstContents
from turnout.errors import NoCandidate
from turnout.gateway.memory_transport import Scripted

HEDGED = CONFIG.replace("work: {models: [first, second, third]}", "work: {models: [first, second, third], hedge: true}")
SLOW = 0.02


def lab(folder, answers):
    """One whose first candidate is known to be quick, and with hedges saved up."""
    made = Lab(folder, answers, config=HEDGED)
    speed = made.engine._speeds["first@stub", False] = FirstContents()
    for _ in range(FEWEST):
        speed.add(SLOW)
    for _ in range(100):
        made.engine._hedges.arrived()
    return made


async def test_the_second_candidate_answers_for_a_silent_first(tmp_path):
    """The client sees the quicker one; both are in the books, and what the first may have cost is an estimate."""
    made = lab(tmp_path, {"stub": [Scripted(body=(asyncio.Event(),))], "backup": [OK]})
    client = await made.ask("task:work")
    assert (client.ended, client.headers["x-turnout-model"]) == ("answer", "second")
    assert outcomes(made) == (None, [("first@stub", None), ("second@backup", None)])
    first, second = made.ended[0].attempts
    assert (first.is_superseded, first.usage.basis, first.ending(None)) == (True, "estimated", "superseded")
    assert (second.is_hedge, second.is_superseded, second.ending(None)) == (True, False, "ok")


async def test_a_quick_first_is_not_hedged(tmp_path):
    """No second call is made."""
    made = lab(tmp_path, {"stub": [OK], "backup": [OK]})
    await made.ask("task:work")
    assert made.asked == ["stub"]


async def test_without_a_known_speed_nobody_is_hedged(tmp_path):
    """The first answers teach what is slow."""
    made = Lab(tmp_path, {"stub": [OK], "backup": [OK]}, config=HEDGED)
    for _ in range(FEWEST):
        await made.ask("task:work")
    assert made.asked == ["stub"] * FEWEST
    assert made.engine._speeds["first@stub", False].percentile_s() is not None


async def test_a_hedge_that_fails_leaves_the_first_to_answer(tmp_path):
    """Its failure is in the books, the answer is the first's."""
    gate = asyncio.Event()

    def answer(outgoing):
        if "backup" in outgoing.url:
            gate.set()
            return refusal(503)
        return Scripted(body=(gate, *OK.body))

    made = lab(tmp_path, answer)
    client = await made.ask("task:work")
    assert client.headers["x-turnout-model"] == "first"
    assert outcomes(made) == (None, [("first@stub", None), ("second@backup", "upstream_fault")])


async def test_when_both_fail_the_next_candidate_is_asked(tmp_path):
    """A hedge takes its place in the order; nobody is asked twice."""
    gate = asyncio.Event()

    def answer(outgoing):
        if "backup" in outgoing.url:
            gate.set()
            return refusal(503)
        return Scripted(503, {}, (gate, b"{}")) if "stub" in outgoing.url else refusal(500)

    made = lab(tmp_path, answer)
    with pytest.raises(NoCandidate):
        await made.ask("task:work")
    assert made.asked == ["stub", "backup", "claude"]


async def test_no_hedge_goes_to_a_candidate_that_is_failing(tmp_path):
    """It would only be a second failure."""
    gate = asyncio.Event()
    made = lab(tmp_path, {"stub": [Scripted(body=(gate, *OK.body))], "backup": [OK]})
    made.health.failed("second@backup", made.clock.at)
    asking = asyncio.ensure_future(made.ask("task:work"))
    await asyncio.sleep(SLOW * 3)
    gate.set()
    await asking
    assert made.asked == ["stub"]


async def test_a_client_that_leaves_ends_both(tmp_path):
    """Both connections are closed, both estimates are booked."""
    made = lab(tmp_path, {"stub": [Scripted(body=(asyncio.Event(),))], "backup": [Scripted(body=(asyncio.Event(),))]})
    asking = asyncio.ensure_future(made.ask("task:work", Client()))
    async with asyncio.timeout(5):
        while len(made.asked) < 2:
            await asyncio.sleep(0.001)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert outcomes(made) == ("client_disconnected", [("first@stub", None), ("second@backup", None)])
    assert [attempt.ending(made.ended[0].outcome) for attempt in made.ended[0].attempts] == ["client_disconnected"] * 2


async def test_an_answer_that_comes_too_late_is_closed(tmp_path):
    """Both begin in the same turn of the loop: one is forwarded, the other's connection is not left open."""
    gate = asyncio.Event()

    def answer(outgoing):
        if "backup" in outgoing.url:
            asyncio.get_running_loop().call_soon(gate.set)
        return Scripted(body=(gate, *OK.body))

    made = lab(tmp_path, answer)
    await made.ask("task:work")
    assert outcomes(made)[0] is None
    assert [attempt.is_superseded for attempt in made.ended[0].attempts].count(True) == 1

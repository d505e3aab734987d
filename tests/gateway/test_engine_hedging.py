"""A hedged task: when a second candidate is asked, who wins, and what the books say."""

import asyncio

import pytest

from tests.gateway.lab import CONFIG, OK, Client, Lab, chunk, outcomes, refusal
from turnout.core.hedging import FEWEST, FirstContents
from turnout.errors import NoCandidate, StreamInterrupted, UpstreamFault
from turnout.gateway.memory_transport import Scripted

HEDGED = CONFIG.replace("work: {models: [first, second, third]}", "work: {models: [first, second, third], hedge: true}")
SLOW = 0.02


def lab(folder, answers, config=HEDGED):
    """One whose first candidate is known to be quick, and with hedges saved up."""
    made = Lab(folder, answers, config=config)
    for is_stream in (False, True):
        speed = made.engine._speeds["first@stub", is_stream] = FirstContents()
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


@pytest.mark.parametrize("word", ["hedge: true", "hedge: true, continuation: text"])
async def test_an_answer_that_breaks_after_it_won_is_an_honest_error(tmp_path, word):
    """The hedge that it beat is the last attempt, and not the one that broke."""
    gate = asyncio.Event()

    def answer(outgoing):
        if "stub" in outgoing.url:
            return Scripted(body=(gate, chunk("Hej "), chunk("Anna "), UpstreamFault("reset")))
        if gate.is_set():
            return refusal(503)
        gate.set()
        return Scripted(body=(asyncio.Event(),))

    made = lab(tmp_path, answer, HEDGED.replace("hedge: true", word))
    client = Client()
    with pytest.raises(StreamInterrupted, match="broke off"):
        await made.ask("task:work", client, stream=True)
    assert (client.ended, client.headers["x-turnout-tried"]) == ("cut", "first@stub, second@backup")
    assert b'"code":"stream_interrupted"' in client.body
    first, hedge, *_ = made.ended[0].attempts
    assert (first.error is not None, first.step is not None, hedge.step, hedge.ending(None)) == (
        True,
        True,
        None,
        "superseded",
    )


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("turns", range(7))
@pytest.mark.parametrize("who", ["stub", "backup", ""])
async def test_whenever_it_is_cancelled_the_books_close(tmp_path, who, turns, stream):
    """At any turn of the loop from the answers' beginning on: nothing open, nothing in flight, all of it booked."""
    gate = asyncio.Event()

    def answer(outgoing):
        body = (chunk("Hej "), b"data: [DONE]\n\n") if stream else OK.body
        return Scripted(body=(gate if who in outgoing.url else asyncio.Event(), *body))

    made = lab(tmp_path, answer)
    asking = asyncio.ensure_future(made.ask("task:work", stream=stream))
    async with asyncio.timeout(5):
        while len(made.asked) < 2:
            await asyncio.sleep(0.001)
    gate.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    asking.cancel("gateway_stopping")
    await asyncio.gather(asking, return_exceptions=True)
    outcome, attempts = outcomes(made)
    assert (outcome, len(attempts)) in {("gateway_stopping", 2), (None, 2)}
    assert all(one.ended and one.usage is not None for one in made.ended[0].attempts)


async def test_a_hedge_that_cannot_be_asked_this_leaves_the_first_to_answer(tmp_path):
    """Its format has no word for it: nothing was sent, and the first is waited for."""
    gate = asyncio.Event()
    made = lab(
        tmp_path, {"stub": [Scripted(body=(gate, *OK.body))]}, HEDGED.replace("first, second, third", "first, third")
    )
    asking = asyncio.ensure_future(made.ask("task:work", seed=1, logit_bias={"1": 1}))
    await asyncio.sleep(SLOW * 3)
    gate.set()
    client = await asking
    assert client.headers["x-turnout-model"] == "first"
    assert outcomes(made) == (None, [("first@stub", None)])
    assert [one.code for one in made.ended[0].decided.filtered] == ["format"]


async def test_a_failed_hedge_is_charged_to_the_retry_budget(tmp_path):
    """It is one call more than the request, like any other: total failure stays within its bound."""
    gate = asyncio.Event()

    def answer(outgoing):
        if "backup" in outgoing.url:
            gate.set()
            return refusal(503)
        return Scripted(body=(gate, *OK.body))

    made = lab(tmp_path, answer)
    before = made.engine._budget._floor_left
    await made.ask("task:work")
    assert made.engine._budget._floor_left == before - 1


async def test_a_stream_and_a_whole_answer_are_slow_in_their_own_way(tmp_path):
    """First words come sooner than whole answers: neither is measured by the other."""
    made = Lab(tmp_path, {"stub": [OK, Scripted(body=(chunk("Hej"), b"data: [DONE]\n\n"))]}, config=HEDGED)
    await made.ask("task:work")
    await made.ask("task:work", stream=True)
    assert sorted(made.engine._speeds) == [("first@stub", False), ("first@stub", True)]


async def test_a_hedge_stays_on_its_arm(tmp_path):
    """A slow candidate of a rollout is not answered for by the old arm: nobody could compare the two."""
    config = HEDGED.replace("models: [large]}, include", "models: [first]}, include")
    config = config.replace("work: {models: [first, second, third]", "work: {models: [second, third]")
    gate = asyncio.Event()
    made = lab(tmp_path, {"stub": [Scripted(body=(gate, *OK.body))], "backup": [OK]}, config)
    asking = asyncio.ensure_future(made.ask("task:work", user="boss"))
    await asyncio.sleep(SLOW * 3)
    gate.set()
    client = await asking
    assert (client.headers["x-turnout-arm"], made.asked) == ("candidate", ["stub"])

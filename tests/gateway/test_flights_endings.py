"""How a flight ends for everybody, and what is done about long answers."""

import asyncio

import pytest

from tests.gateway.cabin import HEAD, Cabin, go_on, pause, turns
from turnout.errors import InternalError, StreamInterrupted, UpstreamFault, UpstreamTimeout
from turnout.gateway.flights import PIECE_BYTES

# ── how it fails ──


async def test_a_failure_before_the_answer_reaches_every_follower_as_its_own():
    """The same words, fields and kind, in an exception of each one's own."""
    cabin = Cabin()
    tasks = [(await cabin.join())[1] for _ in range(3)]
    failure = UpstreamTimeout("nothing came", phase="idle", is_ambiguous=True)
    failure.model, failure.provider = "first", "stub"
    cabin.flight.end(failure)
    errors = await asyncio.gather(*tasks, return_exceptions=True)
    assert [(type(error), error.message, error.phase, error.model, str(error)) for error in errors] == [
        (UpstreamTimeout, "nothing came", "idle", "first", "nothing came")
    ] * 3
    assert len({id(error) for error in [failure, *errors]}) == 4
    assert cabin.flight.body is None


async def test_a_stream_that_breaks_ends_for_everybody_as_the_engine_ended_it():
    """The error's event that it wrote, once, and no proper end; the slow one too."""
    cabin = Cabin()
    quick, first = await cabin.join()
    slow, second = await cabin.join()
    cabin.flight.start(200, HEAD)
    pause(slow)
    cabin.flight.write(b"one ")
    failure = StreamInterrupted("The answer broke off: reset")
    failure.__cause__ = UpstreamFault("reset")
    cabin.flight.write(b"event: error")
    cabin.flight.cut()
    assert cabin.leader.ended == "cut"
    cabin.flight.end(failure)
    go_on(slow)
    for client, task in ((quick, first), (slow, second)):
        with pytest.raises(StreamInterrupted) as raised:
            await task
        assert raised.value.plain == "The answer broke off: reset"
        assert (client.body, client.ended) == (b"one event: error", "cut")
    assert cabin.flight.body is None


async def test_a_stream_that_ends_without_a_word_of_the_engine_is_told_to_followers_all_the_same():
    """A bug, or our stop: each stream that has begun ends with the error's event."""
    cabin = Cabin()
    client, task = await cabin.join()
    cabin.flight.start(200, HEAD)
    cabin.flight.write(b"one ")
    cabin.flight.end(InternalError("a bug"))
    with pytest.raises(InternalError):
        await task
    assert (client.body, client.ended) == (b"one event: internal_error", "cut")


async def test_a_slow_leader_is_not_written_to_after_its_request_has_failed():
    """Its connection is then the edge's to end."""
    cabin = Cabin()
    cabin.flight.start(200, HEAD)
    pause(cabin.leader)
    cabin.flight.write(b"one ")
    await turns()
    cabin.flight.write(b"two")
    cabin.flight.cut()
    cabin.flight.end(InternalError("a bug"))
    go_on(cabin.leader)
    await turns()
    assert (cabin.leader.body, cabin.leader.ended, len(cabin.tasks)) == (b"one ", "", 0)


async def test_a_leader_that_is_ended_by_itself_is_no_failure_of_the_question():
    """Who has seen nothing asks anew; who has seen the beginning is told that it broke off."""
    cabin = Cabin()
    unseen, first = await cabin.join()
    cabin.flight.end(None)
    assert await first is False
    assert (unseen.body, unseen.ended) == (b"", "")
    cabin = Cabin()
    seen, second = await cabin.join()
    cabin.flight.start(200, HEAD)
    cabin.flight.end(None)
    with pytest.raises(StreamInterrupted):
        await second
    assert (seen.body, seen.ended) == (b"event: stream_interrupted", "cut")


async def test_what_ended_well_stays_so():
    """What happens to the leader's request after the answer is no failure of the answer."""
    cabin = Cabin()
    cabin.flight.answer(200, HEAD, b"Hej")
    cabin.flight.end(InternalError("a bug, later"))
    assert cabin.flight.body == b"Hej"


# ── long answers ──


async def test_an_answer_beyond_the_bound_takes_no_more_readers_and_is_not_held():
    """Only what somebody has not had is kept; those who are there get all of it."""
    cabin = Cabin(bound_bytes=3 * PIECE_BYTES)
    slow, task = await cabin.join()
    cabin.flight.start(200, HEAD)
    said = b""
    pause(slow)
    for number in range(40):
        if cabin.flight.is_paused:
            break
        piece = bytes([65 + number % 26]) * (PIECE_BYTES // 4)
        said += piece
        cabin.flight.write(piece)
        await turns(2)
    assert (cabin.flight.is_open, cabin.flight.is_paused) == (False, True)
    assert 6 * PIECE_BYTES < len(said) <= 7 * PIECE_BYTES
    draining = asyncio.ensure_future(cabin.flight.drain())
    await turns()
    assert not draining.done()
    go_on(slow)
    await asyncio.wait_for(draining, 1)
    cabin.flight.write(b"end")
    cabin.flight.finish()
    cabin.flight.end(None)
    assert (await task, slow.body == said + b"end", cabin.leader.body == said + b"end") == (True, True, True)
    assert cabin.flight.body is None


async def test_a_long_answer_for_one_quick_reader_takes_no_memory():
    """What everybody has had is forgotten at once."""
    cabin = Cabin(bound_bytes=1000)
    cabin.flight.start(200, HEAD)
    for _ in range(100):
        cabin.flight.write(b"x" * 1000)
        assert not cabin.flight.is_paused
    cabin.flight.finish()
    assert (len(cabin.leader.body), cabin.flight.body) == (100_000, None)


async def test_a_slow_reader_that_leaves_a_long_answer_sets_the_others_free():
    """What was held for it alone is forgotten."""
    cabin = Cabin(bound_bytes=1000)
    slow, task = await cabin.join()
    cabin.flight.start(200, HEAD)
    pause(slow)
    cabin.flight.write(b"x" * 1000)
    await turns()
    cabin.flight.write(b"x" * 3000)
    assert cabin.flight.is_paused
    draining = asyncio.ensure_future(cabin.flight.drain())
    await turns()
    task.cancel()
    await asyncio.wait_for(draining, 1)
    assert not cabin.flight.is_paused

"""A request with an Idempotency-Key is served once, whoever asks, however often, and whoever leaves."""

import asyncio
import logging
import random
import time

import pytest

from tests.gateway.lab import Client, StillClock
from turnout.errors import InvalidRequest, Overloaded, StoreError
from turnout.gateway.once import BEAT_S, POLL_S, Once
from turnout.gateway.tee import Run, Tee
from turnout.stores.sqlite import LEASE_S, SqliteAnswerStore

HEAD = [(b"x-request-id", b"req_1")]


class Clock(StillClock):
    """Time that runs, so that waiting comes to an end."""

    def now(self):
        return self.at + time.monotonic()


@pytest.fixture
async def once(tmp_path):
    async with Opened(tmp_path) as one:
        yield one


class Opened:
    """One process's view of a home."""

    def __init__(self, home):
        self.home = home

    async def __aenter__(self):
        self.once = Once(SqliteAnswerStore(self.home / "answers.sqlite3", locked_s=0.05), Clock())
        return self.once

    async def __aexit__(self, *exc):
        await self.once.stop()
        self.once.store.close()


async def answered(once, run, body=b"answer"):
    """Serve a run; return what its client got."""
    client = Client()
    tee = Tee(client, once.store, run)
    tee.answer(200, HEAD, body)
    await once.end(run, tee)
    tee.deliver()
    return client


async def test_the_first_serves_and_the_others_get_what_it_kept(once):
    """One run for all of them, and the same answer; later too."""
    asking = [asyncio.ensure_future(once.begin(b"s", b"r", 5)) for _ in range(50)]
    done, waiting = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
    (run,) = [one.result() for one in done]
    assert isinstance(run, Run)
    await answered(once, run)
    found = await asyncio.gather(*waiting)
    assert {("kept", run.id)} == {(one.state, one.id) for one in found}
    assert await once.begin(b"s", b"r", 5) == found[0]
    with pytest.raises(InvalidRequest) as refused:
        await once.begin(b"s", b"other", 5)
    assert refused.value.status == 422


async def test_another_request_under_a_key_that_is_busy_is_refused_at_once(once):
    """It does not wait to hear that."""
    await once.begin(b"s", b"r", 5)
    with pytest.raises(InvalidRequest) as refused:
        await once.begin(b"s", b"other", 5)
    assert refused.value.status == 422


async def test_what_is_not_kept_is_told_to_those_who_waited_and_served_anew_to_who_comes_then(once):
    """No herd: fifty repeats of a refusal are not fifty calls."""
    run = await once.begin(b"s", b"r", 5)
    waiting = [asyncio.ensure_future(once.begin(b"s", b"r", 5)) for _ in range(49)]
    await asyncio.sleep(0)
    run.error = Overloaded("not now")
    await once.end(run, None)
    assert {"overloaded"} == {error.code for error in await asyncio.gather(*waiting, return_exceptions=True)}
    again = await once.begin(b"s", b"r", 5)
    assert isinstance(again, Run)
    await once.end(again, None)


async def test_if_the_first_is_ended_without_an_answer_one_of_those_who_wait_takes_over(once):
    """As when we stop it."""
    run = await once.begin(b"s", b"r", 5)
    waiting = [asyncio.ensure_future(once.begin(b"s", b"r", 5)) for _ in range(9)]
    await asyncio.sleep(0)
    await once.end(run, None)
    done, rest = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    (heir,) = [one.result() for one in done]
    assert isinstance(heir, Run)
    await answered(once, heir)
    assert {"kept"} == {one.state for one in await asyncio.gather(*rest)}


async def test_who_leaves_while_the_store_is_asked_leaves_the_key_free(once):
    """At any moment of it."""
    for steps in range(12):
        asking = asyncio.ensure_future(once.begin(b"%d" % steps, b"r", 5))
        for _ in range(steps):
            await asyncio.sleep(0.0002)
        asking.cancel()
        (left,) = await asyncio.gather(asking, return_exceptions=True)
        if isinstance(left, Run):
            await once.end(left, None)
        again = await asyncio.wait_for(once.begin(b"%d" % steps, b"r", 5), 5)
        assert isinstance(again, Run), steps
        await once.end(again, None)


async def test_an_end_that_is_cancelled_goes_on_by_itself(once):
    """The answer is kept all the same, and `stop` waits for it."""
    run = await once.begin(b"s", b"r", 5)
    tee = Tee(Client(), once.store, run)
    tee.answer(200, HEAD, b"x")
    ending = asyncio.ensure_future(once.end(run, tee))
    await asyncio.sleep(0)
    ending.cancel()
    await asyncio.wait([ending])
    await once.stop()
    assert (await once.begin(b"s", b"r", 5)).state == "kept"


async def test_another_process_waits_until_it_is_kept(tmp_path):
    """Through the file that they share."""
    async with Opened(tmp_path) as one, Opened(tmp_path) as two:
        run = await one.begin(b"s", b"r", 5)
        waiting = asyncio.ensure_future(two.begin(b"s", b"r", 5))
        with pytest.raises(InvalidRequest) as refused:
            await two.begin(b"s", b"other", 5)
        assert refused.value.status == 422
        await asyncio.sleep(POLL_S / 2)
        assert not waiting.done()
        await answered(one, run)
        found = await waiting
        assert (found.state, found.id) == ("kept", run.id)


async def test_another_process_waits_no_longer_than_its_client_would(tmp_path):
    """409, for everybody here who waits for it."""
    async with Opened(tmp_path) as one, Opened(tmp_path) as two:
        run = await one.begin(b"s", b"r", 5)
        refused = await asyncio.gather(*(two.begin(b"s", b"r", 0.1) for _ in range(3)), return_exceptions=True)
        assert [409, 409, 409] == [error.status for error in refused]
        await one.end(run, None)


async def test_a_process_that_was_killed_holds_a_key_no_longer_than_its_lease(tmp_path):
    """One that lives renews it."""
    async with Opened(tmp_path) as one, Opened(tmp_path) as two:
        run = await one.begin(b"s", b"r", 5)
        two._clock.at += LEASE_S - 1
        assert (await asyncio.gather(two.begin(b"s", b"r", 0.0), return_exceptions=True))[0].status == 409
        one._clock.at += LEASE_S - 1
        one._renew()
        await one._tasks.ended()
        two._clock.at += LEASE_S - 1
        assert (await asyncio.gather(two.begin(b"s", b"r", 0.0), return_exceptions=True))[0].status == 409
        two._clock.at += 2
        heir = await two.begin(b"s", b"r", 0.0)
        assert isinstance(heir, Run)
        await answered(two, heir, b"theirs")
        await answered(one, run, b"late")
        assert run.error.code == "store_unavailable"
        assert one.store.piece(heir.id, 0) == b"theirs"


async def test_leases_are_renewed_only_while_something_is_under_way(once):
    """No timer, no task, when nothing is."""
    assert once._beat is None
    run = await once.begin(b"s", b"r", 5)
    assert once._beat is not None
    assert BEAT_S * 3 < LEASE_S
    await once.end(run, None)
    once._beat.cancel()
    once._renew()
    assert once._beat is None
    assert len(once._tasks) == 0


async def test_a_store_that_fails_refuses_before_anything_is_asked(once, caplog):
    """Who sends a key wants one call: without the store we cannot promise it."""
    caplog.set_level(logging.ERROR)
    once.store.close()
    run = await once.begin(b"s", b"r", 5)
    once.store.close()
    with pytest.raises(StoreError):
        await once.begin(b"other", b"r", 5)
    once._renew()
    await once.end(run, None)
    await once._tasks.ended()
    told = [record.getMessage() for record in caplog.records]
    assert [("renewed" in one, "freed" in one) for one in told] == [(True, False), (False, True)]


async def test_nobody_is_lost_and_nothing_is_served_twice_whoever_leaves_when(tmp_path):
    """Many clients of few keys in two processes, some of whom leave at any await; who serves goes on to the end."""
    chance = random.Random(34)
    served = {}
    left = []

    async def client(once, key, leaves_after_s):
        asking = asyncio.ensure_future(once.begin(key, b"r", 20))
        if leaves_after_s is not None:
            asyncio.get_running_loop().call_later(leaves_after_s, asking.cancel)
        try:
            found = await asking
        except asyncio.CancelledError:
            left.append(key)
            return
        if isinstance(found, Run):
            served[key] = served.get(key, 0) + 1
            await asyncio.sleep(chance.random() * 0.01)
            await answered(once, found)

    async with Opened(tmp_path) as one, Opened(tmp_path) as two:
        keys = [b"%d" % number for number in range(5)]
        clients = [
            client(chance.choice((one, two)), key, chance.random() * 0.02 if chance.random() < 0.4 else None)
            for key in keys * 40
        ]
        await asyncio.wait_for(asyncio.gather(*clients), 30)
        assert left
        assert served == dict.fromkeys(keys, 1)
        assert one._runs == two._runs == {}

"""One answer for many clients: everybody gets all of it, at their own pace, and nobody's leaving harms another."""

import asyncio

import pytest

from tests.gateway.cabin import HEAD, Cabin, go_on, mine, pause, told, turns
from tests.gateway.lab import Client
from turnout.errors import ClientDisconnected
from turnout.gateway.flights import Flight
from turnout.gateway.tasks import Tasks

# ── what everybody gets ──


async def test_whole_answers_reach_everybody_each_with_its_own_head():
    """The leader's as the engine made it, the followers' by their own."""
    cabin = Cabin()
    client, task = await cabin.join()
    assert (cabin.flight.is_started, client.ended) == (False, "")
    cabin.flight.answer(200, HEAD, b"Hej")
    cabin.flight.end(None)
    await cabin.flight.settle()
    assert await task is True
    assert (cabin.leader.body, cabin.leader.ended, "x-turnout-cache" in cabin.leader.headers) == (
        b"Hej",
        "answer",
        False,
    )
    assert (client.body, client.ended, client.headers["x-turnout-cache"]) == (b"Hej", "answer", "coalesced")
    assert cabin.flight.body == b"Hej"
    assert cabin.leader.on_gone == cabin.cancel


async def test_a_late_joiner_gets_what_was_said_and_then_follows_live():
    """No byte twice, none missing, and the end with the others."""
    cabin = Cabin()
    early, first = await cabin.join()
    cabin.flight.start(200, HEAD)
    cabin.flight.write(b"one ")
    late, second = await cabin.join()
    assert [client.body for client in (cabin.leader, early, late)] == [b"one "] * 3
    cabin.flight.write(b"two")
    assert [client.body for client in (cabin.leader, early, late)] == [b"one two"] * 3
    cabin.flight.finish()
    assert cabin.leader.ended == "finish"
    last, third = await cabin.join()
    assert [await task for task in (first, second, third)] == [True] * 3
    assert [(client.body, client.ended) for client in (early, late, last)] == [(b"one two", "finish")] * 3
    assert cabin.flight.body == b"one two"


async def test_a_follower_that_is_slow_holds_nobody_up_and_misses_nothing():
    """It reads on when it can, also after the end."""
    cabin = Cabin()
    slow, task = await cabin.join()
    cabin.flight.start(200, HEAD)
    pause(slow)
    cabin.flight.write(b"one ")
    await turns()
    cabin.flight.write(b"two ")
    assert (cabin.flight.is_paused, cabin.leader.body, slow.body) == (False, b"one two ", b"one ")
    cabin.flight.finish()
    cabin.flight.end(None)
    await cabin.flight.settle()
    assert not task.done()
    go_on(slow)
    assert await task is True
    assert (slow.body, slow.ended) == (b"one two ", "finish")


async def test_a_slow_leader_holds_nobody_up_either():
    """The flight goes on at the quickest one's pace; its request ends when its client has had everything."""
    cabin = Cabin()
    quick, task = await cabin.join()
    cabin.flight.start(200, HEAD)
    pause(cabin.leader)
    for word in (b"one ", b"two ", b"three"):
        cabin.flight.write(word)
    assert (cabin.flight.is_paused, quick.body, cabin.leader.body) == (False, b"one two three", b"one ")
    cabin.flight.finish()
    cabin.flight.end(None)
    settled = asyncio.ensure_future(cabin.flight.settle())
    assert await task is True
    assert not settled.done()
    go_on(cabin.leader)
    await settled
    assert (cabin.leader.body, cabin.leader.ended) == (b"one two three", "finish")


async def test_a_leader_that_was_slow_follows_live_again():
    """Once it has had everything, it gets what comes as it comes."""
    cabin = Cabin()
    _, task = await cabin.join()
    cabin.flight.start(200, HEAD)
    pause(cabin.leader)
    cabin.flight.write(b"one ")
    cabin.flight.write(b"two ")
    go_on(cabin.leader)
    await turns()
    cabin.flight.write(b"three")
    assert cabin.leader.body == b"one two three"
    cabin.flight.finish()
    cabin.flight.end(None)
    await cabin.flight.settle()
    assert (cabin.leader.ended, await task) == ("finish", True)


async def test_a_leader_that_has_everything_but_its_sockets_rest_is_not_waited_for():
    """What is written goes out without us."""
    cabin = Cabin()
    cabin.flight.start(200, HEAD)
    pause(cabin.leader)
    cabin.flight.write(b"all")
    await turns()
    cabin.flight.finish()
    cabin.flight.end(None)
    await asyncio.wait_for(cabin.flight.settle(), 1)
    assert (cabin.leader.body, cabin.leader.ended) == (b"all", "finish")


async def test_upstream_waits_when_everybody_is_slow_and_goes_on_with_the_first():
    """`drain` returns when one has caught up."""
    cabin = Cabin()
    follower, task = await cabin.join()
    cabin.flight.start(200, HEAD)
    for client in (cabin.leader, follower):
        pause(client)
    cabin.flight.write(b"one ")
    assert cabin.flight.is_paused
    draining = asyncio.ensure_future(cabin.flight.drain())
    await turns()
    assert not draining.done()
    go_on(follower)
    await asyncio.wait_for(draining, 1)
    assert not cabin.flight.is_paused
    cabin.flight.finish()
    cabin.flight.end(None)
    assert await task is True
    go_on(cabin.leader)
    await cabin.flight.settle()


async def test_who_comes_while_a_lone_slow_leader_holds_upstream_sets_it_free():
    """The quickest reader sets the pace, from the moment that there is one."""
    cabin = Cabin()
    cabin.flight.start(200, HEAD)
    pause(cabin.leader)
    cabin.flight.write(b"one ")
    draining = asyncio.ensure_future(cabin.flight.drain())
    await turns()
    client, task = await cabin.join()
    await asyncio.wait_for(draining, 1)
    cabin.flight.write(b"two")
    assert client.body == b"one two"
    cabin.flight.finish()
    go_on(cabin.leader)
    cabin.flight.end(None)
    await cabin.flight.settle()
    assert (await task, cabin.leader.body) == (True, b"one two")


# ── who leaves ──


async def test_the_leader_leaves_and_the_others_go_on():
    """Nothing is cancelled; its own request ends as a client's that has left, after the flight."""
    cabin = Cabin()
    client, task = await cabin.join()
    cabin.flight.start(200, HEAD)
    cabin.flight.write(b"one ")
    cabin.leave()
    cabin.flight.write(b"two")
    cabin.flight.finish()
    cabin.flight.end(None)
    assert (await task, client.body, cabin.cancelled) == (True, b"one two", 0)
    assert (cabin.leader.body, cabin.leader.ended) == (b"one ", "")
    assert cabin.flight.body == b"one two"
    with pytest.raises(ClientDisconnected):
        await cabin.flight.settle()


async def test_the_leader_leaves_before_a_whole_answer():
    """Nothing is written to it."""
    cabin = Cabin()
    client, task = await cabin.join()
    cabin.leave()
    cabin.flight.answer(200, HEAD, b"Hej")
    cabin.flight.end(None)
    assert (await task, client.body, cabin.leader.ended) == (True, b"Hej", "")
    with pytest.raises(ClientDisconnected):
        await cabin.flight.settle()


async def test_a_leader_that_leaves_while_it_was_slow_is_not_written_to_again():
    """Its catching up ends with it."""
    cabin = Cabin()
    _, task = await cabin.join()
    cabin.flight.start(200, HEAD)
    pause(cabin.leader)
    cabin.flight.write(b"one ")
    await turns()
    cabin.flight.write(b"two")
    cabin.leave()
    go_on(cabin.leader)
    await turns()
    cabin.flight.finish()
    cabin.flight.end(None)
    with pytest.raises(ClientDisconnected):
        await cabin.flight.settle()
    assert (cabin.leader.body, cabin.leader.ended, await task) == (b"one ", "", True)
    assert len(cabin.tasks) == 0


async def test_the_last_one_who_leaves_ends_it():
    """Whoever that is; and nobody may join what is being ended."""
    alone = Cabin()
    alone.leave()
    assert (alone.cancelled, alone.flight.is_open) == (1, False)
    cabin = Cabin()
    _, task = await cabin.join()
    cabin.leave()
    assert (cabin.cancelled, cabin.flight.is_open) == (0, True)
    task.cancel()
    await turns()
    assert (cabin.cancelled, cabin.flight.is_open) == (1, False)
    behind = Cabin()
    _, task = await behind.join()
    task.cancel()
    await turns()
    assert behind.cancelled == 0
    behind.leave()
    assert behind.cancelled == 1


async def test_everybody_leaves_while_upstream_is_held_back():
    """Then it is the engine, which waits for room, that is told."""
    cabin = Cabin()
    cabin.flight.start(200, HEAD)
    pause(cabin.leader)
    cabin.flight.write(b"one")
    draining = asyncio.ensure_future(cabin.flight.drain())
    await turns()
    cabin.leave()
    with pytest.raises(ClientDisconnected):
        await draining
    assert cabin.cancelled == 0


async def test_a_leader_without_anybody_to_cancel_goes_on_alone():
    """An answer that is kept for a client that may come again has no such thing."""
    tasks, leader = Tasks(), Client()
    flight = Flight(leader, bound_bytes=100, tasks=tasks, error_event=told)
    leader.on_gone()
    flight.start(200, HEAD)
    assert flight.is_paused
    with pytest.raises(ClientDisconnected):
        await flight.drain()


class Deaf(Client):
    """A client that takes nothing for as long as we wait."""

    async def drain(self):
        await super().drain()
        raise ClientDisconnected("the client took nothing for 60 s")


async def test_a_leader_that_takes_nothing_for_long_has_left():
    """Alone, that ends the flight by what the engine waits in; with others it goes on."""
    for has_company in (False, True):
        tasks, leader = Tasks(), Deaf()
        flight = Flight(leader, bound_bytes=100, tasks=tasks, error_event=told)
        other = Client()
        task = asyncio.ensure_future(flight.follow(other, mine)) if has_company else None
        await turns()
        flight.start(200, HEAD)
        pause(leader)
        flight.write(b"one ")
        if task is None:
            draining = asyncio.ensure_future(flight.drain())
            await turns()
            leader.may_go_on.set()
            with pytest.raises(ClientDisconnected, match="took nothing"):
                await draining
            continue
        leader.may_go_on.set()
        await turns()
        flight.write(b"two")
        flight.finish()
        flight.end(None)
        assert (await task, other.body) == (True, b"one two")
        with pytest.raises(ClientDisconnected, match="took nothing"):
            await flight.settle()


async def test_a_leader_that_takes_nothing_while_upstream_is_silent_ends_it_with_the_next_piece():
    """Its connection stands, so its task is not cancelled, also not when that ends later."""
    tasks, leader = Tasks(), Deaf()
    cancelled = []
    leader.on_gone = lambda: cancelled.append(1)
    flight = Flight(leader, bound_bytes=100, tasks=tasks, error_event=told)
    flight.start(200, HEAD)
    pause(leader)
    flight.write(b"one")
    leader.may_go_on.set()
    await turns()
    leader.on_gone()
    flight.write(b"two")
    assert flight.is_paused
    with pytest.raises(ClientDisconnected):
        await flight.drain()
    assert (leader.body, cancelled) == (b"one", [])


async def test_a_follower_that_takes_nothing_for_long_has_left():
    """Its own request ends so; the flight does not."""
    cabin = Cabin()
    deaf, task = await cabin.join(Deaf())
    cabin.flight.start(200, HEAD)
    pause(deaf)
    cabin.flight.write(b"one ")
    deaf.may_go_on.set()
    with pytest.raises(ClientDisconnected):
        await task
    cabin.flight.write(b"two")
    assert cabin.leader.body == b"one two"


@pytest.mark.parametrize("is_leader", [False, True])
async def test_whoever_takes_nothing_of_a_long_answer_is_cut_off_and_the_others_go_on(is_leader):
    """They wait for a moment, since memory is bounded; who takes at least something is waited for."""
    cabin = Cabin(bound_bytes=100, patience_s=0.02)
    follower, task = await cabin.join()
    quick, stuck = (follower, cabin.leader) if is_leader else (cabin.leader, follower)
    cabin.flight.start(200, HEAD)
    pause(stuck)
    cabin.flight.write(b"x" * 300)
    cabin.flight.write(b"y" * 300)
    assert cabin.flight.is_paused
    draining = asyncio.ensure_future(cabin.flight.drain())
    await turns()
    assert (draining.done(), stuck.ended) == (False, "")
    await asyncio.wait_for(draining, 5)
    assert (stuck.ended, cabin.flight.is_paused) == ("cut", False)
    go_on(stuck)
    cabin.flight.write(b"z")
    cabin.flight.finish()
    cabin.flight.end(None)
    failed = cabin.flight.settle() if is_leader else task
    with pytest.raises(ClientDisconnected):
        await failed
    if is_leader:
        assert await task is True
    assert (len(quick.body), quick.ended, len(stuck.body)) == (601, "finish", 300)

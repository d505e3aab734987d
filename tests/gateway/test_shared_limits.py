"""gateway/shared_limits.py: several gateways, one limit. Minutes go by in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from tests.limit_lab import MINUTE_S, Gateways, admitted, limit, most_within_a_minute, snapshot
from turnout.core.books.grants import beat, gone
from turnout.core.principal import Who
from turnout.gateway.shared_limits import JOIN_S, LATER_S, LONE_S, LOOK_S, PATIENCE_S, SILENT_S
from turnout.gateway.virtual_time import run_virtually

ANNA = Who(user="anna")
BO = Who(user="bo")


def virtual(test):
    """Run a test on a loop of virtual time."""

    def run():
        run_virtually(test)

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


async def count(limiter, count, who=ANNA, tokens=0):
    """How many of so many are let in."""
    return len((await admitted(limiter, who, count, tokens))[0])


# ── alone ──


@virtual
async def test_alone_no_request_meets_the_database(loop):
    """One row says that we are there; nothing else is ever written."""
    async with Gateways(loop, 1, limit("user:*", requests=1000, tokens=10_000, at_once=1000)) as gateways:
        (one,) = gateways.limiters
        writes, at = gateways.books.writes, loop.time()
        assert 500 == await count(one, 500, tokens=10)
        assert at == loop.time()
        await asyncio.sleep(3 * MINUTE_S)
        assert writes == gateways.books.writes
        assert 0 == one.others


@virtual
async def test_who_is_stopped_leaves_what_was_used(loop):
    """To the next gateway of these books: a restart gives nobody his minute anew."""
    gateways = Gateways(loop, 0, limit("user:*", requests=10))
    one = await gateways.come("w1")
    assert 7 == await count(one, 7)
    await gateways.leave(one)
    again = await gateways.come("w2")
    assert 3 == await count(again, 10)
    assert 0 == again.others
    await asyncio.sleep(MINUTE_S + 1)
    assert 10 == await count(again, 11)
    await gateways.leave(again)


# ── several ──


@pytest.mark.parametrize("many", [2, 4])
def test_exactly_as_many_as_the_limit(many):
    """A thousand at once over several gateways: to the last, and not one more."""

    async def main(loop):
        async with Gateways(loop, many, limit("user:*", requests=100)) as gateways:
            return sum(await asyncio.gather(*(count(one, 1000 // many) for one in gateways.limiters)))

    assert 100 == run_virtually(main)


@virtual
async def test_one_that_comes_takes_only_what_is_left(loop):
    """What was used before counts, half of the rest is there at once, and the other half a moment later."""
    async with Gateways(loop, 1, limit("user:*", requests=100)) as gateways:
        first = gateways.limiters[0]
        assert 60 == await count(first, 60)
        second = await gateways.come("w2")
        begun = loop.time()
        assert 20 == await count(second, 20)
        assert loop.time() - begun < 2 * LOOK_S
        assert 20 == await count(second, 30)
        assert 0 == await count(first, 5)
        assert (1, 1) == (first.others, second.others)


@virtual
async def test_what_one_does_not_use_is_there_for_another(loop):
    """A client that moves to another gateway finds his limit there, within a look or two."""
    async with Gateways(loop, 2, limit("user:*", requests=100)) as gateways:
        first, second = gateways.limiters
        assert 40 == await count(first, 40)
        assert sum(requests for requests, *_ in gateways.held("user:anna").values()) > 40
        begun = loop.time()
        assert 60 == await count(second, 70)
        assert loop.time() - begun <= 3 * LOOK_S


@virtual
async def test_who_is_refused_for_good_does_not_wait_long(loop):
    """Once for what others may give back; then it is known that there is no more."""
    async with Gateways(loop, 2, limit("user:*", requests=10)) as gateways:
        first, second = gateways.limiters
        await count(first, 10)
        begun = loop.time()
        assert 0 == await count(second, 5)
        assert loop.time() - begun <= 3 * LOOK_S
        for _ in range(50):
            begun = loop.time()
            assert 0 == await count(second, 5)
            assert begun == loop.time()
            await asyncio.sleep(0.3)


@virtual
async def test_places_move_to_where_they_are_wanted(loop):
    """And come back when they are."""
    async with Gateways(loop, 2, limit("user:*", at_once=8)) as gateways:
        first, second = gateways.limiters
        held, _ = await admitted(first, ANNA, 9)
        assert 8 == len(held)
        assert 0 == await count(second, 1)
        for one in held:
            one.end(0)
        await asyncio.sleep(2 * LOOK_S + 0.1)
        held, _ = await admitted(second, ANNA, 9)
        assert 8 == len(held)


@virtual
async def test_who_comes_late_has_his_part_within_a_minute(loop):
    """However busy the one was that was there before him."""
    async with Gateways(loop, 1, limit("all", requests=120)) as gateways:
        served = {"w0": [], "late": []}

        async def ask_all_the_time(name, limiter):
            while True:
                served[name] += [loop.time()] * await count(limiter, 1)
                await asyncio.sleep(0.1)

        tasks = [loop.create_task(ask_all_the_time("w0", gateways.limiters[0]))]
        await asyncio.sleep(MINUTE_S)
        tasks.append(loop.create_task(ask_all_the_time("late", await gateways.come("late"))))
        await asyncio.sleep(2 * MINUTE_S)
        begun = loop.time()
        await asyncio.sleep(MINUTE_S)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        parts = {name: sum(at >= begun for at in times) for name, times in served.items()}
        assert min(parts.values()) >= 0.4 * 120, parts
        assert most_within_a_minute([(at, 1) for times in served.values() for at in times]) <= 120


@virtual
async def test_what_was_used_beyond_what_was_taken_is_told_to_the_others(loop):
    """A vendor that answers at length: nobody else may use those tokens."""
    async with Gateways(loop, 2, limit("user:*", tokens=1000)) as gateways:
        first, second = gateways.limiters
        ((held,), _) = await admitted(first, ANNA, 1, tokens=100)
        held.end(900)
        await asyncio.sleep(2 * LOOK_S)
        assert gateways.held("user:anna")["w0"][1] >= 900
        assert 1 == await count(second, 5, tokens=100)


@virtual
async def test_names_that_nobody_uses_leave_no_rows(loop):
    """What is forgotten is given back."""
    async with Gateways(loop, 2, limit("user:*", requests=1000)) as gateways:
        for number in range(30):
            held, _ = await admitted(gateways.limiters[0], Who(user=f"u{number}"), 1)
            held[0].end(0)
        await asyncio.sleep(MINUTE_S + 1)
        for number in range(100, 160):
            await count(gateways.limiters[0], 1, Who(user=f"u{number}"))
        await asyncio.sleep(2 * LOOK_S)
        names = {name for (name,) in gateways.books.rows("SELECT name FROM limit_grant")}
        assert not {f"user:u{number}" for number in range(20)} & names


@virtual
async def test_a_limit_that_is_changed_holds_at_once(loop):
    """Also a number that it did not have: what was used of it counts."""
    async with Gateways(loop, 2, limit("user:*", requests=100)) as gateways:
        first, second = gateways.limiters
        assert 30 == await count(first, 30, tokens=10)
        for one in gateways.limiters:
            one.install(snapshot(limit("user:*", requests=40, tokens=350)))
        assert 5 == await count(first, 20, tokens=10)
        assert 0 == await count(second, 20, tokens=10)


# ── who is gone ──


@virtual
async def test_places_of_one_that_was_killed_are_free_in_time(loop):
    """T36: after fifteen seconds. What it used within the minute counts for a minute more."""
    async with Gateways(loop, 2, limit("user:*", requests=10, at_once=8)) as gateways:
        first, second = gateways.limiters
        held, _ = await admitted(first, ANNA, 8)
        assert 8 == len(held)
        await gateways.kill(first)
        await asyncio.sleep(15.0 - LOOK_S)
        assert 2 == await count(second, 10)
        assert 0 == second.others
        await asyncio.sleep(MINUTE_S + 1)
        assert 6 == await count(second, 10)


@virtual
async def test_one_that_is_known_to_be_gone_is_inherited_from_at_once(loop):
    """Whoever finds its journal without an owner says so."""
    async with Gateways(loop, 2, limit("user:*", at_once=8)) as gateways:
        first, second = gateways.limiters
        await admitted(first, ANNA, 8)
        await gateways.kill(first)
        gateways.books.run(gone("w0"))
        await asyncio.sleep(2 * LOOK_S)
        assert 8 == await count(second, 10)


@virtual
async def test_who_was_alone_and_killed_keeps_nobody_waiting(loop):
    """Its claim to everything ends a second after its successor has seen it; requests wait for that."""
    async with Gateways(loop, 1, limit("user:*", requests=10)) as gateways:
        await gateways.kill(gateways.limiters[0])
        again = await gateways.come("again")
        begun = loop.time()
        assert 10 == await count(again, 11)
        assert loop.time() - begun <= LONE_S + LATER_S + 2 * LOOK_S < JOIN_S
        assert 0 == again.others


@virtual
async def test_one_that_stood_still_asks_before_it_goes_on(loop):
    """It was taken for gone meanwhile, and what it held is somebody else's."""
    async with Gateways(loop, 2, limit("user:*", requests=10)) as gateways:
        first, second = gateways.limiters
        assert 6 == await count(first, 6)
        await gateways.stand_still(first)
        await asyncio.sleep(SILENT_S + 3 * LOOK_S)
        assert 4 == await count(second, 10)
        asking = loop.create_task(count(first, 5))
        await first.start()
        assert 0 == await asking
        assert 1 == first.others
        await asyncio.sleep(MINUTE_S + 2)
        assert 10 == sum(await asyncio.gather(count(first, 10), count(second, 10)))


@virtual
async def test_one_that_was_alone_and_stood_still_asks_too(loop):
    """Its claim was taken from it by somebody who came."""
    async with Gateways(loop, 1, limit("user:*", requests=10)) as gateways:
        (first,) = gateways.limiters
        assert 6 == await count(first, 6)
        await gateways.stand_still(first)
        second = await gateways.come("w1")
        assert 10 == await count(second, 10)  # nobody can know what the first one used: it was alone, and is gone
        await first.start()
        assert 0 == await count(first, 5)


# ── without the database ──


@virtual
async def test_without_the_database_each_goes_on_with_what_it_holds(loop):
    """Whoever is new to it has the part that everybody could have; and then it is as before."""
    async with Gateways(loop, 2, limit("user:*", requests=100)) as gateways:
        first, second = gateways.limiters
        assert 20 == await count(first, 20)
        gateways.books.is_gone = True
        await asyncio.sleep(2 * LOOK_S)
        begun = loop.time()
        assert 50 == await count(second, 60)
        assert 50 == await count(second, 60, BO)
        assert 30 == await count(first, 60)
        assert begun == loop.time()
        gateways.books.is_gone = False
        await asyncio.sleep(2 * LOOK_S)
        assert 0 == await count(first, 10)
        assert 50 == await count(first, 60, BO)
        assert (50, 0, 0) == gateways.held("user:bo")["w1"]


@virtual
async def test_without_the_database_from_the_start_all_is_ours(loop):
    """Nobody else is known; the first look that succeeds knows more."""
    gateways = Gateways(loop, 0, limit("user:*", requests=10))
    gateways.books.is_gone = True
    one = await gateways.come("w1")
    assert 10 == await count(one, 11)
    gateways.books.is_gone = False
    await asyncio.sleep(2 * LOOK_S)
    assert 0 == await count(one, 1)
    await asyncio.sleep(MINUTE_S + 1)
    assert 10 == await count(one, 11)
    await gateways.leave(one)


@virtual
async def test_a_database_that_hangs_is_waited_for_once(loop):
    """Half a second; whoever comes then is let in or refused at once."""
    async with Gateways(loop, 2, limit("user:*", requests=100)) as gateways:
        first, _ = gateways.limiters
        gateways.books.delay_s = 3600.0
        begun = loop.time()
        assert 50 == await count(first, 60)
        assert loop.time() - begun <= PATIENCE_S
        begun = loop.time()
        assert 50 == await count(first, 60, BO)
        assert begun == loop.time()
        gateways.books.delay_s = 0.004
        for one in gateways.limiters:
            await gateways.stand_still(one)
            await one.start()
        assert 50 == await count(first, 60)


def test_losing_the_database_is_said_once(caplog):
    """And finding it again."""

    async def main(loop):
        async with Gateways(loop, 2, limit("user:*", requests=100)) as gateways:
            for _ in range(3):
                gateways.books.is_gone = True
                await asyncio.sleep(10.0)
                await count(gateways.limiters[0], 3)
                gateways.books.is_gone = False
                await asyncio.sleep(10.0)
            gateways.books.is_gone = True

    run_virtually(main)
    told = [record.getMessage().split(":")[1].split(",")[0].strip() for record in caplog.records]
    lost, found = "the books cannot be reached", "the books can be reached again"
    assert 6 == told.count(found)
    assert told.count(lost) in {6, 8}
    assert 2 == told.count("others hold back our part for a quarter of a minute")


@virtual
async def test_losing_the_database_while_somebody_comes_changes_nothing(loop):
    """What could not be said was not said: all of every limit is still ours."""
    async with Gateways(loop, 1, limit("user:*", requests=100)) as gateways:
        (one,) = gateways.limiters
        assert 20 == await count(one, 20)
        run, gateways.books.write = gateways.books.write, gateways.books.refuse
        other = gateways.make("w1")
        gateways.books.run(beat("w1", {}, 0))
        await asyncio.sleep(2 * LOOK_S)
        assert 80 == await count(one, 90)
        assert 1 == one.others
        gateways.books.write = run
        await asyncio.sleep(2 * LOOK_S)
        await other.start()
        assert 0 == await count(other, 1)
        await other.stop()


@virtual
async def test_losing_the_database_in_the_midst_of_asking(loop):
    """Whoever waits has the part that everybody could have."""
    async with Gateways(loop, 2, limit("user:*", requests=100)) as gateways:
        run, gateways.books.write = gateways.books.write, gateways.books.refuse
        begun = loop.time()
        assert 50 == await count(gateways.limiters[0], 60)
        assert loop.time() - begun < LOOK_S
        gateways.books.write = run


@virtual
async def test_one_that_is_taken_for_gone_while_it_asks(loop):
    """It gets nothing until it has said again that it is there."""
    async with Gateways(loop, 3, limit("user:*", requests=10)) as gateways:
        first, second, _ = gateways.limiters
        assert 4 == await count(first, 4)
        gateways.books.run(gone("w0"))
        assert 6 == sum(await asyncio.gather(count(first, 10), count(second, 10)))
        assert 2 == first.others

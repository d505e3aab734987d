"""Room for the calls that conversations will still make: who begins, who waits, who goes on. In virtual time."""

from __future__ import annotations

import asyncio

import pytest

from tests.gateway.line import minute, played
from turnout.core.follow_ups import KEPT_S

# ── conversations ──


def test_a_burst_of_conversations_begins_no_more_than_can_go_on():
    """Six places: two of three calls each begin, and their calls wait for nothing."""

    async def scene(lab):
        async def conversation(name):
            for number in range(3):
                turn = await lab.turn(
                    caller=name, follow_ups=0 if number else 2, is_continuing=number > 0, priority="high"
                )
                lab.order.append((f"{name}{number}", lab.at()))
                await asyncio.sleep(3)
                turn.end(0, goes_on=number < 2)

        await lab.calls(*[conversation(name) for name in "abc"])
        begun = dict(lab.order)
        assert [("a0", 0.0), ("b0", 0.0), ("a1", 3.0), ("b1", 3.0), ("a2", 6.0), ("b2", 6.0)] == lab.order[:6]
        assert begun["c0"] > 60
        assert begun["c2"] - begun["c0"] < 10

    played(scene, minute(6))


def test_room_is_given_back_when_an_answer_calls_no_tool():
    """Whoever waits for it goes in that instant."""

    async def scene(lab):
        turn = await lab.turn(follow_ups=2)
        waiting = lab.calls(lab.call("other", caller="you"))
        await asyncio.sleep(4)
        assert [] == lab.order
        turn.end(0, goes_on=False)
        await waiting
        assert [("other", 4.0)] == lab.order

    played(scene, minute(3, at_once=9))


def test_room_that_nobody_comes_for_lapses():
    """After a minute it is anybody's."""

    async def scene(lab):
        (await lab.turn(follow_ups=2)).end(0, goes_on=True)
        await asyncio.sleep(30)
        (await lab.turn(caller="you", is_continuing=True)).end(0)
        turn = await lab.turn(caller="you")
        assert lab.at() == pytest.approx(KEPT_S, abs=0.5)
        turn.end(0)

    played(scene, minute(3))


def test_who_goes_on_may_use_the_room_that_others_wait_for():
    """That is what it is kept for."""

    async def scene(lab):
        (await lab.turn(caller="tools", follow_ups=2)).end(0, goes_on=True)
        waiting = lab.calls(lab.call("begins", caller="you"))
        await asyncio.sleep(2)
        turn = await lab.turn(caller="tools", is_continuing=True)
        assert (2.0, 0.0) == (lab.at(), turn.waited_s)
        turn.end(0)
        await waiting

    played(scene, minute(3))


def test_an_even_minute_keeps_no_place_empty():
    """Where a place comes free every five seconds, a conversation of three begins with one."""

    async def scene(lab):
        for _ in range(11):
            (await lab.turn()).end(0)
            await asyncio.sleep(5)
        assert (await lab.turn(follow_ups=2)).waited_s == 0.0

    played(scene, minute(12))

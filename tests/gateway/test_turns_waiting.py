"""What a client sees of the wait for its turn, and what becomes of it when it leaves. In virtual time."""

from __future__ import annotations

import asyncio

import pytest

from tests.gateway.lab import OK, Client, refusal
from tests.gateway.quotas_lab import CONFIG, STREAM, played, vendors
from turnout.core.quota_window import SPAN_S
from turnout.errors import QuotaExhausted, UpstreamFault
from turnout.gateway.memory_transport import Scripted
from turnout.gateway.turns import COMMENT, COMMENT_S
from turnout.gateway.waiting import Want

# ── a stream that waits ──


def test_a_waiting_stream_is_kept_alive_and_then_answered(tmp_path):
    """Its head goes out after ten seconds, and then a comment every ten; the answer follows them."""

    async def scene(lab):
        await lab.say("alone")
        client = Client()
        waiting = lab.loop.create_task(lab.say("alone", client, stream=True))
        await asyncio.sleep(COMMENT_S - 1)
        assert not client.is_started
        await asyncio.sleep(2)
        assert (200, "text/event-stream; charset=utf-8", COMMENT) == (
            client.status,
            client.headers["content-type"],
            client.body,
        )
        assert client.headers["x-request-id"]
        await waiting
        assert client.body.startswith(COMMENT * 6 + b"data: ")
        assert client.ended == "finish"

    played(tmp_path, vendors(stub=[OK, STREAM]), scene)


def test_a_client_that_takes_nothing_is_sent_no_more_comments(tmp_path):
    """They would pile up."""

    async def scene(lab):
        await lab.say("alone")
        client = Client()
        client.is_paused = True
        await lab.say("alone", client, stream=True)
        assert COMMENT not in client.body

    played(tmp_path, vendors(stub=[OK, STREAM]), scene)


def test_a_failure_after_comments_only_is_still_invisible(tmp_path):
    """Comments are no answer: the next candidate may be asked."""

    async def scene(lab):
        await lab.say("free")
        await lab.say("free")
        client = await lab.say("free", stream=True)
        assert ["stub", "backup", "stub", "backup"] == lab.asked
        assert client.body.count(b"data: ") == 2
        assert client.ended == "finish"

    played(tmp_path, vendors(stub=[OK, refusal(503)], backup=[OK, STREAM]), scene)


def test_a_stream_that_waited_for_nothing_is_told_so_in_the_stream(tmp_path):
    """Its head said 200: the error is an event in the client's format, and the connection ends."""

    async def scene(lab):
        await lab.say("alone")
        client = Client()
        waiting = lab.loop.create_task(lab.say("alone", client, stream=True, said={"timeout_s": 70.0}))
        await asyncio.sleep(1)
        urgent = lab.loop.create_task(lab.say("alone", said={"priority": "high", "timeout_s": 65.0}))
        with pytest.raises(QuotaExhausted):
            await waiting
        assert b'"code":"quota_exhausted"' in client.body
        assert client.ended == "cut"
        await urgent

    played(tmp_path, vendors(stub=[OK]), scene)


def test_a_stream_that_waited_and_then_failed_is_told_so_in_the_stream(tmp_path):
    """As its vendor said it, not as an answer that broke off: there was none."""

    async def scene(lab):
        await lab.say("alone")
        client = Client()
        with pytest.raises(UpstreamFault):
            await lab.say("alone", client, stream=True, said={"timeout_s": 100.0})
        assert b'"code":"upstream_fault"' in client.body
        assert (1, "cut") == (client.body.count(b"data: "), client.ended)

    played(tmp_path, vendors(stub=[OK, refusal(503)]), scene)


# ── a second one beside the first ──


def test_a_second_attempt_takes_a_turn_only_if_one_is_free(tmp_path):
    """Else the slow first one is waited for."""

    def answers(gate):
        return vendors(stub=[Scripted(body=(gate, *OK.body))])

    def ready(lab):
        for _ in range(100):
            lab.engine._hedges.arrived()
        speed = lab.engine._speed("first@stub", is_stream=False)
        for _ in range(100):
            speed.add(0.5)

    async def free(lab):
        ready(lab)
        client = await lab.say("quick")
        assert (client.headers["x-turnout-model"], lab.used("backup")) == ("second", 1)

    async def taken(lab):
        ready(lab)
        second = lab.engine.index.tasks["quick"].control.choices[1]
        (await lab.scheduler.turn([second], Want("you", "medium", lab.clock.now()))).end(0)
        lab.loop.call_later(3, gates[1].set)
        client = await lab.say("quick")
        assert client.headers["x-turnout-model"] == "first"
        assert ["stub"] == lab.asked

    gates = [asyncio.Event(), asyncio.Event()]
    played(tmp_path, answers(gates[0]), free)
    played(tmp_path, answers(gates[1]), taken)


# ── leaving ──


@pytest.mark.parametrize("after_s", [0.0, 1.0, 15.0, 60.0, SPAN_S + 0.2])
def test_a_client_that_leaves_frees_its_place(tmp_path, after_s):
    """Whenever that is; the next one gets the turn."""

    async def scene(lab):
        await lab.say("alone")
        leaving = lab.loop.create_task(lab.say("alone", stream=True))
        await asyncio.sleep(0)
        staying = lab.loop.create_task(lab.say("alone"))
        await asyncio.sleep(after_s)
        leaving.cancel()
        await asyncio.wait([leaving])
        client = await staying
        assert client.ended == "answer"
        assert lab.at() < 2 * SPAN_S + 1

    played(tmp_path, vendors(stub=[OK, STREAM, OK]) if after_s > 60 else vendors(), scene)


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("task", ["alone", "free", "quick"])
@pytest.mark.parametrize("is_short", [False, True])
def test_a_cancellation_at_any_step_leaves_nothing_behind(tmp_path, task, is_stream, is_short):
    """Step by step of the loop, from before the plan to after the answer, with a free quota and with one that is used up:
    no place stays taken, nobody stays in the line, and whoever comes next is served.
    """
    config = CONFIG.replace("requests_per_minute: 1}", "requests_per_minute: 100, at_once: 1}")
    steps = 0

    async def scene(lab):
        nonlocal steps
        for _ in range(100):
            lab.engine._hedges.arrived()
        for key in ("first@stub", "second@backup"):
            speed = lab.engine._speed(key, is_stream=is_stream)
            for _ in range(100):
                speed.add(0.0)
        for step in range(60):
            holder = None
            if is_short:
                holder = await lab.scheduler.turn([first_of(lab, task)], Want("you", "high", lab.clock.now() + 60))
            asking = lab.loop.create_task(lab.say(task, stream=is_stream))
            for turn in range(step):
                await asyncio.sleep(0)
                if holder is not None and turn == 5:
                    holder.end(0)
            has_ended = asking.done()
            asking.cancel()
            await asyncio.wait([asking])
            if holder is not None:
                holder.end(0)
            assert [0, 0] == [lab.used(name, "at_once") for name in ("stub", "backup")], step
            assert len(lab.scheduler) == 0
            assert lab.transport.open_responses == 0
            if has_ended:
                steps = step
                break
        (await lab.scheduler.turn([first_of(lab, task)], Want("you", "high", lab.clock.now()))).end(0)

    def first_of(lab, name):
        return lab.engine.index.tasks[name].control.choices[0]

    answer = STREAM if is_stream else OK
    played(tmp_path, vendors(stub=[answer], backup=[answer]), scene, config)
    assert steps > (5 if is_short and task == "alone" else 0)

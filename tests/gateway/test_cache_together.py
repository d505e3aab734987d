"""The same question at the same time: one call, and everybody who asked gets what it came to."""

import asyncio

import pytest

from tests.gateway.cached import DONE, END, STREAM, ask, begin, caches, lab_of, leave, turns
from tests.gateway.lab import OK, Client, chunk, read
from turnout.core.plan import Ask
from turnout.errors import ClientDisconnected, GatewayStopping, StreamInterrupted, UpstreamFault
from turnout.gateway.exchange import Exchange
from turnout.gateway.memory_transport import Scripted

# ── together ──


@pytest.mark.parametrize("stream", [False, True])
async def test_the_same_question_at_the_same_time_is_one_call(tmp_path, stream):
    """Each gets the whole answer, with its own headers; the one who asked first pays."""
    gate = asyncio.Event()
    scripted = Scripted(body=(chunk("He"), gate, chunk("j"), END, DONE) if stream else (gate, *OK.body))
    lab = lab_of(tmp_path, {"stub": [scripted]})
    begun = [begin(lab, stream=stream) for _ in range(20)]
    await turns()
    late = begin(lab, stream=stream)
    await turns()
    assert [client.body for client, _ in (*begun, late)] == [chunk("He") if stream else b""] * 21
    gate.set()
    clients = await asyncio.gather(*[task for _, task in (*begun, late)])
    assert len({(client.status, client.body, client.ended) for client in clients}) == 1
    assert caches(*clients) == ["miss"] + ["coalesced"] * 20
    assert len({client.headers["x-request-id"] for client in clients}) == 21
    assert {client.headers["x-turnout-model"] for client in clients} == {"first"}
    assert {client.headers["x-turnout-cost"] for client in clients[1:]} == {"0.000000"}
    assert lab.asked == ["stub"]
    assert [len(one.attempts) for one in lab.ended] == [1] + [0] * 20
    assert {one.answered and one.answered.candidate.key for one in lab.ended[1:]} == {"first@stub"}
    told = lab.engine.cache.stats()
    assert (told.coalesced, told.saved_calls, told.flights) == (20, 20, 0)


async def test_no_two_who_would_be_treated_otherwise_ask_together(tmp_path):
    """Another workspace, arm, urgency or patience; who wants it fresh; a virtual key, which is told less of what goes wrong."""
    gate = asyncio.Event()
    lab = lab_of(tmp_path, {"stub": [Scripted(body=(gate, *OK.body))], "backup": [Scripted(body=(gate, *OK.body))]})
    begun = [
        begin(lab),
        begin(lab, workspace="a"),
        begin(lab, user="boss"),
        begin(lab, control="no-cache"),
        begin(lab, control="no-store"),
        begin(lab, temperature=0.5),
    ]
    asks = [Ask("task:work", priority="high"), Ask("task:work", timeout_s=5.0), Ask("task:work", by=1.9e9)]
    asks.append(Ask("task:work", key_id="k_1"))
    call = read({"model": "task:work", "messages": [{"role": "user", "content": "Hej"}]})
    others = [
        asyncio.ensure_future(lab.engine.serve(call, one, f"other_{number}", Client()))
        for number, one in enumerate(asks)
    ]
    await turns()
    assert len(lab.transport.sent) == 10
    gate.set()
    await asyncio.gather(*[task for _, task in begun], *others)


async def test_the_leaders_client_leaves_and_the_others_get_their_answer(tmp_path):
    """The call goes on and is kept; its own trace says that its client left."""
    gate = asyncio.Event()
    lab = lab_of(tmp_path, {"stub": [Scripted(body=(chunk("He"), gate, chunk("j"), END, DONE))]})
    leader, leading = begin(lab, stream=True)
    await turns()
    follower, following = begin(lab, stream=True)
    await turns()
    leave(leader)
    await turns()
    gate.set()
    await following
    with pytest.raises(ClientDisconnected):
        await leading
    assert (follower.body, follower.ended) == (chunk("He") + chunk("j") + END + DONE, "finish")
    assert (leader.body, leader.ended) == (chunk("He"), "")
    assert lab.asked == ["stub"]
    by_id = {one.request_id: one for one in lab.ended}
    assert by_id["req_1"].outcome.code == "client_disconnected"
    assert by_id["req_1"].attempts[0].usage is not None
    assert by_id["req_2"].outcome is None
    assert caches(await ask(lab, stream=True)) == ["hit"]


async def test_upstream_is_cancelled_when_the_last_one_leaves(tmp_path):
    """At once; and who comes then asks anew."""
    never = asyncio.Event()
    lab = lab_of(tmp_path, {"stub": [Scripted(body=(never,)), OK]})
    leader, leading = begin(lab)
    await turns()
    follower, following = begin(lab)
    await turns()
    leave(leader)
    await turns()
    assert lab.transport.open_responses == 1
    leave(follower)
    late, coming = begin(lab)
    await asyncio.gather(leading, following, return_exceptions=True)
    assert [task.cancelled() for task in (leading, following)] == [True, True]
    await coming
    assert (caches(late), lab.transport.open_responses) == (["miss"], 0)
    assert all(load.in_flight == 0 for load in lab.health.loads().values())


async def test_a_failure_reaches_everybody_who_asked(tmp_path):
    """One call, one refusal, and each is told it."""
    gate = asyncio.Event()
    lab = lab_of(tmp_path, {"stub": [Scripted(401, body=(gate, b"{}"))]})
    begun = [begin(lab, name="task:paid") for _ in range(5)]
    await turns()
    gate.set()
    ends = await asyncio.gather(*[task for _, task in begun], return_exceptions=True)
    assert [(type(end), end.message, end.model) for end in ends] == [(UpstreamFault, ends[0].message, "first")] * 5
    assert lab.asked == ["stub"]
    assert [one.outcome.code for one in lab.ended] == ["upstream_fault"] * 5


async def test_a_stream_that_breaks_breaks_for_everybody(tmp_path):
    """With the error's event, and without an end."""
    gate = asyncio.Event()
    lab = lab_of(tmp_path, {"stub": [Scripted(body=(chunk("He"), gate, UpstreamFault("reset", is_ambiguous=True)))]})
    begun = [begin(lab, stream=True) for _ in range(3)]
    await turns()
    gate.set()
    ends = await asyncio.gather(*[task for _, task in begun], return_exceptions=True)
    assert [type(end) for end in ends] == [StreamInterrupted] * 3
    assert [(client.body.count(b"stream_interrupted"), client.ended) for client, _ in begun] == [(1, "cut")] * 3


async def test_a_leader_that_is_cancelled_by_itself_is_replaced(tmp_path):
    """Whoever waited asks anew, and again only one of them."""
    gate = asyncio.Event()
    lab = lab_of(tmp_path, {"stub": [Scripted(body=(gate, *OK.body))]})
    begun = [begin(lab) for _ in range(4)]
    await turns()
    begun[0][1].cancel()
    await turns()
    gate.set()
    ends = await asyncio.gather(*[task for _, task in begun], return_exceptions=True)
    assert isinstance(ends[0], asyncio.CancelledError)
    assert caches(*[client for client, _ in begun]) == [None, "miss", "coalesced", "coalesced"]
    assert lab.asked == ["stub", "stub"]


async def test_our_stop_is_told_to_everybody(tmp_path):
    """The leader's task is cancelled with the word for it."""
    never = asyncio.Event()
    lab = lab_of(tmp_path, {"stub": [Scripted(body=(chunk("He"), never))]})
    begun = [begin(lab, stream=True) for _ in range(2)]
    await turns()
    begun[0][1].cancel(GatewayStopping.code)
    ends = await asyncio.gather(*[task for _, task in begun], return_exceptions=True)
    assert [type(end) for end in ends] == [asyncio.CancelledError, GatewayStopping]
    assert [(client.body.count(b"gateway_stopping"), client.ended) for client, _ in begun] == [(1, "cut")] * 2


async def test_a_bug_is_told_to_everybody_as_one(tmp_path):
    """Nobody waits for what will not come."""

    class Broken(Client):
        def answer(self, status, headers, body):
            raise ZeroDivisionError

    gate = asyncio.Event()
    lab = lab_of(tmp_path, {"stub": [Scripted(body=(gate, *OK.body))]})
    begun = [begin(lab, client=Broken()), begin(lab)]
    await turns()
    gate.set()
    ends = await asyncio.gather(*[task for _, task in begun], return_exceptions=True)
    assert isinstance(ends[0], ZeroDivisionError)
    assert ends[1].code == "internal_error"


@pytest.mark.parametrize("stream", [False, True])
async def test_whoever_is_cancelled_at_whatever_await_harms_nobody_else(tmp_path, stream):
    """Three ask; one of them, the leader too, is cancelled after 0, 1, 2 … turns: the other two get all of it."""
    for victim in range(3):
        for after in range(40):
            lab = lab_of(tmp_path, {"stub": [STREAM if stream else OK]})
            begun = [begin(lab, stream=stream) for _ in range(3)]
            await turns(after)
            begun[victim][1].cancel()
            ends = await asyncio.gather(*[task for _, task in begun], return_exceptions=True)
            for at, ((client, _), end) in enumerate(zip(begun, ends, strict=True)):
                if at != victim and not (victim == 0 and isinstance(end, StreamInterrupted)):
                    assert end is client
                    assert client.body == b"".join((STREAM if stream else OK).body)
            assert lab.engine.cache.stats().flights == 0
            assert lab.transport.open_responses == 0
            if all(end is not None and not isinstance(end, BaseException) for end in ends):
                break
        else:
            pytest.fail("it never ended by itself")


async def test_a_lone_client_that_takes_nothing_for_long_has_left(tmp_path):
    """As it is without a cache."""

    class Deaf(Client):
        async def drain(self):
            await super().drain()
            raise ClientDisconnected("the client took nothing for 60 s")

    gate = asyncio.Event()
    lab = lab_of(tmp_path, {"stub": [Scripted(body=(chunk("He"), gate, chunk("j"), gate, END, DONE)), STREAM]})
    deaf, task = begin(lab, client=Deaf(), stream=True)
    deaf.is_paused = True
    await turns()
    gate.set()
    with pytest.raises(ClientDisconnected, match="took nothing"):
        await task
    assert (lab.ended[0].outcome.code, lab.transport.open_responses) == ("client_disconnected", 0)
    assert caches(await ask(lab, stream=True)) == ["miss"]


async def test_comments_for_those_who_wait_reach_everybody_and_are_not_kept(tmp_path):
    """Who joins in the wait hears them too; who asks later gets the answer alone."""
    gate = asyncio.Event()
    lab = lab_of(tmp_path, {"stub": [STREAM]})
    call = read({"model": "task:work", "messages": [{"role": "user", "content": "Hej"}], "stream": True})
    asked = Ask(call.name, stream=True)
    planned = lab.engine.what_if(asked)

    async def waits(exchange, planned):
        exchange.down.start(200, [(b"content-type", b"text/event-stream")])
        exchange.down.write(b": waiting\n\n")
        await gate.wait()
        for piece in STREAM.body:
            exchange.down.write(piece)
        exchange.down.finish()
        exchange.answered = planned.choices[0]

    clients = [Client(), Client()]
    running = []
    for number, client in enumerate(clients):
        exchange = Exchange(f"r{number}", call, asked, lab.engine.index, 0.0, 0.0, client)
        exchange.decided = planned
        running.append(asyncio.ensure_future(lab.engine.cache.serve(exchange, planned, waits)))
    await turns()
    assert [client.body for client in clients] == [b": waiting\n\n"] * 2
    gate.set()
    await asyncio.gather(*running)
    assert [client.body for client in clients] == [b": waiting\n\n" + b"".join(STREAM.body)] * 2
    later = await ask(lab, stream=True)
    assert (caches(later), later.body) == (["hit"], b"".join(STREAM.body))

"""The in-process executor keeps the contract of a transport: phases, ambiguity, bytes, and what the witness hears."""

import asyncio

import msgspec
import pytest

from turnout.core.catalog import Timeouts
from turnout.core.contracts import Outgoing
from turnout.core.simulation.profiles import Profile
from turnout.core.simulation.witness import Dispatch
from turnout.core.simulation.world import World
from turnout.errors import Overloaded, UpstreamFault, UpstreamTimeout
from turnout.gateway.clock import SystemClock
from turnout.gateway.simulated_transport import SimulatedIncoming, SimulatedTransport

QUICK = Timeouts(first_chunk_s=0.05, idle_s=0.05, total_s=5.0)


def outgoing(fault: str = "", *, stream: bool = False, timeouts: Timeouts = QUICK, query: str = "") -> Outgoing:
    """Return a chat request."""
    body = {"model": "m", "messages": [{"role": "user", "content": "Hej"}], "stream": stream}
    return Outgoing(
        f"simulated://world/v1/chat/completions{query}",
        (("x-fault", fault), ("x-request-id", "req_1")),
        msgspec.json.encode(body),
        timeouts,
    )


def transport(world: World | None = None) -> SimulatedTransport:
    """Return a way to a world without latency."""
    return SimulatedTransport(SystemClock(), world or World.instant())


def only(ways: SimulatedTransport) -> Dispatch:
    """Return the one dispatch that the witness saw."""
    assert len(ways.world.witness.dispatches) == 1
    return ways.world.witness.dispatches[0]


async def everything(incoming: SimulatedIncoming) -> bytes:
    """Return all chunks."""
    pieces = []
    while data := await incoming.chunk():
        pieces.append(data)
    return b"".join(pieces)


async def test_a_whole_answer() -> None:
    """Status, joined headers, bytes; the witness hears that it was complete."""
    ways = transport()
    incoming = await ways.send(outgoing("header=x-a: 1;header=x-a: 2", query="?x=1"))
    assert (incoming.status, incoming.is_reused, incoming.headers["x-a"]) == (200, False, "1, 2")
    assert (True, False) == (incoming.mentions(b"x-a"), incoming.mentions(b"limit"))
    body = await incoming.read(1_000_000)
    incoming.close()
    assert msgspec.json.decode(body)["object"] == "chat.completion"
    seen = only(ways)
    assert (seen.outcome, seen.sent_bytes, seen.path) == ("complete", len(body), "/v1/chat/completions?x=1")
    assert seen.request_id == "req_1"


async def test_a_stream_comes_as_its_time_comes() -> None:
    """`take` never waits; `chunk` does; the tokens arrive over the time that the profile says."""
    ways = transport(World(1, {"*": Profile(first_token_s=0.02, per_token_s=0.002)}))
    started = asyncio.get_running_loop().time()
    incoming = await ways.send(outgoing(stream=True, timeouts=Timeouts()))
    assert incoming.take() == b""
    first = await incoming.chunk()
    rest = await everything(incoming)
    assert b"DONE" not in first
    assert rest.endswith(b"data: [DONE]\n\n")
    assert asyncio.get_running_loop().time() - started > 0.02 + 0.002 * (only(ways).output_tokens - 2)
    assert await incoming.chunk() == b""
    assert incoming.take() == b""


async def test_what_is_due_comes_joined() -> None:
    """Without latency the whole stream is there at once."""
    incoming = await transport().send(outgoing(stream=True))
    assert incoming.take().endswith(b"data: [DONE]\n\n")
    assert await incoming.chunk() == b""


async def test_single_bytes_come_apart() -> None:
    """One byte a write is one byte a chunk."""
    incoming = await transport().send(outgoing("slow"))
    assert [len(await incoming.chunk()) for _ in range(5)] == [1] * 5


@pytest.mark.parametrize(
    ("fault", "outcome"), [("reset", "reset"), ("close", "cut"), ("bad-http", "reset"), ("1xx=101", "reset")]
)
async def test_faults_before_the_head(fault: str, outcome: str) -> None:
    """`send` raises, and it is ambiguous: the vendor may have done the work."""
    ways = transport()
    with pytest.raises(UpstreamFault) as caught:
        await ways.send(outgoing(fault))
    assert caught.value.is_ambiguous
    assert only(ways).outcome == outcome


async def test_a_hundred_interims_are_allowed() -> None:
    """And forgotten."""
    assert (await transport().send(outgoing("1xx=100"))).status == 200


@pytest.mark.parametrize(
    ("fault", "outcome"), [("reset-at=40", "reset"), ("close-at=40", "cut"), ("bad-chunk", "reset")]
)
async def test_faults_in_the_body_come_after_what_came_before(fault: str, outcome: str) -> None:
    """Bytes first, then the failure, again and again; closing afterwards changes nothing."""
    ways = transport()
    incoming = await ways.send(outgoing(fault))
    assert len(await incoming.chunk()) >= 40
    for _ in range(2):
        with pytest.raises(UpstreamFault) as caught:
            await incoming.chunk()
    incoming.close()
    assert caught.value.is_ambiguous
    assert only(ways).outcome == outcome


async def test_a_cut_answer_ends_in_order() -> None:
    """Only its content tells; the witness knows."""
    ways = transport()
    incoming = await ways.send(outgoing("cut", stream=True))
    assert b"[DONE]" not in await everything(incoming)
    assert only(ways).outcome == "cut"


@pytest.mark.parametrize(("fault", "outcome"), [("until-close", "complete"), ("until-close;close-at=10", "cut")])
async def test_without_a_length_the_end_of_the_connection_ends_the_body(fault: str, outcome: str) -> None:
    """Nothing fails, however short it is."""
    ways = transport()
    incoming = await ways.send(outgoing(fault))
    assert await everything(incoming)
    assert only(ways).outcome == outcome


@pytest.mark.parametrize(
    ("fault", "timeouts", "phase"),
    [
        ("stall", QUICK, "first_chunk"),
        ("delay=9", QUICK, "first_chunk"),
        ("stall", Timeouts(first_chunk_s=9.0, total_s=0.05), "total"),
    ],
)
async def test_silence_before_the_head(fault: str, timeouts: Timeouts, phase: str) -> None:
    """The phase that ran out is named, and the witness hears that the client left."""
    ways = transport()
    with pytest.raises(UpstreamTimeout) as caught:
        await ways.send(outgoing(fault, timeouts=timeouts))
    assert (caught.value.phase, caught.value.is_ambiguous) == (phase, True)
    assert only(ways).outcome == "client-closed"


@pytest.mark.parametrize(
    ("fault", "timeouts", "phase"),
    [
        ("stall-event=0", QUICK, "first_chunk"),
        ("stall-event=2", Timeouts(idle_s=0.05), "idle"),
        ("stall-event=2", Timeouts(total_s=0.05), "total"),
    ],
)
async def test_silence_after_the_head(fault: str, timeouts: Timeouts, phase: str) -> None:
    """Before the body first_chunk runs, between its bytes idle, over all total."""
    incoming = await transport().send(outgoing(fault, stream=True, timeouts=timeouts))
    for _ in range(2):
        with pytest.raises(UpstreamTimeout) as caught:
            await everything(incoming)
        assert caught.value.phase == phase


async def test_a_client_that_leaves_is_seen_to_leave() -> None:
    """Closing before the end, or a cancelled wait, before the head or after it."""
    ways = transport()
    incoming = await ways.send(outgoing("stall-event=2", stream=True, timeouts=Timeouts()))
    incoming.take()
    incoming.close()
    assert await incoming.chunk() == b""
    for fault in ("stall", "stall-event=0"):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                waiting = await ways.send(outgoing(fault, stream=True, timeouts=Timeouts()))
                await waiting.chunk()
    assert [one.outcome for one in ways.world.witness.dispatches] == ["client-closed"] * 3


async def test_a_body_beyond_the_limit() -> None:
    """A failure, or for errors as much as was wanted; an endless one is left."""
    ways = transport()
    with pytest.raises(UpstreamFault, match="longer than 1000 bytes"):
        await (await ways.send(outgoing("endless"))).read(1000)
    cut = await (await ways.send(outgoing("endless-error=502"))).read(1000, cut=True)
    assert len(cut) == 1000
    assert [one.outcome for one in ways.world.witness.dispatches] == ["client-closed"] * 2


async def test_a_big_body_ends() -> None:
    """A repeated block comes as often as it was declared, no more than 256 KiB at once."""
    ways = transport()
    incoming = await ways.send(outgoing("big-error=1000000"))
    pieces = [await incoming.chunk()]
    while pieces[-1]:
        pieces.append(await incoming.chunk())
    assert int(only(ways).sent_bytes) == sum(map(len, pieces)) > 1_000_000
    assert max(map(len, pieces)) <= 256 * 1024 + 65536
    assert only(ways).outcome == "complete"


async def test_a_broken_error_body_is_read_as_far_as_it_goes() -> None:
    """With `cut` nothing is raised; without it the failure is."""
    ways = transport()
    assert await (await ways.send(outgoing("503;reset-at=10"))).read(1000, cut=True)
    with pytest.raises(UpstreamFault):
        await (await ways.send(outgoing("503;reset-at=10"))).read(1000)


async def test_a_connection_that_is_refused() -> None:
    """Nothing reaches the world."""
    ways = transport(World.instant(faults=["reset-accept"]))
    with pytest.raises(UpstreamFault):
        await ways.send(outgoing())
    assert ways.world.witness.count == 0
    assert (await ways.send(outgoing())).status == 200


async def test_a_closed_transport_takes_nothing() -> None:
    """An error of ours, not of a vendor."""
    ways = transport()
    await ways.close()
    with pytest.raises(Overloaded):
        await ways.send(outgoing())


async def test_pages_of_the_world_are_no_dispatches() -> None:
    """The list of models comes without a record."""
    ways = transport()
    incoming = await ways.send(Outgoing("simulated://world/v1/models", (), b"", method="GET"))
    assert msgspec.json.decode(await incoming.read(100_000))["object"] == "list"
    incoming.close()
    assert ways.world.witness.count == 0


async def test_without_a_world_it_is_the_free_tier() -> None:
    """With a thousand requests a day."""
    assert SimulatedTransport(SystemClock()).world.speed == 1.0


async def test_forwarding_gives_the_whole_body_and_finishing_tells_the_witness_nothing_new():
    """The engine's way through a stream."""
    transport = SimulatedTransport(SystemClock(), World.instant())
    body = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"hej"}]}'
    incoming = await transport.send(Outgoing("simulated://world/v1/chat/completions", (), body))
    got = []

    def sink(data):
        got.append(data)
        return True

    await incoming.forward(sink)
    incoming.finish()
    assert b"".join(got).endswith(b"data: [DONE]\n\n")
    assert [one.outcome for one in transport.world.witness.dispatches] == ["complete"]

from __future__ import annotations

import asyncio

import pytest

from turnout.core.contracts import Outgoing
from turnout.errors import InternalError, UpstreamFault, UpstreamTimeout, UpstreamUnreachable
from turnout.gateway.memory_transport import MemoryTransport, Scripted
from turnout.gateway.transport import Incoming, Transport

REQUEST = Outgoing(url="http://h/", headers=(), body=b"{}")


def stalled():
    return UpstreamTimeout("no more", phase="idle", is_ambiguous=True)


async def respond(*body, **fields):
    """One response and the transport that it came by."""
    transport = MemoryTransport(lambda _: Scripted(body=body, **fields))
    return await transport.send(REQUEST), transport


async def test_a_script_answers_and_requests_are_kept():
    """It is a Transport, and what it returns an Incoming."""
    transport = MemoryTransport(lambda sent: Scripted(status=201, headers={"x": sent.url}, body=(b"hi",)))
    sender: Transport = transport
    incoming: Incoming = await sender.send(REQUEST)
    assert (incoming.status, incoming.headers, incoming.is_reused) == (201, {"x": "http://h/"}, False)
    assert (True, False) == (incoming.mentions(b"x"), incoming.mentions(b"limit"))
    assert await incoming.read(10) == b"hi"
    assert transport.sent == [REQUEST]
    assert (transport.open_responses, transport.is_closed) == (0, False)
    await transport.close()
    assert transport.is_closed


async def test_a_script_can_refuse():
    """With any error that `send` may raise."""
    transport = MemoryTransport(lambda _: UpstreamUnreachable("h:80: refused"))
    with pytest.raises(UpstreamUnreachable):
        await transport.send(REQUEST)
    assert (len(transport.sent), transport.open_responses) == (1, 0)


async def test_bytes_come_joined_up_to_the_next_wait():
    """As from a socket; `take` never waits, and the end is b"" for ever."""
    gate = asyncio.Event()
    incoming, transport = await respond(b"a", b"b", gate, b"c")
    assert (incoming.take(), incoming.take()) == (b"ab", b"")
    asyncio.get_running_loop().call_soon(gate.set)
    assert await incoming.chunk() == b"c"
    assert (await incoming.chunk(), incoming.take(), transport.open_responses) == (b"", b"", 0)
    assert not incoming.was_cut


async def test_an_error_comes_after_the_bytes_before_it():
    """And again when it is asked for again; `read` raises it, unless the body may be cut."""
    incoming, transport = await respond(b"ab", stalled())
    assert await incoming.chunk() == b"ab"
    for _ in range(2):
        with pytest.raises(UpstreamTimeout):
            await incoming.chunk()
    incoming.close()
    incoming.close()
    assert (incoming.was_cut, transport.open_responses) == (True, 0)
    with pytest.raises(UpstreamTimeout):
        await (await respond(b"ab", stalled()))[0].read(10)
    assert await (await respond(b"ab", stalled()))[0].read(10, cut=True) == b"ab"


async def test_a_body_over_the_limit_is_a_fault_or_cut():
    """As asked."""
    with pytest.raises(UpstreamFault) as caught:
        await (await respond(b"abc"))[0].read(2)
    assert caught.value.is_ambiguous
    incoming, transport = await respond(b"abc", asyncio.Event())
    assert await incoming.read(2, cut=True) == b"ab"
    assert (incoming.was_cut, transport.open_responses) == (True, 0)
    assert await (await respond(b"abc"))[0].read(3) == b"abc"


async def test_cancelling_a_wait_closes_the_response():
    """As the real one does; reading it then is a bug."""
    incoming, transport = await respond(asyncio.Event())
    reading = asyncio.get_running_loop().create_task(incoming.chunk())
    await asyncio.sleep(0)
    assert transport.open_responses == 1
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert (incoming.was_cut, transport.open_responses) == (True, 0)
    assert incoming.take() == b""
    with pytest.raises(InternalError):
        await incoming.chunk()


async def test_forwarding_gives_every_piece_until_the_sink_has_had_enough():
    """And finishing lets go of the rest."""
    pause = asyncio.Event()
    pause.set()
    transport = MemoryTransport(lambda _: Scripted(body=(b"a", pause, b"b")))
    incoming = await transport.send(Outgoing("http://x/", (), b""))
    got = []
    await incoming.forward(lambda data: bool(got.append(data)))
    await incoming.forward(lambda data: bool(got.append(data)))
    assert b"".join(got) == b"ab"
    incoming.finish()
    assert transport.open_responses == 0

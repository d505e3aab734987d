"""Forwarding a body in the turn of the loop in which it comes, and letting go of a rest that nobody wants."""

from __future__ import annotations

import asyncio

import pytest

from tests.gateway.wire import CHUNKED, OK, body_of, http, post, serving
from turnout.errors import InternalError, UpstreamFault, UpstreamTimeout
from turnout.gateway.connection import DRAIN_S


async def test_every_piece_reaches_the_sink_once_and_in_order():
    """What was there before, what comes while it waits, and the end."""
    go_on = asyncio.Event()

    async def script(peer):
        await peer.request()
        await peer.answer(CHUNKED + b"2\r\nab\r\n")
        await go_on.wait()
        await peer.answer(b"2\r\ncd\r\n", b"1\r\ne\r\n0\r\n\r\n")

    got = []

    def sink(data):
        got.append(data)
        go_on.set()
        return True

    async with serving(script) as server, http() as transport:
        incoming = await transport.send(post(server.url))
        await incoming.forward(sink)
        assert b"".join(got) == b"abcde"
        assert "1 idle" in repr(transport)
        await incoming.forward(sink)
        assert b"".join(got) == b"abcde"


async def test_a_sink_that_has_had_enough_is_left_alone_until_it_is_offered_more():
    """What comes meanwhile is kept, and given first."""
    sent = asyncio.Event()

    async def script(peer):
        await peer.request()
        await peer.answer(CHUNKED + b"1\r\na\r\n")
        await sent.wait()
        await peer.answer(b"1\r\nb\r\n0\r\n\r\n")

    got = []

    def one(data):
        got.append(data)
        return False

    async with serving(script) as server, http() as transport:
        incoming = await transport.send(post(server.url))
        await incoming.forward(one)
        assert got == [b"a"]
        sent.set()
        await incoming.forward(one)
        assert got == [b"a", b"b"]


async def test_no_byte_is_lost_when_several_reads_come_in_the_turn_in_which_the_sink_had_enough():
    """A slow client's stream: the sink stops with every piece, while the loop reads the socket as often as it can."""
    body = bytes(range(256)) * 64 * 64
    reply = CHUNKED + b"".join(b"4000\r\n%b\r\n" % body[at : at + 0x4000] for at in range(0, len(body), 0x4000))

    async def script(peer):
        await peer.request()
        await peer.answer(reply + b"0\r\n\r\n")

    got = []

    def one(data):
        got.append(data)
        return False

    async with serving(script) as server, http() as transport:
        incoming = await transport.send(post(server.url))
        before = -1
        while before != len(got):
            before = len(got)
            await incoming.forward(one)
        assert b"".join(got) == body
        assert "1 idle" in repr(transport)


@pytest.mark.parametrize("how", ["finish", "reset"])
async def test_a_broken_body_raises_after_what_came_before_it(how):
    """By FIN or RST."""
    taken = asyncio.Event()

    async def script(peer):
        await peer.request()
        await peer.answer(CHUNKED + b"2\r\nab\r\n")
        await taken.wait()
        getattr(peer, how)()

    got = []

    def sink(data):
        got.append(data)
        taken.set()
        return True

    async with serving(script) as server, http() as transport:
        incoming = await transport.send(post(server.url))
        with pytest.raises(UpstreamFault) as caught:
            await incoming.forward(sink)
        assert caught.value.is_ambiguous
        assert got == [b"ab"]


async def test_silence_is_a_timeout_while_forwarding_too():
    """The idle limit."""

    async def script(peer):
        await peer.request()
        await peer.answer(CHUNKED + b"2\r\nab\r\n")
        await peer.gone()

    async with serving(script) as server, http() as transport:
        incoming = await transport.send(post(server.url, idle_s=0.05))
        with pytest.raises(UpstreamTimeout) as caught:
            await incoming.forward(lambda _: True)
        assert caught.value.phase == "idle"


async def test_cancelling_closes_the_connection_and_the_sink_hears_no_more():
    """As for every wait."""

    async def script(peer):
        await peer.request()
        await peer.answer(CHUNKED)
        await peer.gone()

    async with serving(script) as server, http() as transport:
        incoming = await transport.send(post(server.url))
        task = asyncio.get_running_loop().create_task(incoming.forward(lambda _: True))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        incoming.close()
        with pytest.raises(InternalError):
            await incoming.forward(lambda _: True)
        assert "0 active" in repr(transport) or "idle" not in repr(transport)


async def test_a_rest_that_comes_soon_frees_the_connection_without_anybody_waiting():
    """After a stream's end marker the last chunk is still in flight."""
    finished = asyncio.Event()

    async def script(peer):
        await peer.request()
        await peer.answer(CHUNKED + b"4\r\nDONE\r\n")
        await finished.wait()
        await peer.answer(b"3\r\nxyz\r\n0\r\n\r\n")
        await peer.request()
        await peer.answer(OK)

    async with serving(script) as server, http() as transport:
        incoming = await transport.send(post(server.url))
        assert await incoming.chunk() == b"DONE"
        incoming.finish()
        finished.set()
        async with asyncio.timeout(1):
            while "1 idle" not in repr(transport):
                await asyncio.sleep(0)
        assert await body_of(transport, post(server.url)) == b"{}"
        assert server.accepted == 1


async def test_a_rest_that_does_not_come_costs_the_connection_after_a_second():
    """Nobody waits for it for ever."""
    loop = asyncio.get_running_loop()
    left = loop.create_future()

    async def script(peer):
        await peer.request()
        await peer.answer(CHUNKED + b"4\r\nDONE\r\n")
        await peer.gone()
        left.set_result(loop.time())

    async with serving(script) as server, http() as transport:
        incoming = await transport.send(post(server.url))
        await incoming.chunk()
        began = loop.time()
        incoming.finish()
        incoming.close()
        assert DRAIN_S * 0.9 <= await left - began <= DRAIN_S + 1
        assert "idle" not in repr(transport) or "0 idle" in repr(transport)


async def test_finishing_a_whole_body_is_as_closing_it():
    """The connection serves again at once."""

    async def script(peer):
        await peer.request()
        await peer.answer(OK)
        await peer.gone()

    async with serving(script) as server, http() as transport:
        incoming = await transport.send(post(server.url))
        await incoming.read(100)
        incoming.finish()
        assert "1 idle" in repr(transport)

"""What is known when a connection fails, and what ends its service."""

from __future__ import annotations

import asyncio

import pytest

from tests.gateway.wire import CHUNKED, OK, http, once, post, serving
from turnout.errors import UpstreamFault, UpstreamTimeout

SHORT_S = 0.05


async def expect(kind, awaitable):
    """The error that comes, which it does soon."""
    with pytest.raises(kind) as caught:
        await asyncio.wait_for(awaitable, 5)
    return caught.value


# ── failures ──


@pytest.mark.parametrize(("end", "how"), [("reset", "reset"), ("finish", "closed")])
async def test_a_fresh_connection_that_ends_before_the_head_is_an_ambiguous_fault(end, how):
    """T03: it was sent once and not again."""
    requests = []

    async def script(peer):
        requests.append(await peer.request())
        getattr(peer, end)()

    async with serving(script) as server, http() as transport:
        error = await expect(UpstreamFault, transport.send(post(server.url)))
        assert error.message == f"127.0.0.1:{server.port}: the connection was {how} before it answered"
        assert (error.is_ambiguous, error.status, len(requests)) == (True, 502, 1)


@pytest.mark.parametrize("end", ["reset", "finish"])
@pytest.mark.parametrize("reply", [OK, CHUNKED + b"5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n"], ids=["length", "chunked"])
async def test_a_response_cut_at_any_byte_is_a_fault(reply, end):
    """T07: never a parse crash, never a second dispatch, never a body that looks whole."""
    requests = []
    offsets = iter(range(len(reply)))

    async def script(peer):
        requests.append(await peer.request())
        await peer.answer(reply[: next(offsets)])
        getattr(peer, end)()

    async def whole():
        incoming = await transport.send(post(server.url))
        try:
            return await incoming.read(1000)
        finally:
            incoming.close()

    async with serving(script) as server, http() as transport:
        for _ in range(len(reply)):
            error = await expect(UpstreamFault, whole())
            assert error.is_ambiguous
        assert "<Pool empty>" in repr(transport)
    assert len(requests) == len(reply)


async def test_what_came_before_a_cut_is_delivered_before_the_error():
    """A stream shows its reader every byte that the upstream managed to send."""
    async with serving(once(CHUNKED + b"2\r\nhi\r\n3\r\nab")) as server, http() as transport:
        incoming = await transport.send(post(server.url))
        got = b""
        with pytest.raises(UpstreamFault, match="closed before the response was whole"):
            while data := await incoming.chunk():
                got += data
        assert got == b"hiab"


async def test_a_response_that_is_not_http_is_a_fault():
    """The reason names what is wrong, and nothing of what was sent."""
    async with serving(once(b"SSH-2.0-OpenSSH\r\n")) as server, http() as transport:
        error = await expect(UpstreamFault, transport.send(post(server.url)))
        assert "the response cannot be read: it is not HTTP/1.1" in error.message
        assert error.is_ambiguous
        await asyncio.wait_for(server.all_closed.wait(), 5)


async def test_a_body_that_turns_to_garbage_fails_after_what_was_good():
    """The head is returned although the fault came in the same read."""
    async with serving(once(CHUNKED + b"2\r\nhi\r\nxyz\r\n")) as server, http() as transport:
        incoming = await transport.send(post(server.url))
        assert (incoming.status, incoming.take()) == (200, b"hi")
        assert "it is not HTTP/1.1" in (await expect(UpstreamFault, incoming.chunk())).message


async def test_a_late_reply_meets_a_closed_connection():
    """T08: its bytes are nobody's, and the next request is clean."""
    late = asyncio.Event()

    async def script(peer):
        while True:
            await peer.request()
            if peer.number == 1:
                await late.wait()
                await peer.answer(OK.replace(b"{}", b"!!"))
            await peer.answer(OK)

    async with serving(script) as server, http() as transport:
        await expect(UpstreamTimeout, transport.send(post(server.url, first_chunk_s=SHORT_S)))
        late.set()
        for _ in range(20):
            incoming = await transport.send(post(server.url))
            assert await incoming.read(10) == b"{}"
        assert server.accepted == 2


# ── what ends a connection's service ──


async def test_bytes_on_an_idle_connection_end_it():
    """Nobody asked for them: they must not be read as the next response."""
    speak = asyncio.Event()

    async def script(peer):
        await peer.request()
        await peer.answer(OK)
        if peer.number == 1:
            await speak.wait()
            await peer.answer(OK.replace(b"{}", b"!!"))
            return
        await peer.request()

    async with serving(script) as server, http() as transport:
        await (await transport.send(post(server.url))).read(10)
        assert "1 idle" in repr(transport)
        speak.set()
        await asyncio.wait_for(server.all_closed.wait(), 5)
        assert "<Pool empty>" in repr(transport)
        assert await (await transport.send(post(server.url))).read(10) == b"{}"


async def test_surplus_bytes_end_a_connection():
    """Whether they come with the response or after it and before it was taken."""
    has_head = asyncio.Event()

    async def script(peer):
        await peer.request()
        await peer.answer(OK + OK if peer.number == 1 else OK)
        if peer.number == 2:
            await has_head.wait()
            await peer.answer(b"x")

    async with serving(script) as server, http() as transport:
        incoming = await transport.send(post(server.url))
        assert await incoming.read(10) == b"{}"
        assert "<Pool empty>" in repr(transport)
        incoming = await transport.send(post(server.url))
        has_head.set()
        while not incoming._connection.reader.has_surplus:
            await asyncio.sleep(0)
        assert await incoming.read(10) == b"{}"
        assert "<Pool empty>" in repr(transport)


async def test_an_idle_connection_that_the_peer_closes_leaves_the_pool():
    """Without anybody asking."""
    leave = asyncio.Event()

    async def script(peer):
        await peer.request()
        await peer.answer(OK)
        await leave.wait()
        peer.finish()

    async with serving(script) as server, http() as transport:
        await (await transport.send(post(server.url))).read(10)
        leave.set()
        while transport._live:
            await asyncio.sleep(0)
        assert "<Pool empty>" in repr(transport)


async def test_a_connection_that_the_response_closes_is_not_kept():
    """connection: close, HTTP/1.0, and a body that only the end of the connection ends."""
    for reply in (
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\n\r\nhi",
    ):
        async with serving(once(reply)) as server, http() as transport:
            incoming = await transport.send(post(server.url))
            assert await incoming.read(10) == b"hi"
            assert "<Pool empty>" in repr(transport)

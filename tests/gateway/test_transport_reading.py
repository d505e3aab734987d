"""Reading a response: whole, in chunks, too much of it, and too late."""

from __future__ import annotations

import asyncio

import pytest

from tests.gateway.wire import CHUNKED, OK, always, body_of, http, once, post, secured, serving
from turnout.errors import InternalError, UpstreamFault

SHORT_S = 0.05


# ── reading ──


async def test_a_stream_is_given_as_it_comes():
    """`chunk` gives all that is there, joined; `take` never waits; the end is b"" for ever."""
    go_on = asyncio.Event()

    async def script(peer):
        await peer.request()
        await peer.answer(CHUNKED + b"2\r\nab\r\n3\r\ncde\r\n")
        await go_on.wait()
        await peer.answer(b"1\r\nf\r\n0\r\n\r\n")

    async with serving(script) as server, http() as transport:
        incoming = await transport.send(post(server.url))
        assert await incoming.chunk() == b"abcde"
        assert incoming.take() == b""
        go_on.set()
        assert await incoming.chunk() == b"f"
        assert (await incoming.chunk(), incoming.take(), await incoming.chunk(), await incoming.read(0)) == (b"",) * 4
        assert "1 idle" in repr(transport)
        incoming.close()
        incoming.close()
        assert "1 idle" in repr(transport)


async def test_a_head_is_returned_before_its_body():
    """And the end of an empty body is its proper end."""
    go_on = asyncio.Event()

    async def script(peer):
        await peer.request()
        await peer.answer(CHUNKED)
        await go_on.wait()
        await peer.answer(b"0\r\n\r\n")

    async with serving(script) as server, http() as transport:
        incoming = await transport.send(post(server.url))
        go_on.set()
        assert await incoming.chunk() == b""
        assert "1 idle" in repr(transport)


async def test_a_head_is_searched_without_regard_to_case():
    """For a word in lower case, wherever it stands."""
    answer = b"HTTP/1.1 200 OK\r\nX-RateLimit-Limit: 5\r\ncontent-length: 2\r\n\r\n"
    async with serving(once(answer, b"{}")) as server, http() as transport:
        incoming = await transport.send(post(server.url))
        assert (True, False) == (incoming.mentions(b"ratelimit"), incoming.mentions(b"retry-after"))
        incoming.close()


async def test_a_body_without_a_length_ends_with_its_connection():
    """For `chunk` as for `read`."""
    async with serving(once(b"HTTP/1.1 200 OK\r\n\r\n", b"abc")) as server, http() as transport:
        assert await body_of(transport, post(server.url)) == b"abc"
        incoming = await transport.send(post(server.url))
        assert await incoming.chunk() == b"abc"
        assert await incoming.chunk() == b""


@pytest.mark.parametrize("is_orderly", [True, False])
@pytest.mark.asyncio(loop_factories=["uvloop"])  # asyncio's TLS does not tell the two apart
async def test_over_tls_only_an_orderly_end_ends_a_body_without_a_length(tmp_path, is_orderly):
    """RFC 9112 §9.8: without close_notify anybody on the way may have cut it."""
    context, ca_file = secured(tmp_path)

    async def script(peer):
        await peer.request()
        await peer.answer(b"HTTP/1.1 200 OK\r\n\r\nabc")
        await asyncio.sleep(SHORT_S)  # so that the bytes have left before the connection is torn down
        if is_orderly:
            peer.finish()
        else:
            peer.writer.transport.abort()

    async with serving(script, ssl=context) as server, http() as transport:
        outgoing = post(server.url.replace("http:", "https:"), ca_file=ca_file)
        if is_orderly:
            assert await body_of(transport, outgoing) == b"abc"
        else:
            with pytest.raises(UpstreamFault, match="before the response was whole"):
                await body_of(transport, outgoing)


async def test_requests_over_tls_share_a_connection(tmp_path):
    """Small and big, in both directions."""
    context, ca_file = secured(tmp_path)
    big = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (1 << 21) + bytes(1 << 21)
    async with serving(always(big), ssl=context) as server, http() as transport:
        for body in (b"{}", bytes(1 << 21), b"{}"):
            outgoing = post(server.url.replace("http:", "https:"), body, ca_file=ca_file)
            assert await body_of(transport, outgoing, limit=1 << 21) == bytes(1 << 21)
        assert server.accepted == 1


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "endless"])
async def test_a_body_over_the_limit_is_a_fault(whole):
    """T10: no more is read than was asked for, and a little; an endless one is closed."""

    async def script(peer):
        await peer.request()
        if whole:
            await peer.answer(b"HTTP/1.1 200 OK\r\ncontent-length: 101\r\n\r\n" + bytes(101))
        else:
            await peer.answer(CHUNKED)
            while True:
                await peer.answer(b"ff\r\n" + bytes(255) + b"\r\n")

    async with serving(script) as server, http() as transport:
        with pytest.raises(UpstreamFault, match="longer than 100 bytes") as caught:
            await body_of(transport, post(server.url), limit=100)
        assert caught.value.is_ambiguous
        assert ("1 idle" if whole else "<Pool empty>") in repr(transport)


async def test_a_body_of_just_the_limit_is_fine():
    """The bound is inclusive."""
    reply = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n" + bytes(100)
    async with serving(always(reply)) as server, http() as transport:
        assert await body_of(transport, post(server.url), limit=100) == bytes(100)


@pytest.mark.parametrize("ending", ["endless", "cut", "stall", "whole"])
async def test_an_error_body_is_read_as_far_as_it_helps(ending):
    """T10: `cut` takes at most the limit, and neither a reset nor a stall hides the status."""

    async def script(peer):
        await peer.request()
        await peer.answer(b"HTTP/1.1 500 X\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
        if ending == "cut":
            peer.finish()
        elif ending == "whole":
            await peer.answer(b"0\r\n\r\n")
        while ending == "endless":
            await peer.answer(b"ff\r\n" + bytes(255) + b"\r\n")

    async with serving(script) as server, http() as transport:
        incoming = await transport.send(post(server.url, idle_s=SHORT_S))
        body = await incoming.read(100, cut=True)
        incoming.close()
        assert (incoming.status, len(body)) == (500, 100 if ending == "endless" else 3)
        assert body.startswith(b"abc")
        assert ("1 idle" if ending == "whole" else "<Pool empty>") in repr(transport)


async def test_reading_after_close_is_a_bug():
    """Of the caller; it is told so, and no other response is touched."""
    async with serving(once(CHUNKED + b"2\r\nhi\r\n")) as server, http() as transport:
        incoming = await transport.send(post(server.url))
        incoming.close()
        assert "<Pool empty>" in repr(transport)
        assert incoming.take() == b""
        for reading in (incoming.chunk(), incoming.read(10)):
            with pytest.raises(InternalError, match="after it was closed"):
                await reading


async def test_closing_an_unfinished_response_closes_its_connection_at_once():
    """T39: the upstream sees it, and can stop working."""
    async with serving(once_open(CHUNKED + b"2\r\nhi\r\n")) as server, http() as transport:
        incoming = await transport.send(post(server.url))
        incoming.close()
        await asyncio.wait_for(server.all_closed.wait(), 1)


def once_open(*pieces):
    """Answer once and stay."""

    async def script(peer):
        await peer.request()
        await peer.answer(*pieces)

    return script


async def test_a_whole_response_that_was_not_taken_gives_its_connection_back():
    """The socket is clean, whoever wanted the bytes."""
    async with serving(always(OK)) as server, http() as transport:
        (await transport.send(post(server.url))).close()
        assert "1 idle" in repr(transport)
        assert (await transport.send(post(server.url))).is_reused

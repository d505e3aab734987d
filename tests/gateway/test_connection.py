"""Phases and deadlines of one connection, and who waits for whom."""

from __future__ import annotations

import asyncio

import pytest

from tests.gateway.wire import CHUNKED, OK, always, http, post, serving
from turnout.core.pieces import LARGE_BYTES, Pieces
from turnout.errors import UpstreamFault, UpstreamTimeout
from turnout.gateway.connection import READ_BYTES, WHOLE_BYTES

SHORT_S = 0.05


async def expect(kind, awaitable):
    """The error that comes, which it does soon."""
    with pytest.raises(kind) as caught:
        await asyncio.wait_for(awaitable, 5)
    return caught.value


# ── deadlines ──


async def test_an_upstream_that_never_answers_is_given_up_after_the_first_chunk_limit():
    """T05: ambiguous, as it may be working; the connection is closed and its slot free."""

    async def silent(peer):
        await peer.request()

    async with serving(silent) as server, http() as transport:
        loop = asyncio.get_running_loop()
        started = loop.time()
        error = await expect(UpstreamTimeout, transport.send(post(server.url, first_chunk_s=SHORT_S)))
        assert ("first_chunk", True, 504) == (error.phase, error.is_ambiguous, error.status)
        assert error.message == f"127.0.0.1:{server.port}: no answer within 0.05 s"
        assert SHORT_S - 0.01 <= loop.time() - started < SHORT_S + 1
        assert repr(transport).startswith("<HttpTransport <Pool empty>")
        await asyncio.wait_for(server.all_closed.wait(), 5)


async def test_a_head_without_a_body_does_not_stop_the_first_chunk_limit():
    """What counts is the first byte of the body."""

    async def heads_only(peer):
        await peer.request()
        await peer.answer(CHUNKED)

    async with serving(heads_only) as server, http() as transport:
        incoming = await transport.send(post(server.url, first_chunk_s=SHORT_S))
        assert incoming.status == 200
        assert (await expect(UpstreamTimeout, incoming.chunk())).phase == "first_chunk"
        incoming.close()


async def test_a_stall_between_body_bytes_is_given_up_after_the_idle_limit():
    """T06: what had come is delivered first, and the error as often as it is asked for."""

    async def stalls(peer):
        await peer.request()
        await peer.answer(CHUNKED + b"2\r\nhi\r\n")

    async with serving(stalls) as server, http() as transport:
        incoming = await transport.send(post(server.url, first_chunk_s=30.0, idle_s=SHORT_S))
        assert await incoming.chunk() == b"hi"
        for _ in range(2):
            error = await expect(UpstreamTimeout, incoming.chunk())
            assert ("idle", True) == (error.phase, error.is_ambiguous)
        assert "nothing more for 0.05 s" in error.message
        incoming.close()


async def test_bytes_that_keep_coming_keep_the_idle_limit_away():
    """Ten times a third of the limit is more than the limit."""

    async def drips(peer):
        await peer.request()
        await peer.answer(CHUNKED)
        for _ in range(10):
            await peer.answer(b"1\r\n.\r\n")
            await asyncio.sleep(SHORT_S)
        await peer.answer(b"0\r\n\r\n")

    async with serving(drips) as server, http() as transport:
        incoming = await transport.send(post(server.url, idle_s=SHORT_S * 4))
        assert await incoming.read(100) == b"." * 10


async def test_the_total_limit_ends_what_never_ends():
    """An upstream that drips for ever."""

    async def drips(peer):
        await peer.request()
        await peer.answer(CHUNKED)
        while True:
            await peer.answer(b"1\r\n.\r\n")
            await asyncio.sleep(SHORT_S / 10)

    async with serving(drips) as server, http() as transport:
        incoming = await transport.send(post(server.url, total_s=SHORT_S * 2))
        error = await expect(UpstreamTimeout, incoming.read(1_000_000))
        assert ("total", True) == (error.phase, error.is_ambiguous)
        assert "not finished within 0.1 s" in error.message


async def test_the_total_limit_also_frees_a_whole_response_that_nobody_takes():
    """An incoming that was lost on the way cannot hold its slot for ever."""
    async with serving(always(OK)) as server, http() as transport:
        incoming = await transport.send(post(server.url, total_s=SHORT_S))
        assert "1 in use" in repr(transport)
        await asyncio.wait_for(server.all_closed.wait(), 5)
        assert "<Pool empty>" in repr(transport)
        assert await incoming.read(100) == b"{}"


async def test_one_timer_serves_many_requests():
    """Nothing is armed anew while what is armed is early enough; a shorter limit does arm it anew."""
    async with serving(always(OK)) as server, http() as transport:
        alarms = set()
        for _ in range(5):
            incoming = await transport.send(post(server.url))
            connection = incoming._connection
            alarms.add(connection._alarm)
            await incoming.read(10)
        assert len(alarms) == 1
        await (await transport.send(post(server.url, first_chunk_s=5.0))).read(10)
        assert connection._alarm not in alarms
        assert connection._alarm_at - asyncio.get_running_loop().time() < 6


async def test_an_alarm_that_rings_early_is_set_again_for_what_is_left():
    """A connection's alarm may stem from a request before this one."""

    async def script(peer):
        await peer.request()
        await peer.answer(OK)
        await peer.request()
        await asyncio.sleep(SHORT_S * 2)
        await peer.answer(OK)

    async with serving(script) as server, http() as transport:
        await (await transport.send(post(server.url, first_chunk_s=SHORT_S))).read(10)
        assert await (await transport.send(post(server.url, first_chunk_s=5.0))).read(10) == b"{}"


async def test_an_alarm_on_an_idle_connection_says_nothing():
    """The request that set it is answered."""
    async with serving(always(OK)) as server, http() as transport:
        incoming = await transport.send(post(server.url))
        connection = incoming._connection
        await incoming.read(10)
        connection._ring()
        assert (connection._alarm, connection.failure, connection.is_usable) == (None, None, True)
        assert repr(connection) == f"<Connection 127.0.0.1:{server.port} idle>"


# ── backpressure ──


async def test_an_upstream_is_not_read_faster_than_its_response_is_taken():
    """T37: what is kept unread is bounded; when it is taken the rest comes, and the wait is not held against it."""
    size = 32 * WHOLE_BYTES
    piece = bytes(65536)
    written = 0

    async def floods(peer):
        nonlocal written
        await peer.request()
        await peer.answer(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        for _ in range(size // len(piece)):
            await peer.answer(piece)
            written += len(piece)

    async with serving(floods) as server, http() as transport:
        incoming = await transport.send(post(server.url, idle_s=SHORT_S))
        connection = incoming._connection
        seen = -1
        while seen != written or not connection._is_paused:  # until the upstream stands still
            seen = written
            await asyncio.sleep(SHORT_S * 2)
        assert written < size
        assert (
            connection.reader.buffered <= 2 * READ_BYTES
        )  # what came with the head, and one read that nobody waited for
        got = 0
        while data := await incoming.chunk():
            got += len(data)
        assert got == size
        assert "1 idle" in repr(transport)


async def test_a_paused_response_can_be_read_whole():
    """`read` takes what is kept unread before it waits for more."""
    size = 8 * WHOLE_BYTES
    reply = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + bytes(size)
    async with serving(always(reply)) as server, http() as transport:
        incoming = await transport.send(post(server.url))
        connection = incoming._connection
        while not connection._is_paused:
            await asyncio.sleep(0)
        assert await incoming.read(size) == bytes(size)
        assert await (await transport.send(post(server.url))).read(size) == bytes(size)
        assert server.accepted == 1


async def test_a_response_that_nobody_takes_ends_with_the_total_limit():
    """Silence that we asked for is not held against the upstream, but it ends; what had come can still be taken."""

    async def floods(peer):
        await peer.request()
        await peer.answer(CHUNKED)
        while True:
            await peer.answer(b"10000\r\n" + bytes(65536) + b"\r\n")

    async with serving(floods) as server, http() as transport:
        incoming = await transport.send(post(server.url, idle_s=SHORT_S, total_s=SHORT_S * 4))
        connection = incoming._connection
        while connection.failure is None:
            await asyncio.sleep(SHORT_S)
        assert connection._is_paused
        assert READ_BYTES < len(await incoming.chunk()) <= 2 * READ_BYTES
        assert (await expect(UpstreamTimeout, incoming.chunk())).phase == "total"


async def test_a_big_request_is_written_as_it_is_taken():
    """T43: what waits in our buffers is bounded, and the upstream gets every byte."""
    body = bytes(range(256)) * 4096 * 16
    got = b""
    may_read = asyncio.Event()

    async def slow(peer):
        nonlocal got
        await may_read.wait()
        got = await peer.request()
        await peer.answer(OK)

    async with serving(slow) as server, http() as transport:
        sending = asyncio.get_running_loop().create_task(transport.send(post(server.url, body)))
        while not transport._live or not next(iter(transport._live))._is_write_paused:
            await asyncio.sleep(0)
        connection = next(iter(transport._live))
        assert connection._transport.get_write_buffer_size() <= LARGE_BYTES + 65536
        may_read.set()
        incoming = await sending
        assert await incoming.read(10) == b"{}"
        assert got.endswith(b"\r\n\r\n" + body)
        assert "1 idle" in repr(transport)


async def test_a_stalled_upload_is_given_up_after_the_first_chunk_limit():
    """A connection that takes nothing answers nothing."""
    stop = asyncio.Event()

    async def deaf(peer):
        peer.writer.transport.pause_reading()
        await stop.wait()
        peer.writer.transport.abort()

    async with serving(deaf) as server, http() as transport:
        error = await expect(UpstreamTimeout, transport.send(post(server.url, bytes(1 << 25), first_chunk_s=SHORT_S)))
        stop.set()
        assert error.phase == "first_chunk"
        assert "<Pool empty>" in repr(transport)


async def test_an_early_answer_ends_the_upload():
    """It is delivered, and the connection, with half a request on it, does not serve again."""
    body = bytes(1 << 25)

    async def refuses(peer):
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.answer(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig")
        await asyncio.Event().wait()

    async with serving(refuses) as server, http() as transport:
        incoming = await asyncio.wait_for(transport.send(post(server.url, body)), 5)
        assert (incoming.status, await incoming.read(10)) == (413, b"big")
        assert "<Pool empty>" in repr(transport)


async def test_a_connection_with_half_a_request_on_it_does_not_serve_again():
    """Although all that was written has left: what the peer waits for is the other half."""

    async def refuses(peer):
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.answer(OK)

    async with serving(refuses) as server, http() as transport:
        incoming = await asyncio.wait_for(transport.send(post(server.url, bytes(1 << 25))), 5)
        while incoming._connection._transport.get_write_buffer_size():
            await asyncio.sleep(0)
        assert await incoming.read(10) == b"{}"
        assert "<Pool empty>" in repr(transport)


async def test_an_upload_whose_connection_ends_is_a_fault():
    """Part of it was sent: ambiguous."""

    async def leaves(peer):
        await peer.reader.readuntil(b"\r\n\r\n")
        peer.reset()

    async with serving(leaves) as server, http() as transport:
        error = await expect(UpstreamFault, transport.send(post(server.url, bytes(1 << 25))))
        assert error.is_ambiguous
        assert "<Pool empty>" in repr(transport)


async def test_a_body_in_pieces_can_be_sent_again_after_an_upload_that_failed():
    """T43: it is only referred to, so the next candidate gets every byte of it too, in its order."""
    text = bytes(range(256)) * 4096 * 8
    body = Pieces([b'{"messages":', bytearray(text), b',"n":', text[:5000], b"}"])
    got: list[bytes] = []

    async def leaves(peer):
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.reader.readexactly(LARGE_BYTES * 2)
        peer.reset()

    async with serving(leaves) as bad, serving(always(OK, got)) as good, http() as transport:
        assert (await expect(UpstreamFault, transport.send(post(bad.url, body)))).is_ambiguous
        incoming = await transport.send(post(good.url, body))
        assert b"{}" == await incoming.read(10)
        assert "1 idle" in repr(transport)
    head, _, sent = got[0].partition(b"\r\n\r\n")
    assert b"content-length: %d" % len(body) in head
    assert bytes(body) == sent

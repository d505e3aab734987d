"""The keep-alive race, and cancelling at any wait: what is sent again, and what is left behind."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from tests.gateway.wire import OK, always, body_of, http, post, secured, serving
from turnout.errors import UpstreamFault, UpstreamTimeout
from turnout.gateway.connection import RACE_S

SHORT_S = 0.05


# ── the keep-alive race ──


@pytest.mark.parametrize("end", ["reset", "finish"])
async def test_an_idle_connection_closed_as_it_is_used_costs_one_silent_retry(end):
    """T04: 0 errors and 0 duplicates in 100 races; what was processed is what was answered."""
    processed = []

    async def script(peer):
        processed.append(await peer.request())
        await peer.answer(OK)
        await peer.reader.read(1)  # the next request arrives on this connection, and meets its end
        getattr(peer, end)()

    async with serving(script) as server, http() as transport:
        for number in range(100):
            assert await body_of(transport, post(server.url, b"%d" % number)) == b"{}"
    assert [request.rpartition(b"\r\n\r\n")[2] for request in processed] == [b"%d" % number for number in range(100)]


async def test_an_idle_connection_closed_just_before_it_is_used_is_no_error_either():
    """T04: the FIN is on its way while we write."""
    processed = []

    async def script(peer):
        processed.append(await peer.request())
        await peer.answer(OK)
        peer.finish()

    async with serving(script) as server, http() as transport:
        for _ in range(100):
            assert await body_of(transport, post(server.url)) == b"{}"
    assert len(processed) == 100


async def test_the_retry_is_on_a_new_connection_and_happens_once():
    """Another idle one may be as dead as the first; and a fresh one that fails is an answer."""
    arrived = asyncio.Barrier(2)
    seen = []

    async def script(peer):
        await peer.request()
        if peer.number > 2:
            seen.append(peer.number)
            peer.reset()
            return
        await arrived.wait()
        await peer.answer(OK)
        await peer.reader.read(1)
        seen.append(peer.number)
        peer.reset()

    async with serving(script) as server, http() as transport:
        await asyncio.gather(*(body_of(transport, post(server.url)) for _ in range(2)))
        with pytest.raises(UpstreamFault) as caught:
            await transport.send(post(server.url))
        assert caught.value.is_ambiguous
        assert (len(seen), seen[-1], server.accepted) == (2, 3, 3)
        assert "1 idle, 0 in use" in repr(transport)


async def test_the_retry_makes_room_for_itself_when_the_origin_is_full():
    """By closing an idle connection, which it does not trust."""
    arrived = asyncio.Barrier(2)

    async def script(peer):
        await peer.request()
        if peer.number <= 2:
            await arrived.wait()
        await peer.answer(OK)
        await peer.reader.read(1)
        peer.reset()

    async with serving(script) as server, http(max_per_origin=2) as transport:
        await asyncio.gather(*(body_of(transport, post(server.url)) for _ in range(2)))
        assert await body_of(transport, post(server.url)) == b"{}"
        assert server.accepted == 3


async def test_a_retry_given_an_idle_connection_closes_it_and_opens_its_own():
    """With a single slot, which somebody else's connection comes back to."""
    async with serving(always(OK)) as server, http(max_per_origin=1) as transport:
        busy = await transport.send(post(server.url))
        loop = asyncio.get_running_loop()
        origin = transport._target(post(server.url)).origin
        waiting = loop.create_task(
            transport._connect(loop, origin, post(server.url).timeouts, loop.time(), is_fresh=True)
        )
        while "1 waiting" not in repr(transport):
            await asyncio.sleep(0)
        busy.close()
        connection = await waiting
        assert (connection.has_served, server.accepted) == (False, 2)
        connection.abort()


@pytest.mark.parametrize("end", ["reset", "finish"])
async def test_a_reused_connection_that_ends_in_the_response_is_not_tried_again(end):
    """One byte of an answer, even of a 1xx, means that the work was begun."""
    requests = []

    async def script(peer):
        requests.append(await peer.request())
        await peer.answer(OK)
        requests.append(await peer.request())
        await peer.answer(b"H")
        getattr(peer, end)()

    async with serving(script) as server, http() as transport:
        assert await body_of(transport, post(server.url)) == b"{}"
        try:
            with pytest.raises(UpstreamFault) as caught:
                await transport.send(post(server.url))
        finally:
            sent = len(requests)
    if end == "finish":  # a reset may overtake the byte before it
        assert (caught.value.is_ambiguous, sent) == (True, 2)


@pytest.mark.parametrize("end", ["reset", "finish"])
async def test_a_reused_connection_that_ends_after_the_race_is_not_tried_again(end):
    """Whoever takes longer than a round trip to close it has had the request, and may have worked on it."""
    requests = []

    async def script(peer):
        requests.append(await peer.request())
        await peer.answer(OK)
        requests.append(await peer.request())
        await asyncio.sleep(1.2 * RACE_S)
        getattr(peer, end)()

    async with serving(script) as server, http() as transport:
        await body_of(transport, post(server.url))
        with pytest.raises(UpstreamFault) as caught:
            await transport.send(post(server.url))
    assert (caught.value.is_ambiguous, len(requests)) == (True, 2)


async def test_a_timeout_on_a_reused_connection_is_not_tried_again():
    """It may be working on it."""
    requests = []

    async def script(peer):
        requests.append(await peer.request())
        await peer.answer(OK)
        requests.append(await peer.request())

    async with serving(script) as server, http() as transport:
        await body_of(transport, post(server.url))
        with pytest.raises(UpstreamTimeout) as caught:
            await transport.send(post(server.url, first_chunk_s=SHORT_S))
    assert (caught.value.is_ambiguous, len(requests)) == (True, 2)


# ── cancellation ──


class CancelAt:
    """Runs a coroutine and cancels it at its k-th wait: as it begins, or when what it waits for is there."""

    def __init__(self, work, k, *, late):
        self.work = work
        self.k = k
        self.late = late

    def __await__(self):
        steps = self.work.__await__()
        try:
            waits = 0
            while True:
                waited = steps.send(None)
                waits += 1
                if waits == self.k:
                    if not self.late:
                        waited.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        yield waited
                    steps.throw(asyncio.CancelledError())
                    raise AssertionError("it went on after it was cancelled")
                yield waited
        except StopIteration:
            return waits


async def dripping(peer):
    """Answers in pieces, each when the one before has been read."""
    while True:
        await peer.request()
        await peer.answer(b"HTTP/1.1 200 OK\r\n")
        for piece in (b"transfer-encoding: chunked\r\n\r\n", b"2\r\nab\r\n", b"2\r\ncd\r\n", b"0\r\n", b"\r\n"):
            for _ in range(3):
                await asyncio.sleep(0)
            await peer.answer(piece)


@pytest.mark.parametrize("late", [False, True], ids=["as it begins", "as it ends"])
@pytest.mark.parametrize("kind", ["plain", "tls", "big", "reused"])
async def test_cancelling_at_any_wait_leaves_nothing_behind(kind, late, tmp_path):
    """T22's method: at wait k = 1 … K; after each the pool is empty and the upstream sees its connection closed."""
    tls, ca_file = secured(tmp_path) if kind == "tls" else (None, "")
    body = bytes(1 << 22) if kind == "big" else b"{}"

    async def work(transport, outgoing):
        incoming = await transport.send(outgoing)
        got = await incoming.chunk()
        while data := await incoming.chunk():
            got += data
        assert got == b"abcd"

    async with serving(dripping, ssl=tls) as server, http() as transport:
        url = server.url.replace("http:", "https:") if tls else server.url
        outgoing = post(url, body, ca_file=ca_file)
        k = 0
        while True:
            k += 1
            if kind == "reused":
                await work(transport, outgoing)
            try:
                waits = await CancelAt(work(transport, outgoing), k, late=late)
            except asyncio.CancelledError:
                assert repr(transport).startswith("<HttpTransport <Pool empty>")
                while transport._live:
                    await asyncio.sleep(0)
                await asyncio.wait_for(server.all_closed.wait(), 5)
            else:
                break
        assert waits < k
        assert k > (2 if kind == "reused" else 3)
        assert "1 idle, 0 in use" in repr(transport)


async def test_cancelling_one_who_waits_for_a_slot_leaves_the_others_in_order():
    """Its place is given up."""
    async with serving(always(OK)) as server, http(max_per_origin=1) as transport:
        busy = await transport.send(post(server.url))
        loop = asyncio.get_running_loop()
        one, two = (loop.create_task(body_of(transport, post(server.url))) for _ in range(2))
        while "2 waiting" not in repr(transport):
            await asyncio.sleep(0)
        one.cancel()
        busy.close()
        assert await two == b"{}"
        with pytest.raises(asyncio.CancelledError):
            await one
        assert "1 idle, 0 in use, 0 waiting" in repr(transport)

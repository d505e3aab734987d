from __future__ import annotations

import asyncio

import pytest

from tests.gateway.wire import OK, always, body_of, http, once, post, serving
from turnout.errors import InternalError, Overloaded, UpstreamFault, UpstreamTimeout, UpstreamUnreachable
from turnout.gateway.transport import HttpTransport, Incoming, Transport

SHORT_S = 0.05


# ── one request ──


async def test_a_request_arrives_as_it_was_meant_and_its_response_comes_back():
    """One write: head and body; and what came is what is given, headers read when they are asked for."""
    requests = []
    async with serving(always(OK, requests)) as server, http() as transport:
        sender: Transport = transport
        incoming: Incoming = await sender.send(post(server.url + "?x=1", b'{"a":1}'))
        assert (incoming.status, incoming.is_reused) == (200, False)
        assert incoming.headers == {"content-type": "application/json", "content-length": "2"}
        assert incoming.headers is incoming.headers
        assert await incoming.read(2) == b"{}"
        incoming.close()
        assert incoming.headers["content-type"] == "application/json"
    assert requests == [
        b"POST /v1/chat?x=1 HTTP/1.1\r\nhost: 127.0.0.1:%d\r\nconnection: keep-alive\r\naccept-encoding: identity\r\n"
        b'content-length: 7\r\nauthorization: Bearer sk-canary\r\n\r\n{"a":1}' % server.port
    ]


async def test_a_get_is_sent_without_a_body():
    """For lists of models and health checks."""
    requests = []
    async with serving(always(OK, requests)) as server, http() as transport:
        assert await body_of(transport, post(server.url, b"", method="GET", headers=())) == b"{}"
    assert requests[0].startswith(b"GET /v1/chat HTTP/1.1\r\n")
    assert b"content-length" not in requests[0]


@pytest.mark.parametrize("status", [204, 304, 301, 307, 401, 418, 429, 500, 503, 520, 529, 530, 599])
async def test_any_status_is_returned_as_it_is(status):
    """T19: 204 and 304 have no body; redirects are not followed."""
    body = b"" if status in {204, 304} else b"{}"
    reply = b"HTTP/1.1 %d X\r\nlocation: /else\r\ncontent-length: %d\r\n\r\n" % (status, len(body)) + body
    requests = []
    async with serving(always(reply, requests)) as server, http() as transport:
        incoming = await transport.send(post(server.url))
        assert (incoming.status, incoming.headers["location"]) == (status, "/else")
        assert await incoming.read(10) == body
        assert "1 idle" in repr(transport)
    assert len(requests) == 1


async def test_informational_responses_are_passed_over_up_to_a_bound():
    """T19: a hundred are borne, a thousand are a fault."""
    early = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    async with serving(always(early * 100 + OK)) as server, http() as transport:
        assert await body_of(transport, post(server.url)) == b"{}"
    async with serving(once(early * 1000)) as server, http() as transport:
        with pytest.raises(UpstreamFault, match="more than 100 informational responses"):
            await transport.send(post(server.url))


async def test_an_encoded_body_is_handed_on_as_it_came():
    """Nothing is decompressed, so no bomb unfolds here (T51)."""
    reply = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\n\x1f\x8b\x08\x00"
    async with serving(always(reply)) as server, http() as transport:
        incoming = await transport.send(post(server.url))
        assert incoming.headers["content-encoding"] == "gzip"
        assert await incoming.read(10) == b"\x1f\x8b\x08\x00"


async def test_a_request_that_cannot_be_sent_opens_no_connection():
    """A header that would end its line, a URL that is none."""
    async with serving(always(OK)) as server, http() as transport:
        for outgoing in (post(server.url, headers=(("x", "a\r\nb: c"),)), post("nonsense")):
            with pytest.raises(InternalError):
                await transport.send(outgoing)
        assert (server.accepted, repr(transport)) == (0, "<HttpTransport <Pool empty>, 0 sockets>")


# ── connections ──


async def test_a_connection_serves_again_and_again():
    """The second response says so."""
    async with serving(always(OK)) as server, http() as transport:
        for number in range(5):
            incoming = await transport.send(post(server.url))
            assert incoming.is_reused is (number > 0)
            assert await incoming.read(10) == b"{}"
        assert server.accepted == 1


async def test_who_had_to_connect_first_is_told_when_its_request_is_sent():
    """A vendor counts it then; over a connection that stands it is sent at once."""
    late = []
    async with serving(always(OK)) as server, http() as transport:
        for _ in range(2):
            request = post(server.url)
            request.on_late = lambda: late.append(1)
            await body_of(transport, request)
            assert [1] == late


async def test_requests_at_the_same_time_have_connections_of_their_own():
    """And all of them are kept, up to the bound."""
    arrived = asyncio.Barrier(4)

    async def script(peer):
        await peer.request()
        await arrived.wait()
        await peer.answer(OK)

    async with serving(script) as server, http(max_idle_per_origin=3) as transport:
        assert await asyncio.gather(*(body_of(transport, post(server.url)) for _ in range(4))) == [b"{}"] * 4
        assert (server.accepted, "3 idle, 0 in use" in repr(transport)) == (4, True)


async def test_requests_over_the_bound_wait_for_a_connection():
    """In order, within the connect limit, and on as few connections as allowed."""
    async with serving(always(OK)) as server, http(max_per_origin=2) as transport:
        assert await asyncio.gather(*(body_of(transport, post(server.url)) for _ in range(20))) == [b"{}"] * 20
        assert server.accepted == 2


async def test_waiting_for_a_connection_too_long_is_a_connect_timeout():
    """Nothing was sent: not ambiguous."""
    async with serving(always(OK)) as server, http(max_per_origin=1) as transport:
        busy = await transport.send(post(server.url))
        with pytest.raises(UpstreamTimeout) as caught:
            await transport.send(post(server.url, connect_s=SHORT_S))
        assert (caught.value.phase, caught.value.is_ambiguous) == ("connect", False)
        assert "no connection within 0.05 s" in caught.value.message
        with pytest.raises(UpstreamTimeout) as caught:
            await transport.send(post(server.url, connect_s=5.0, total_s=SHORT_S))
        assert (caught.value.phase, caught.value.is_ambiguous) == ("total", False)
        busy.close()
        assert await body_of(transport, post(server.url)) == b"{}"


async def test_a_connection_that_died_while_it_was_given_over_is_not_used():
    """The one who waited opens another."""
    async with serving(always(OK)) as server, http(max_per_origin=1) as transport:
        busy = await transport.send(post(server.url))
        connection = busy._connection
        waiting = asyncio.get_running_loop().create_task(transport.send(post(server.url)))
        while "1 waiting" not in repr(transport):
            await asyncio.sleep(0)
        busy.close()  # gives the connection to the one who waits
        connection.abort()
        incoming = await waiting
        assert (await incoming.read(10), server.accepted) == (b"{}", 2)


async def test_origins_do_not_share_connections():
    """Host, port, scheme, proxy and ca_file make an origin; a path does not."""
    async with serving(always(OK)) as one, serving(always(OK)) as two, http() as transport:
        for url in (one.url, one.url + "/else", two.url, one.url.replace("127.0.0.1", "localhost")):
            assert await body_of(transport, post(url)) == b"{}"
        assert await body_of(transport, post(one.url, ca_file="/unused.pem")) == b"{}"
        assert (one.accepted, two.accepted) == (3, 1)


async def test_urls_are_remembered_up_to_a_bound():
    """A flood of them starts anew."""
    async with serving(always(OK)) as server, http() as transport:
        for number in range(1100):
            transport._target(post(f"{server.url}/{number}"))
        assert len(transport._targets) == 1100 - 1024


async def test_a_peer_that_hangs_up_on_accept_is_a_fault_not_a_hang():
    """Whether it is seen before or after the request went out."""

    async def hangs_up(peer):
        peer.reset()

    async with serving(hangs_up) as server, http() as transport:
        for _ in range(5):
            with pytest.raises((UpstreamFault, UpstreamUnreachable)):
                await asyncio.wait_for(transport.send(post(server.url)), 5)
        assert "<Pool empty>" in repr(transport)


async def test_a_peer_that_speaks_first_is_never_asked():
    """What it says belongs to no request of ours."""

    async def eager(peer):
        await peer.answer(OK)

    async with serving(eager) as server, http() as transport:
        incoming = None
        try:
            incoming = await asyncio.wait_for(transport.send(post(server.url, first_chunk_s=1.0)), 5)
        except (UpstreamFault, UpstreamUnreachable):
            assert "<Pool empty>" in repr(transport)
        else:
            assert await incoming.read(10) == b"{}"  # it came after the request had gone out: nobody can tell


# ── closing ──


async def test_closing_ends_everything():
    """Idle connections, one that is waited for, one that is being opened; and nobody is served any more."""
    go_on = asyncio.Event()

    async def script(peer):
        await peer.request()
        if peer.number == 1:
            await peer.answer(OK)
            return
        await go_on.wait()

    async with serving(script) as server:
        transport = HttpTransport()
        await body_of(transport, post(server.url))
        loop = asyncio.get_running_loop()
        waiting = loop.create_task(transport.send(post(server.url)))
        opening = loop.create_task(transport.send(post(server.url)))
        await asyncio.sleep(0)
        await transport.close()
        with pytest.raises(UpstreamFault, match="because the gateway stops"):
            await waiting
        with pytest.raises((UpstreamUnreachable, UpstreamFault)):
            await opening
        with pytest.raises(Overloaded):
            await transport.send(post(server.url))
        assert repr(transport) == "<HttpTransport <Pool empty>, 0 sockets>"
        await transport.close()


async def test_closing_lets_a_whole_response_be_read():
    """What has come has come."""
    async with serving(always(OK)) as server:
        transport = HttpTransport()
        incoming = await transport.send(post(server.url))
        await transport.close()
        assert await incoming.read(10) == b"{}"
        assert repr(transport) == "<HttpTransport <Pool empty>, 0 sockets>"

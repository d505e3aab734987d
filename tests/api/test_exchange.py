"""What the data plane can do to one client: framing, and what becomes of one that takes nothing."""

import asyncio
import socket

from tests.api.test_server import exchange_bytes, serving
from turnout.core.catalog import Bounds
from turnout.core.pieces import LARGE_BYTES
from turnout.errors import ClientDisconnected


def deaf(port, request):
    """A client that asks and never reads."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", port))
    client.sendall(request)
    return client


async def test_a_stream_to_an_http_1_0_client_has_no_chunks_and_ends_with_the_connection():
    """RFC 9112 §6.1; nginx asks so unless it is told otherwise."""

    async def app(exchange, scope):
        exchange.start(200, [(b"content-type", b"text/event-stream")])
        exchange.write(b"data: 1\n\n")
        exchange.write(b"data: 2\n\n")
        exchange.finish()

    async with serving(app) as port:
        answer = await exchange_bytes(port, b"GET /a HTTP/1.0\r\nconnection: keep-alive\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head
    assert b"connection: close" in head
    assert body == b"data: 1\n\ndata: 2\n\n"


async def test_a_client_that_takes_nothing_of_its_stream_has_left_after_a_while():
    """Else it would hold its task and its socket for ever: closing in order waits for what it does not take."""
    outcome = asyncio.get_running_loop().create_future()

    async def app(exchange, scope):
        exchange.send_s = 0.05
        exchange.start(200, [])
        try:
            while True:
                exchange.write(b"x" * 65536)
                if exchange.is_paused:
                    await exchange.drain()
        except ClientDisconnected as error:
            exchange.cut()
            outcome.set_result((error.message, exchange.transport.is_closing()))

    async with serving(app) as port, asyncio.timeout(10):
        client = deaf(port, b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n")
        assert await outcome == ("the client took nothing for 0.05 s", True)  # the server would wait for it at its end
        client.close()


async def test_a_client_that_takes_no_answers_gets_no_further_ones_until_it_does():
    """They would pile up: the requests wait instead, and each is answered in the end."""
    begun = []
    asked = 400

    async def app(exchange, scope):
        begun.append(scope["path"])
        exchange.answer(200, [], b"x" * 65536)

    async with serving(app) as port, asyncio.timeout(20):
        client = deaf(port, b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n" * asked)
        before = -1
        while before != len(begun):
            before = len(begun)
            await asyncio.sleep(0.1)
        assert 0 < len(begun) < asked / 2
        client.setblocking(False)
        loop, answers = asyncio.get_running_loop(), 0
        while answers < asked * 65536:
            answers += (await loop.sock_recv(client, 1 << 20)).count(b"x")
        client.close()
    assert len(begun) == asked


async def test_nothing_of_a_request_outlives_its_answer_on_an_idle_connection():
    """T38: what ten thousand clients once sent would otherwise stay here for as long as they stay."""
    seen = []

    async def app(exchange, scope):
        body = await exchange.read()
        seen.append((exchange, len(body), len(exchange.body)))
        exchange.answer(200, [], b"")

    async with serving(app, Bounds()) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        request = b"POST /%b HTTP/1.1\r\nhost: x\r\nx-long: %b\r\ncontent-length: 100000\r\n\r\n%b"
        writer.write(request % (b"p" * 5000, b"h" * 5000, b"b" * 100_000))
        await reader.readuntil(b"\r\n\r\n")
        ((exchange, sent, held_meanwhile),) = seen
        assert (sent, held_meanwhile) == (100_000, 0)
        assert (exchange.body, exchange.headers, exchange.scope) == (b"", {}, {})
        writer.close()


async def test_a_large_body_is_handed_on_in_the_buffer_that_it_came_into():
    """T43: a copy would be as much memory again. A small one is a `bytes`, which is quicker to read."""
    read = []

    async def app(exchange, scope):
        received = exchange.body
        body = await exchange.read()
        read.append((body, body is received))
        exchange.answer(200, [], b"")

    async with serving(app, Bounds()) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for length in (LARGE_BYTES, LARGE_BYTES + 1):
            writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % length)
            writer.write(b"b" * length)
            await reader.readuntil(b"\r\n\r\n")
        writer.close()
    assert [(b"b" * LARGE_BYTES, False), (b"b" * (LARGE_BYTES + 1), True)] == read
    assert [bytes, bytearray] == [type(body) for body, _ in read]


async def test_one_who_takes_little_at_a_time_is_waited_for():
    """The limit is for taking nothing; what is left to take shrinks here, if slowly."""
    size, step = 8_000_000, 1_000_000
    outcome = asyncio.get_running_loop().create_future()

    async def app(exchange, scope):
        exchange.send_s = 0.3
        exchange.start(200, [])
        exchange.write(b"x" * size)
        await exchange.drain()
        exchange.finish()
        outcome.set_result(None)

    async with serving(app) as port, asyncio.timeout(20):
        loop, got = asyncio.get_running_loop(), 0
        client = deaf(port, b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n")
        client.setblocking(False)
        began = loop.time()
        while got < size:
            await asyncio.sleep(0.1)
            taken = 0
            while taken < step and got < size:
                data = await loop.sock_recv(client, step)
                assert data, "it was closed"
                taken += len(data)
                got += data.count(b"x")
        client.close()
        await outcome
    assert loop.time() - began > 0.6

"""What the data plane can do to one client: framing, and what becomes of one that takes nothing."""

import asyncio
import socket

from tests.api.test_server import exchange_bytes, serving
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

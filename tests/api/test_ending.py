"""How a client's connection ends: its last answer arrives, whatever it is still sending, and the end is never far."""

import asyncio
import socket

import pytest

from tests.api.test_server import serving
from turnout.core.catalog import Bounds

BOUNDS = Bounds(body_bytes=1_000_000)
LARGE = 8_000_000


async def refusing(exchange, scope):
    """Answer without reading the body."""
    exchange.answer(401, [], b"no")


async def reading(exchange, scope):
    """Answer when the body is here."""
    exchange.answer(200, [], await exchange.read())


def client_of(port):
    client = socket.create_connection(("127.0.0.1", port))
    client.setblocking(False)
    return client


async def all_of(client):
    """What comes until the end; ConnectionResetError if the end is none."""
    loop, answer = asyncio.get_running_loop(), b""
    while piece := await loop.sock_recv(client, 65536):
        answer += piece
    return answer


@pytest.mark.parametrize(
    ("app", "head", "status"),
    [
        (refusing, b"content-length: 999999", b"401"),
        (reading, b"content-length: 8000000", b"413"),
        (refusing, b"transfer-encoding: chunked", b"401"),
        (reading, b"bad header", b"400"),
    ],
    ids=["unauthorised", "too large", "unauthorised and chunked", "no HTTP"],
)
async def test_an_early_answer_arrives_though_its_client_sends_on(app, head, status):
    """It reads nothing before it has sent all, as simple clients do; a reset would take the answer with it."""
    loop = asyncio.get_running_loop()
    async with serving(app, BOUNDS) as port, asyncio.timeout(10):
        with client_of(port) as client:
            await loop.sock_sendall(client, b"POST / HTTP/1.1\r\nhost: x\r\n%b\r\n\r\n" % head)
            body = b"%x\r\n%b\r\n" % (LARGE, b"x" * LARGE) if b"chunked" in head else b"x" * LARGE
            await loop.sock_sendall(client, body)
            answer = await all_of(client)
    assert answer.startswith(b"HTTP/1.1 %b " % status)
    assert b"\r\nconnection: close\r\n" in answer


async def test_a_length_over_the_limit_is_refused_before_the_body():
    """Nothing of it is asked for: a client that waits for 100 Continue need not send it."""
    async with serving(reading, BOUNDS) as port:
        with client_of(port) as client:
            head = b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 1000001\r\n\r\n"
            await asyncio.get_running_loop().sock_sendall(client, head)
            answer = await all_of(client)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"100 Continue" not in answer


@pytest.mark.parametrize("members", [{"linger_s": 0.1}, {"linger_bytes": 1_000_000}], ids=["time", "bytes"])
async def test_a_client_that_never_stops_is_cut_off(members):
    """By a reset, after a time or after so many bytes."""
    loop = asyncio.get_running_loop()
    async with serving(refusing, BOUNDS, **members) as port, asyncio.timeout(10):
        with client_of(port) as client:
            await loop.sock_sendall(client, b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
            with pytest.raises(ConnectionError):
                while True:
                    await loop.sock_sendall(client, b"x" * 65536)


async def test_a_client_that_goes_is_not_waited_for():
    """Its end of the connection ends ours at once, long before the time to linger is over."""
    loop = asyncio.get_running_loop()
    async with serving(refusing, BOUNDS, linger_s=60) as port, asyncio.timeout(5):
        with client_of(port) as client:
            await loop.sock_sendall(client, b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n")
            assert (await all_of(client)).endswith(b"no")
            client.shutdown(socket.SHUT_WR)
    # leaving `serving` waits for every connection


async def test_bytes_behind_the_last_request_are_dropped_and_it_is_answered():
    """The client has said that it is the last (`connection: close`); a reset would take its answer."""
    begun, may_answer = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    async def app(exchange, scope):
        begun.set()
        await may_answer.wait()
        exchange.answer(200, [], b"answered")

    async with serving(app, BOUNDS) as port, asyncio.timeout(10):
        with client_of(port) as client:
            last = b"GET /1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
            await loop.sock_sendall(client, last + b"GET /2 HTTP/1.1\r\nhost: x\r\n\r\n")
            await begun.wait()
            await loop.sock_sendall(client, b"x" * 1_000_000)
            may_answer.set()
            answer = await all_of(client)
    assert answer.count(b"HTTP/1.1 200") == 1
    assert answer.endswith(b"answered")


async def test_a_client_that_takes_nothing_of_its_last_answer_is_not_waited_for():
    """And one that takes it, however slowly, gets all of it."""
    size = 20_000_000
    ended = []

    async def app(exchange, scope):
        exchange.answer(200, [], b"x" * size)
        ended.append(exchange.transport)

    ask = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    loop = asyncio.get_running_loop()
    async with serving(app, BOUNDS, send_s=0.3) as port, asyncio.timeout(20):
        with client_of(port) as deaf, client_of(port) as slow:
            for client in (deaf, slow):
                await loop.sock_sendall(client, ask)
            taken = 0
            while piece := await loop.sock_recv(slow, 400_000):
                taken += len(piece)
                await asyncio.sleep(0.01)
            assert taken > size
            assert len(await all_of(deaf)) < size  # what the kernel had taken
    assert len(ended) == 2


async def test_whoever_is_at_work_is_told_at_once_when_its_client_is_refused():
    """Not after the time to linger: its upstream is paid for by the second. Once, and it writes nothing more."""
    told = []
    begun = asyncio.Event()

    async def app(exchange, scope):
        exchange.on_gone = lambda: told.append(exchange.disconnected)
        begun.set()
        while not told:
            await exchange.message_event.wait()
            exchange.message_event.clear()
        exchange.answer(200, [], b"too late")

    loop = asyncio.get_running_loop()
    async with serving(app, BOUNDS, linger_s=60) as port, asyncio.timeout(5):
        with client_of(port) as client:
            await loop.sock_sendall(client, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            await begun.wait()
            await loop.sock_sendall(client, b"nonsense\r\n\r\n")
            answer = await all_of(client)
            client.shutdown(socket.SHUT_WR)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"too late" not in answer
    assert told == [True]

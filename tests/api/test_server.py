"""The HTTP edge on real sockets: bounds, deadlines, and the direct way to the client."""

import asyncio
import socket
from contextlib import asynccontextmanager

import pytest
import uvicorn

from turnout.api.ending import State
from turnout.api.server import bounded
from turnout.core.catalog import Bounds
from turnout.errors import ClientDisconnected, GatewayError

BOUNDS = Bounds(body_bytes=1000, header_bytes=2000, header_s=0.2, body_s=0.2)


@asynccontextmanager
async def serving(app, bounds=BOUNDS, keep_alive_s=5, **members):
    """Run `app(exchange, scope)` on a free port; gives the port. members: of the protocol class, to have others."""

    async def asgi(scope, receive, send):
        await app(scope["extensions"]["turnout"], scope)

    protocol = type("Protocol", (bounded(bounds),), members)
    config = uvicorn.Config(
        asgi, http=protocol, lifespan="off", ws="none", log_config=None, timeout_keep_alive=keep_alive_s
    )
    server = uvicorn.Server(config)
    server.server_state = State()
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[listener])
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await server.shutdown(sockets=[listener])


async def exchange_bytes(port, *pieces, read_all=True):
    """Send pieces, return everything that comes until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
    answer = await reader.read() if read_all else await reader.read(65536)
    writer.close()
    return answer


async def echo(exchange, scope):
    """Answer with the body that came."""
    try:
        body = await exchange.read()
    except GatewayError as error:
        exchange.answer(error.status, [], error.code.encode())
        return
    exchange.answer(200, [(b"x-path", scope["path"].encode())], body)


GET = b"GET /a HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"


def post(body, *extra):
    head = b"POST /p HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: %d\r\n" % len(body)
    return head + b"".join(line + b"\r\n" for line in extra) + b"\r\n" + body


async def test_a_whole_answer_is_one_well_formed_response():
    """Status, our headers, length and body."""
    async with serving(echo) as port:
        answer = await exchange_bytes(port, post(b"hello"))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert body == b"hello"
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"content-length: 5" in head
    assert b"x-path: /p" in head
    assert b"connection: close" in head


async def test_two_requests_on_one_connection_and_two_in_one_write_are_both_answered_in_order():
    """Keep-alive and pipelining."""
    first = b"POST /1 HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\na"
    second = b"POST /2 HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\nconnection: close\r\n\r\nb"
    async with serving(echo) as port:
        answer = await exchange_bytes(port, first + second)
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert answer.index(b"x-path: /1") < answer.index(b"x-path: /2")


async def test_a_body_that_comes_in_pieces_is_read_whole():
    """Chunked uploads too."""
    async with serving(echo) as port:
        answer = await exchange_bytes(
            port,
            b"POST /p HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n",
            b"3\r\nabc\r\n",
            b"2\r\nde\r\n0\r\n\r\n",
        )
    assert answer.endswith(b"\r\n\r\nabcde")


async def test_a_body_over_the_limit_is_refused_before_it_is_all_read_and_the_connection_ends():
    """413, and what was not read is not mistaken for another request (B4)."""
    async with serving(echo) as port:
        answer = await exchange_bytes(
            port, b"POST /p HTTP/1.1\r\nhost: x\r\ncontent-length: 999999\r\n\r\n" + b"x" * 5000
        )
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer


async def test_expect_100_continue_is_answered_before_the_body_is_awaited():
    """curl waits for it."""
    async with serving(echo) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            b"POST /p HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\nconnection: close\r\ncontent-length: 2\r\n\r\n"
        )
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"ok")
        assert (await reader.read()).endswith(b"\r\n\r\nok")
        writer.close()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/1.1\r\nhost: x\r\nbig: " + b"x" * 3000 + b"\r\n\r\n",
        b"GET /" + b"u" * 900 + b" HTTP/1.1\r\nhost: x\r\nbig: " + b"x" * 1100 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\n" + b"".join(b"a%d: b\r\n" % n for n in range(500)) + b"\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\nendless: " + b"x" * 3000,
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\nyGET / HTTP/1.1\r\nbig: " + b"x" * 3000 + b"\r\n\r\n",
    ],
    ids=["one big header", "a long target", "many headers", "a header without an end", "the second of two"],
)
async def test_headers_over_the_limit_are_refused(request_bytes):
    """431, and the application is never asked for it; the request before it has its answer."""
    asked = []

    async def app(exchange, scope):
        asked.append(scope["method"])
        exchange.answer(200, [], await exchange.read())

    async with serving(app) as port:
        answer = await exchange_bytes(port, request_bytes)
    assert b"HTTP/1.1 431 " in answer
    assert b'"code":"request_too_large"' in answer
    assert asked == ["POST"] * request_bytes.startswith(b"POST")


async def test_a_long_body_before_a_short_request_is_not_taken_for_its_headers():
    """Pipelined in one write, the second head torn."""
    async with serving(echo, bounds=Bounds(body_bytes=10_000, header_bytes=500)) as port:
        first = b"POST /1 HTTP/1.1\r\nhost: x\r\ncontent-length: 9000\r\n\r\n" + b"a" * 9000
        answer = await exchange_bytes(
            port, first + b"POST /2 HTTP/1.1\r\nhost: x\r\ncont", b"ent-length: 1\r\nconnection: close\r\n\r\nb"
        )
    assert answer.count(b"HTTP/1.1 200 OK") == 2


@pytest.mark.parametrize(
    ("begun", "status"),
    [
        (b"GET / HT", b"408"),
        (b"GET / HTTP/1.1\r\nhost: x\r\nslow", b"408"),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nabc", b"408"),
    ],
    ids=["in the request line", "in a header", "in the body"],
)
async def test_a_request_that_does_not_arrive_in_time_is_refused(begun, status):
    """The receive deadlines that uvicorn lacks (F21)."""
    gone = []

    async def app(exchange, scope):
        try:
            await exchange.read()
        except ClientDisconnected as error:
            gone.append(error.code)

    async with serving(app) as port:
        answer = await exchange_bytes(port, begun)
    assert answer.split(b" ")[1] == status
    assert gone == (["client_disconnected"] if b"content-length" in begun else [])


async def test_a_connection_that_says_nothing_is_closed():
    """An idle flood holds nothing for long."""
    async with serving(echo) as port:
        assert await exchange_bytes(port) == b""


async def test_one_byte_at_a_time_does_not_stretch_the_deadline():
    """The clock runs from the beginning of the request, not from its last byte."""
    async with serving(echo) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answer = asyncio.get_running_loop().create_task(reader.read())
        for byte in b"GET / HTTP/1.1\r\nx-slow-header-name: " + b"y" * 1000:
            if answer.done():
                break
            writer.write(bytes([byte]))
            await asyncio.wait([answer], timeout=0.01)
        assert (await answer).startswith(b"HTTP/1.1 408 ")
        writer.close()


@pytest.mark.parametrize(
    "garbage", [b"\x16\x03\x01\x02\x00", b"NOT HTTP AT ALL\r\n\r\n", b"GET / HTTP/1.1\r\nbad header\r\n\r\n"]
)
async def test_what_is_not_http_gets_a_400(garbage):
    """In our error shape."""
    async with serving(echo) as port:
        answer = await exchange_bytes(port, garbage)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"code":"invalid_request"' in answer


async def test_an_upgrade_is_refused():
    """We speak HTTP/1.1 only."""
    async with serving(echo) as port:
        answer = await exchange_bytes(
            port, b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
        )
    assert answer.startswith(b"HTTP/1.1 400 ")


async def test_a_stream_that_finishes_has_its_last_chunk_and_one_that_is_cut_has_not():
    """R5: an HTTP library can tell a whole answer from a broken one."""

    async def app(exchange, scope):
        exchange.start(200, [])
        exchange.write(b"data")
        if scope["path"] == "/whole":
            exchange.finish()
        else:
            exchange.cut()

    async with serving(app) as port:
        whole = await exchange_bytes(port, b"GET /whole HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        broken = await exchange_bytes(port, b"GET /cut HTTP/1.1\r\nhost: x\r\n\r\n")
    assert whole.endswith(b"4\r\ndata\r\n0\r\n\r\n")
    assert broken.endswith(b"4\r\ndata\r\n")


async def test_a_client_that_leaves_is_told_to_whoever_works_for_it():
    """on_gone is called, once, while the answer is not complete."""
    calls = []
    waiting = asyncio.Event()
    left = asyncio.Event()

    async def app(exchange, scope):
        exchange.on_gone = lambda: (calls.append(1), left.set())
        waiting.set()
        await left.wait()
        exchange.answer(200, [], b"to nobody")

    async with serving(app) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET)
        await waiting.wait()
        writer.transport.abort()
        await asyncio.wait_for(left.wait(), 1)
    assert calls == [1]


async def test_a_client_that_leaves_after_its_answer_is_nobodys_concern():
    """No cancellation of what is done."""
    calls = []

    async def app(exchange, scope):
        exchange.on_gone = lambda: calls.append(1)
        exchange.answer(200, [], b"x")

    async with serving(app) as port:
        await exchange_bytes(port, GET)
        await asyncio.sleep(0)
    assert calls == []


async def test_a_slow_client_pauses_the_writer_and_draining_goes_on_when_it_reads():
    """Back-pressure reaches whoever writes."""
    paused = asyncio.Event()

    async def app(exchange, scope):
        exchange.start(200, [])
        for _ in range(2000):
            exchange.write(b"x" * 10_000)
            if exchange.is_paused:
                paused.set()
                await exchange.drain()
        exchange.finish()

    async with serving(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=4096)
        writer.write(GET)
        await asyncio.wait_for(paused.wait(), 5)
        total = 0
        while data := await reader.read(1 << 20):
            total += len(data)
        writer.close()
    assert total > 2000 * 10_000


async def test_head_is_answered_without_a_body():
    """The length stands, the bytes do not come."""
    async with serving(echo) as port:
        answer = await exchange_bytes(port, b"HEAD / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert answer.endswith(b"\r\n\r\n")
    assert b"content-length: 0" in answer


async def test_an_idle_connection_is_closed_after_its_time_but_not_one_that_keeps_asking():
    """The time runs from the last answer."""
    loop = asyncio.get_running_loop()
    request = b"POST /p HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\na"
    async with serving(echo, keep_alive_s=0.3) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        began = loop.time()
        while loop.time() - began < 0.8:
            writer.write(request)
            assert (await reader.readuntil(b"\r\n\r\na")).startswith(b"HTTP/1.1 200")
            await asyncio.sleep(0.02)
        last = loop.time()
        assert await reader.read() == b""
        assert 0.2 <= loop.time() - last <= 0.6
        writer.close()

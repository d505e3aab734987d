"""Bounds on what comes in many small parts: headers, chunks, words about chunks, trailers, drips, waiting requests."""

import asyncio

import pytest

from tests.api.test_server import echo, exchange_bytes, serving
from turnout.api.server import CHUNK_BYTES, CHUNKS, HEADERS, PIECE_BYTES, PIPELINED
from turnout.core.catalog import Bounds

BOUNDS = Bounds(header_bytes=8000)
CHUNKED = b"POST /p HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


async def test_headers_are_counted():
    """However small they are; as many as may be are taken."""
    async with serving(echo, Bounds()) as port:
        most = b"GET /a HTTP/1.1\r\nhost: x\r\nconnection: close\r\n" + b"a:\r\n" * (HEADERS - 2)
        assert (await exchange_bytes(port, most + b"\r\n")).startswith(b"HTTP/1.1 200 ")
        assert (await exchange_bytes(port, most + b"a:\r\n\r\n")).startswith(b"HTTP/1.1 431 ")
        assert (await exchange_bytes(port, most + b"a:\r\n" * 2)).startswith(b"HTTP/1.1 431 ")


async def test_a_long_target_has_a_status_of_its_own():
    """414, whole or not."""
    async with serving(echo, BOUNDS) as port:
        for rest in (b"", b" HTTP/1.1\r\nhost: x\r\n\r\n"):
            assert (await exchange_bytes(port, b"GET /" + b"u" * 9000 + rest)).startswith(b"HTTP/1.1 414 ")


@pytest.mark.parametrize(
    ("size", "count"), [(1, CHUNKS + 100), (CHUNK_BYTES // 2, 2 * CHUNKS + 100)], ids=["of one byte", "of half enough"]
)
async def test_too_many_small_chunks_are_refused(size, count):
    """Each costs as much as a large one."""
    async with serving(echo, Bounds(body_bytes=1 << 24)) as port:
        answer = await exchange_bytes(port, CHUNKED + b"%x\r\n%b\r\n" % (size, b"x" * size) * count)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"too many small chunks" in answer


@pytest.mark.parametrize(("size", "count"), [(1, CHUNKS - 1), (1000, 2 * CHUNKS)], ids=["a few", "of some size"])
async def test_other_chunks_are_taken(size, count):
    """What a client makes that writes its JSON piece by piece."""
    async with serving(echo, Bounds(body_bytes=1 << 24)) as port:
        answer = await exchange_bytes(port, CHUNKED + b"%x\r\n%b\r\n" % (size, b"x" * size) * count + END)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\n" + b"x" * size * count)


@pytest.mark.parametrize(
    "endless",
    [
        b"1;" + b"e" * 200_000,
        b"1;a=" + b"e" * 200_000,
        b"1\r\nx\r\n0\r\nt: " + b"t" * 200_000,
        b"1\r\nx\r\n0\r\n" + b"t:\r\n" * 300,
    ],
    ids=["extension", "extension's value", "trailer", "trailers"],
)
async def test_words_about_a_body_are_bounded(endless):
    """They are parsed, and were held, without being asked for."""
    async with serving(echo, BOUNDS) as port:
        answer = await exchange_bytes(port, CHUNKED, endless)
    assert answer.split(b" ")[1] in {b"400", b"431"}


async def test_trailers_are_no_headers():
    """Else a client could give a key, or a Host, behind what a proxy before us has looked at."""
    seen = []

    async def app(exchange, scope):
        await exchange.read()
        seen.append((dict(scope["headers"]), dict(exchange.headers)))
        exchange.answer(200, [], b"")

    async with serving(app) as port:
        await exchange_bytes(port, CHUNKED + b"0\r\nauthorization: Bearer other\r\nhost: y\r\n\r\n")
    headers = {b"host": b"x", b"connection": b"close", b"transfer-encoding": b"chunked"}
    assert seen == [(headers, headers)]


@pytest.mark.parametrize(("trailer", "status"), [(b"close", b"400"), (b"keep-alive", b"200")])
async def test_a_trailer_cannot_end_the_connection(trailer, status):
    """llhttp goes by it: the next request, which may be another client's behind a proxy, would be refused for it."""
    first = CHUNKED.replace(b"connection: close\r\n", b"") + b"0\r\nconnection: %b\r\n\r\n" % trailer
    async with serving(echo) as port:
        answer = await exchange_bytes(port, first + b"GET /a HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 %b " % status)
    assert answer.count(b"HTTP/1.1 ") == (2 if status == b"200" else 1)


async def test_a_body_that_drips_is_refused_long_before_its_time_is_over():
    """And one that comes at the rate is taken, though it takes longer than that."""
    bounds = Bounds(header_s=0.2, body_s=30, body_bytes=1 << 20)

    async def send(port, step, count):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answer = asyncio.get_running_loop().create_task(reader.read())
        writer.write(b"POST /p HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % (step * count))
        for _ in range(count):
            if answer.done():
                break
            writer.write(b"x" * step)
            await asyncio.wait([answer], timeout=0.02)
        got = await answer
        writer.close()
        return got

    async with serving(echo, bounds) as port, asyncio.timeout(20):
        dripped, flowed = await asyncio.gather(send(port, 1, 1000), send(port, 1000, 40))
    assert dripped.startswith(b"HTTP/1.1 408 ")
    assert b"slower than 500 bytes a second" in dripped
    assert flowed.startswith(b"HTTP/1.1 200 ")


async def test_a_body_that_waits_its_turn_is_not_slow():
    """The time for it does not run while the answer before it is worked at: then it is not the client that is slow."""
    may_answer = asyncio.Event()

    async def app(exchange, scope):
        body = await exchange.read()
        if scope["path"] == "/first":
            await may_answer.wait()
        exchange.answer(200, [], body)

    async with serving(app, Bounds(header_s=0.05, body_s=0.05)) as port, asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            b"GET /first HTTP/1.1\r\nhost: x\r\n\r\n"
            b"POST /second HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\na"
        )
        waited = asyncio.get_running_loop().create_task(reader.read())
        await asyncio.wait([waited], timeout=0.3)
        may_answer.set()
        writer.write(b"b")
        answer = await waited
        writer.close()
    assert answer.count(b"HTTP/1.1 200 ") == 2
    assert answer.endswith(b"ab")


async def test_a_head_that_waits_its_turn_is_not_slow():
    """The rest of it is not read while those before it wait."""
    may_answer = asyncio.Event()

    async def app(exchange, scope):
        await may_answer.wait()
        exchange.answer(200, [], b"")

    async with serving(app, Bounds(header_s=0.05)) as port, asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        last = b"GET /last HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        writer.write(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n" * 5 + last[:30])
        waited = asyncio.get_running_loop().create_task(reader.read())
        await asyncio.wait([waited], timeout=0.3)
        writer.write(last[30:])
        may_answer.set()
        assert (await waited).count(b"HTTP/1.1 200 ") == 6
        writer.close()


async def test_requests_that_wait_are_counted():
    """One piece of the socket may hold thousands."""
    stopped = asyncio.Event()

    async def app(exchange, scope):
        exchange.on_gone = stopped.set
        await stopped.wait()

    async with serving(app, Bounds()) as port, asyncio.timeout(10):
        answer = await exchange_bytes(port, b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n" * (PIPELINED + 2))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"without waiting" in answer


async def test_a_piece_larger_than_what_is_parsed_at_a_time_is_taken_whole():
    """With requests before and behind it."""
    body = bytes(range(256)) * (PIECE_BYTES // 64)
    first = b"POST /1 HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    last = b"GET /2 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    async with serving(echo, Bounds()) as port:
        answer = await exchange_bytes(port, first + first + last)
    assert answer.count(b"\r\n\r\n" + body) == 2
    assert answer.count(b"HTTP/1.1 200 ") == 3


@pytest.mark.parametrize("coding", [b"chunked", b"CHUNKED"])
async def test_an_upgrade_with_a_body_is_refused_before_the_application_sees_it(coding):
    """llhttp would take the body for the other protocol."""
    asked = []

    async def app(exchange, scope):
        asked.append(scope)

    upgrade = (
        b"POST /p HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\ntransfer-encoding: %b\r\n\r\n" % coding
    )
    async with serving(app) as port:
        answer = await exchange_bytes(port, upgrade + b"5\r\nhello\r\n0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"set your client to HTTP/1.1" in answer
    assert asked == []


async def test_http_1_0_is_not_told_to_continue():
    """It would not understand (RFC 9110 §10.1.1)."""
    head = b"POST /p HTTP/1.0\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n"
    async with serving(echo) as port:
        answer = await exchange_bytes(port, head, b"ok")
    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_a_body_whose_answer_came_early_and_that_never_ends_gets_no_second_answer():
    """One answer a request: the connection only closes."""

    async def app(exchange, scope):
        exchange.discard_body()
        exchange.answer(503, [], b"busy")

    async with serving(app, Bounds(header_s=0.1, body_s=0.1)) as port, asyncio.timeout(5):
        answer = await exchange_bytes(port, b"POST /p HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nab")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert answer.endswith(b"busy")


@pytest.mark.parametrize("first", [b"", b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n"], ids=["first", "second"])
@pytest.mark.parametrize("host", [b"host:\r\n", b"host: \r\n", b"", b"host: x/?\r\n", b"host: x\r\nhost: x\r\n"])
async def test_each_request_needs_one_host_that_is_one(first, host):
    """On a new connection, and on one that has had a good one."""
    async with serving(echo) as port:
        answer = await exchange_bytes(port, first + b"GET /b HTTP/1.1\r\n" + host + b"\r\n")
    assert b"HTTP/1.1 400 " in answer
    assert b"x-path: /b" not in answer

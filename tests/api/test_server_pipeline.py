"""Requests that a client sends without waiting for answers, and what becomes of them when it leaves."""

import asyncio

import pytest

from tests.api.test_server import exchange_bytes, post, serving
from turnout.api.server import WAITING_REQUESTS

PIPELINED = b"GET /%d HTTP/1.1\r\nhost: x\r\n\r\n"


class Slow:
    """An application that holds every request until it may answer, and notes who was told that the client is gone."""

    def __init__(self):
        self.begun = []
        self.gone = []
        self.may_answer = asyncio.Event()
        self.alive = []

    async def __call__(self, exchange, scope):
        self.begun.append(scope["path"])
        task = asyncio.current_task()

        def leave():
            self.gone.append(scope["path"])
            task.cancel()

        exchange.on_gone = leave
        self.alive.append(exchange)
        try:
            await self.may_answer.wait()
        except asyncio.CancelledError:
            exchange.cut()
            return
        exchange.answer(200, [], scope["path"].encode())


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("how", ["FIN", "RST"])
async def test_a_client_that_leaves_is_told_to_the_request_at_work_though_others_wait_behind_it(how):
    """Not to the latest that came, which has not even begun: its upstream would be paid for to the end."""
    app = Slow()
    async with serving(app) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"".join(PIPELINED % number for number in range(1, WAITING_REQUESTS + 2)))
        await until(lambda: app.begun)
        if how == "FIN":
            writer.close()
        else:
            writer.transport.abort()
        await until(lambda: app.gone)
        assert app.alive[0].disconnected
    assert app.begun == app.gone == ["/1"]


async def test_more_than_a_few_that_wait_hold_the_client_back_and_lose_nothing():
    """What is not read yet waits in the socket."""
    app = Slow()
    async with serving(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in range(1, 20):
            writer.write(PIPELINED % number)
            await asyncio.sleep(0)
        await until(lambda: app.begun)
        app.may_answer.set()
        for number in range(1, 20):
            assert await reader.readuntil(b"\r\n\r\n/%d" % number)
        writer.close()
    assert app.begun == [f"/{number}" for number in range(1, 20)]


async def test_each_is_told_in_its_turn_and_the_answered_are_not_kept():
    """The first is answered before the client leaves: then it is the second one's concern."""
    app = Slow()
    app.may_answer.set()
    async with serving(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in range(1, 40, 2):
            writer.write(PIPELINED % number + PIPELINED % (number + 1))
            for expected in (number, number + 1):
                head = await reader.readuntil(b"\r\n\r\n")
                size = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
                assert await reader.readexactly(size) == b"/%d" % expected
        app.may_answer.clear()
        writer.write(PIPELINED % 41 + PIPELINED % 42)
        await until(lambda: len(app.begun) == 41)
        writer.close()
        await until(lambda: app.gone)
    assert app.gone == ["/41"]


async def test_a_second_request_that_is_no_http_ends_the_first_too():
    """What follows cannot be told apart any more, so nobody waits for either."""
    app = Slow()
    async with serving(app) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(PIPELINED % 1)
        await until(lambda: app.begun)
        writer.write(b"this is no request\r\n\r\n")
        await until(lambda: app.gone)
        writer.close()
    assert app.gone == ["/1"]


@pytest.mark.parametrize("target", [b"http://[", b"//", b"/\xc3\xa6"])
async def test_a_target_that_cannot_be_read_is_refused(target):
    """Or taken as a path that is not there; never a traceback."""

    async def tell(exchange, scope):
        exchange.answer(404, [], scope["path"].encode())

    async with serving(tell) as port:
        answer = await exchange_bytes(port, b"GET %b HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n" % target)
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 404 "))


async def test_bytes_after_a_refusal_are_not_looked_at():
    """One answer, whatever else is sent."""
    app = Slow()
    async with serving(app) as port:
        answer = await exchange_bytes(port, b"nonsense\r\n\r\n", post(b"hello"))
    assert answer.count(b"connection: close") == 1
    assert app.begun == []


@pytest.mark.parametrize("cut", range(1, 40, 3))
async def test_a_request_that_is_torn_where_the_answer_before_it_ends_is_itself(cut):
    """What has come of it is kept, wherever it is torn."""
    app = Slow()
    second = b"GET /a-long-path HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    async with serving(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(PIPELINED % 1 + second[:cut])
        await until(lambda: app.begun)
        app.may_answer.set()
        await reader.readuntil(b"\r\n\r\n/1")
        writer.write(second[cut:])
        assert (await reader.read()).endswith(b"\r\n\r\n/a-long-path")
        writer.close()

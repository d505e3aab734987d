"""Where there is no room a request is refused in the turn in which it came, with what came along read; anybody else is served."""

import asyncio
import re

import pytest

from tests.api.test_server import echo, exchange_bytes, post, serving

AWAY = b"GET /away HTTP/1.1\r\nhost: x\r\n\r\n"
STAY = b"GET /stay HTTP/1.1\r\nhost: x\r\n\r\n"
LAST = b"GET /stay HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"


class Shut:
    """A door that is shut, and turns away whoever asks for `path`. asked: what for, and whether a body was to come yet."""

    is_shut = True

    def __init__(self, path="/away"):
        self.path = path
        self.asked = []

    def turns_away(self, exchange):
        path = exchange.scope["path"]
        self.asked.append((path, exchange.more_body))
        if path == self.path:
            exchange.answer(503, [], b"full")
        return path == self.path


@pytest.fixture(name="served")
def served_fixture():
    """The paths that the application was asked for."""
    return []


@pytest.fixture(name="app")
def app_fixture(served):
    async def app(exchange, scope):
        served.append(scope["path"])
        await echo(exchange, scope)

    return app


def told(answer):
    """The statuses, in order."""
    return [int(status) for status in re.findall(rb"HTTP/1.1 (\d{3}) ", answer)]


async def test_who_is_turned_away_never_reaches_the_application(app, served):
    """And the connection serves whoever comes next on it."""
    async with serving(app, door=Shut()) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answers = []
        for request, ends in ((AWAY, b"full"), (AWAY, b"full"), (STAY, b"\r\n\r\n")):
            writer.write(request)
            answers += told(await reader.readuntil(ends))
        writer.close()
    assert ([503, 503, 200], ["/stay"]) == (answers, served)


async def test_pipelined_requests_are_answered_in_order(app, served):
    """Those that came with one that is turned away wait for it, and then go the ordinary way."""
    door = Shut()
    async with serving(app, door=door) as port:
        answer = await exchange_bytes(port, AWAY + STAY * 3 + LAST)
    assert ([503, 200, 200, 200, 200], ["/stay"] * 4) == (told(answer), served)
    assert [("/away", False)] == door.asked


@pytest.mark.parametrize(("size", "sent", "more"), [(10, 10, False), (900, 0, True)])
async def test_a_body_that_came_along_is_read_by_then(app, size, sent, more):
    """So the answer does not end the connection for want of it."""
    door = Shut("/p")
    whole = post(b"x" * size)
    async with serving(app, door=door) as port:
        answer = await exchange_bytes(port, whole[: len(whole) - size + sent])
    assert ([503], [("/p", more)]) == (told(answer), door.asked)


async def test_a_shut_door_may_let_in(app, served):
    """Whoever has less than its share; with the body that came along."""
    async with serving(app, door=Shut()) as port:
        answer = await exchange_bytes(port, post(b"hello"))
    assert answer.endswith(b"hello")
    assert served == ["/p"]


@pytest.mark.parametrize("rubbish", [b"\0\0\0", b"GET / HTTP/9.9\r\n\r\n", b"GET  HTTP/1.1\r\n\r\n"])
async def test_what_no_parser_takes_behind_it_is_told_as_ever(app, rubbish):
    """The door makes no difference to it, whoever stands before."""
    answers = []
    for door in (None, Shut()):
        async with serving(app, door=door) as port:
            answers.append(await exchange_bytes(port, AWAY + rubbish))
    assert answers[0] == answers[1]
    assert told(answers[0])

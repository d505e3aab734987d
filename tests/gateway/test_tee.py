"""An answer that is given and kept at once, and what is told to who repeats."""

import asyncio
import logging

import pytest

from tests.gateway.lab import Client
from turnout.errors import ClientDisconnected, StoreError
from turnout.gateway.tee import PIECE_BYTES, Run, Tee, replay
from turnout.stores.sqlite import SqliteAnswerStore

HEAD = [(b"content-type", b"text/event-stream"), (b"x-request-id", b"req_1")]


@pytest.fixture
def store(tmp_path):
    opened = SqliteAnswerStore(tmp_path / "answers.sqlite3")
    yield opened
    opened.close()


def claimed(store, **options):
    run = Run(b"slot", b"request", **options)
    run.id = store.claim(run.slot, run.request, 0.0, 0.0).id
    return run


class Gone(Client):
    """A client that is slow, and then takes nothing for too long."""

    def __init__(self):
        super().__init__()
        self.is_paused = True

    async def drain(self):
        raise ClientDisconnected("the client took nothing for 60 s")


class Full:
    """A store whose disk is full."""

    def add(self, id_, first, pieces):
        raise StoreError("answers.sqlite3: disk full")

    def finish(self, id_, first, pieces, head, wall):
        raise StoreError("answers.sqlite3: disk full")


async def test_a_stream_passes_as_it_comes_and_its_end_waits_for_the_disk(store):
    """Whoever has seen the end may repeat."""
    client, run = Client(), claimed(store)
    tee = Tee(client, store, run)
    assert not tee.is_started
    tee.start(200, HEAD)
    assert tee.is_started
    tee.write(b"data: a\n\n")
    tee.write(b"data: [DONE] is how a stream ends\n\n")
    assert client.body == b"data: a\n\n"
    tee.write(b"data: b\n\n")
    tee.write(b"data: c\n\ndata: [DONE]\n\n")
    tee.finish()
    whole = b"data: a\n\ndata: [DONE] is how a stream ends\n\ndata: b\n\ndata: c\n\ndata: [DONE]\n\n"
    assert (client.body, client.ended) == (whole[: whole.index(b"data: c")], "")
    await tee.keep(0.0)
    assert client.ended == ""
    tee.deliver()
    assert (client.status, client.body, client.ended) == (200, whole, "finish")
    again = Client()
    await replay(run.found, store, again)
    assert (again.status, again.body, again.ended) == (200, whole, "finish")
    assert again.headers == {**client.headers, "idempotent-replayed": "true"}


async def test_the_end_of_an_anthropic_stream_waits_too(store):
    """Its last event is another."""
    client = Client()
    tee = Tee(client, store, claimed(store))
    tee.start(200, HEAD)
    tee.write(b'event: message_stop\ndata: {"type":"message_stop"}\n\n')
    assert client.body == b""
    tee.finish()
    tee.deliver()
    assert client.body.endswith(b'"message_stop"}\n\n')


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES, 3 * PIECE_BYTES + 1])
async def test_a_whole_answer_is_the_same_again_at_any_size(store, size):
    """In one write if it is short; a long one is read from the disk in pieces."""
    body = bytes(index % 251 for index in range(size))
    client, again, run = Client(), Client(), claimed(store)
    tee = Tee(client, store, run)
    tee.answer(404, HEAD, body)
    await tee.keep(0.0)
    tee.deliver()
    await replay(run.found, store, again)
    assert (client.status, client.body, client.ended) == (404, body, "answer")
    assert (again.status, again.body) == (404, body)
    assert again.ended == ("answer" if size <= PIECE_BYTES else "finish")


async def test_a_stream_that_was_cut_is_cut_again(store):
    """With the error event that it ended with."""
    client, again, run = Client(), Client(), claimed(store)
    tee = Tee(client, store, run)
    tee.start(200, HEAD)
    tee.write(b'data: {"error":{}}\n\n')
    tee.cut()
    await tee.keep(0.0)
    tee.deliver()
    await replay(run.found, store, again)
    assert ("cut", "cut") == (client.ended, again.ended)
    assert client.body == again.body


async def test_what_waits_for_the_disk_is_bounded(store):
    """The upstream is not read on before a piece is written."""
    client, again, run = Client(), Client(), claimed(store)
    tee = Tee(client, store, run)
    tee.start(200, HEAD)
    said = b""
    for number in range(40):
        data = b"%05d" % number * 1000
        said += data
        tee.write(data)
        if tee.is_paused:
            await tee.drain()
            assert not tee.is_paused
            assert store.piece(run.id, 0) == said[:PIECE_BYTES]
    tee.finish()
    await tee.keep(0.0)
    assert run.found.pieces > 200_000 // PIECE_BYTES
    await replay(run.found, store, again)
    assert said == again.body


async def test_a_slow_client_holds_the_answer_up_only_for_a_while_if_a_repeat_waits(store):
    """It is most likely the same client, and this connection dead: it is cut, and the answer goes on."""
    client, again, run = Client(), Client(), claimed(store, hurry_s=0.01)
    client.may_go_on.clear()
    client.is_paused = True
    tee = Tee(client, store, run)
    tee.start(200, HEAD)
    tee.write(b"one")
    waiting = asyncio.ensure_future(tee.drain())
    await asyncio.sleep(0.03)
    assert not waiting.done()
    run.hurry()
    await waiting
    assert (client.ended, tee.is_paused) == ("cut", False)
    tee.write(b"two")
    tee.finish()
    await tee.keep(0.0)
    tee.deliver()
    assert (client.body, client.ended) == (b"one", "cut")
    await replay(run.found, store, again)
    assert (again.body, again.ended) == (b"onetwo", "finish")


async def test_a_repeat_that_waits_already_gives_the_next_pause_its_time_too(store):
    """And a client that takes what it gets is left in peace."""
    client, run = Client(), claimed(store, hurry_s=0.01)
    run.hurry()
    tee = Tee(client, store, run)
    tee.start(200, HEAD)
    client.is_paused = True
    await tee.drain()
    assert client.ended == ""
    client.may_go_on.clear()
    await tee.drain()
    assert client.ended == "cut"


async def test_a_client_that_takes_nothing_for_long_is_given_up_and_the_answer_kept(store):
    """Nothing is raised to the engine: the vendor is being paid."""
    client, run = Gone(), claimed(store)
    tee = Tee(client, store, run)
    tee.start(200, HEAD)
    tee.write(b"one")
    await tee.drain()
    tee.write(b"two")
    tee.finish()
    await tee.keep(0.0)
    assert client.ended == "cut"
    assert store.piece(run.id, 0) == b"onetwo"


async def test_a_disk_that_fails_costs_the_promise_and_not_the_answer(caplog):
    """Said once; those who waited are told, and a repeat is served anew."""
    caplog.set_level(logging.ERROR)
    client, run = Client(), Run(b"slot", b"request")
    tee = Tee(client, Full(), run)
    tee.start(200, HEAD)
    tee.write(b"x" * PIECE_BYTES)
    await tee.drain()
    tee.write(b"y" * PIECE_BYTES)
    assert not tee.is_paused
    tee.finish()
    await tee.keep(0.0)
    tee.deliver()
    assert (len(client.body), client.ended) == (2 * PIECE_BYTES, "finish")
    assert run.found is None
    assert run.error.code == "store_unavailable"
    assert len(caplog.records) == 1


async def test_a_disk_that_fails_at_the_very_end_does_the_same(caplog):
    """A whole answer is written only then."""
    client, run = Client(), Run(b"slot", b"request")
    tee = Tee(client, Full(), run)
    tee.answer(200, HEAD, b"body")
    await tee.keep(0.0)
    tee.deliver()
    assert (client.body, run.found, run.error.code) == (b"body", None, "store_unavailable")


async def test_what_is_forgotten_while_it_is_read_is_cut(store):
    """Its day was over: half an answer is not passed off as a whole one."""
    client, run = Client(), claimed(store)
    tee = Tee(client, store, run)
    tee.answer(200, HEAD, b"x" * 2 * PIECE_BYTES)
    await tee.keep(0.0)
    store.release(run.id)
    again = Client()
    await replay(run.found, store, again)
    assert (again.body, again.ended) == (b"", "cut")


async def test_a_slow_client_is_waited_for_between_pieces(store):
    """So at most one of them lies in our memory."""
    run, again = claimed(store), Client()
    tee = Tee(Client(), store, run)
    tee.answer(200, HEAD, b"x" * 3 * PIECE_BYTES)
    await tee.keep(0.0)
    again.is_paused = True
    await replay(run.found, store, again)
    assert (again.drains, len(again.body)) == (3, 3 * PIECE_BYTES)


def test_nothing_is_delivered_of_what_has_not_begun(store):
    """The error that ended it is the app's to tell."""
    client = Client()
    Tee(client, store, Run(b"slot", b"request")).deliver()
    assert (client.status, client.ended) == (0, "")

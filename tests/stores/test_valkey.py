"""stores/valkey.py: one connection, against a real Valkey and against servers that misbehave."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from tests.valkey_server import ValkeyServer
from turnout.errors import ConfigError, StoreError
from turnout.stores.valkey import UNDER_WAY, Valkey

NOAUTH = b"-NOAUTH Authentication required.\r\n"


@asynccontextmanager
async def connected(url, **options):
    """A store whose connection is read."""
    store = Valkey(url, **options)
    await store.connect()
    reading = asyncio.ensure_future(store.serve())
    await asyncio.sleep(0)
    try:
        yield store
    finally:
        store.close()
        await asyncio.wait((reading,))
        assert reading.cancelled() or isinstance(reading.exception(), StoreError)


@asynccontextmanager
async def server_that(answers):
    """Greets as a server does (INFO), and then gives `answers` to whatever comes, one a read; None: silence."""
    queue = [b"$10\r\nrun_id:abc\r\n", *answers]

    async def serve(reader, writer):
        while await reader.read(65536):
            if queue and (answer := queue.pop(0)) is not None:
                writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"


async def test_commands_are_answered_in_their_order_however_many_are_under_way(tmp_path):
    """A hundred at once, on one connection; those that are too many fail at once and harm nobody."""
    async with ValkeyServer(tmp_path) as server, connected(server.url, budget_s=2) as store:
        assert b"OK" == await store.ask("SET", "a", b"\x00\xff", "PX", 60_000)
        assert b"\x00\xff" == await store.ask("GET", "a")
        answers = await asyncio.gather(*(store.ask("ECHO", str(number)) for number in range(100)))
        assert [str(number).encode() for number in range(100)] == answers
        crowd = await asyncio.gather(*(store.ask("ECHO", "x") for _ in range(UNDER_WAY + 5)), return_exceptions=True)
        assert 5 == sum(isinstance(one, StoreError) for one in crowd)
        assert b"x" == await store.ask("ECHO", "x")
        assert 1 == int((await server.ask("INFO", "clients"))["connected_clients"]) - 1
        assert len(store.run_id) == 40


async def test_an_error_is_its_commands_failure_alone(tmp_path):
    """The others are answered, and the connection stays."""
    async with ValkeyServer(tmp_path) as server, connected(server.url, budget_s=2) as store:
        await store.ask("LPUSH", "list", "x")
        wrong, right = await asyncio.gather(store.ask("GET", "list"), store.ask("ECHO", "hej"), return_exceptions=True)
        assert isinstance(wrong, StoreError)
        assert "wrong kind of value" in wrong.message
        assert (b"hej", True) == (right, store.is_connected)


async def test_a_script_is_sent_once_and_again_after_the_server_forgot_it(tmp_path):
    """By its hash, and as a whole where that is not known; what is no text of ours is an error."""
    async with ValkeyServer(tmp_path) as server, connected(server.url, budget_s=2) as store:
        for _ in range(2):
            assert b"a-b" == await store.run("return ARGV[1] .. '-' .. ARGV[2]", "key", "a", "b")
        await server.ask("SCRIPT", "FLUSH")
        assert b"c-d" == await store.run("return ARGV[1] .. '-' .. ARGV[2]", "key", "c", "d")
        with pytest.raises(StoreError, match="none of ours"):
            await store.run("return 7", "key")
        with pytest.raises(StoreError, match="wrong kind"):
            await store.ask("SET", "text", "x")
            await store.run("return redis.call('LPUSH', KEYS[1], 'x')", "text")


async def test_silence_ends_the_connection_for_all_who_wait(tmp_path):
    """Nobody waits longer than the budget, whoever comes after is told at once, and a late answer reaches nobody."""
    async with ValkeyServer(tmp_path) as server, connected(server.url) as store:
        server.freeze()
        loop = asyncio.get_running_loop()
        began = loop.time()
        failed = await asyncio.gather(*(store.ask("ECHO", "x") for _ in range(20)), return_exceptions=True)
        took = loop.time() - began
        assert {"no answer within 50 ms"} == {error.message for error in failed}
        assert 0.04 <= took < 0.5
        assert not store.is_connected
        with pytest.raises(StoreError, match="no connection"):
            await store.ask("PING")
        assert loop.time() - began - took < 0.02
        server.thaw()


async def test_when_we_are_late_ourselves_the_server_is_not_blamed(tmp_path):
    """A busy event loop fails its own command and keeps the connection; the answer that comes then is thrown away."""
    async with ValkeyServer(tmp_path) as server, connected(server.url) as store:
        server.freeze()
        asked = asyncio.ensure_future(store.ask("ECHO", "late"))
        await asyncio.sleep(0.02)
        began = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() - began < 0.2:
            pass
        server.thaw()
        with pytest.raises(StoreError, match="no answer within"):
            await asked
        assert store.is_connected
        store._budget_s = 2
        assert b"next" == await store.ask("ECHO", "next")


async def test_a_request_that_leaves_shifts_nobody_elses_answer(tmp_path):
    """Cancelled while it waits: its answer is skipped."""
    async with ValkeyServer(tmp_path) as server, connected(server.url, budget_s=5) as store:
        server.freeze()
        asked = [asyncio.ensure_future(store.ask("ECHO", str(number))) for number in range(3)]
        await asyncio.sleep(0.01)
        asked[1].cancel()
        await asyncio.sleep(0)
        server.thaw()
        assert (b"0", b"2") == (await asked[0], await asked[2])
        assert asked[1].cancelled()


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 400\r\n\r\n", b"$-7\r\n", b"+OK\r\n+an answer without a question\r\n", b"-LOADING not yet\r\n"],
)
async def test_what_is_no_answer_ends_the_connection(answer):
    """Whoever waits is told, and nothing more is read from it."""
    async with server_that([answer, answer]) as url, connected(url, budget_s=1) as store:
        answers = await asyncio.gather(store.ask("PING"), return_exceptions=True)
        async with asyncio.timeout(2):
            while store.is_connected:
                await asyncio.sleep(0.001)
        assert isinstance(answers[0], StoreError) or answers == [b"OK"]


async def test_a_server_that_closes_is_told_as_it_is():
    """The reason is what a person reads in the log."""
    async with server_that([]) as url, connected(url, budget_s=1) as store:
        store._connection._writer.transport.abort()
        with pytest.raises(StoreError):
            await store.ask("PING")
        with pytest.raises(StoreError, match="no connection"):
            await store.ask("PING")
        assert not store.is_connected


@pytest.mark.parametrize("answer", [b"", NOAUTH, b"*0\r\n", b":42\r\n", b"-NOPERM no permissions\r\n"])
async def test_a_connection_is_made_or_not(answer):
    """Who closes, or wants a password, is refused; who may not ask for INFO, or answers it oddly, has no run id."""
    left = asyncio.Event()

    async def serve(reader, writer):
        await reader.read(65536)
        if answer:
            writer.write(answer)
            await reader.read(65536)
        writer.close()
        await writer.wait_closed()
        left.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        store = Valkey(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0")
        if answer not in (b"", NOAUTH):
            await store.connect()
            reading = asyncio.ensure_future(store.serve())
            await asyncio.sleep(0)
            assert ("", True) == (store.run_id, store.is_connected)
            store.close()
            store.close()
            await asyncio.wait((reading,))
        else:
            with pytest.raises(StoreError):
                await store.connect()
        await asyncio.wait_for(left.wait(), 5)


async def test_nobody_there_is_a_store_error_and_names_no_password(tmp_path):
    """The address is safe to log."""
    store = Valkey(f"redis://user:canary@127.0.0.1:{ValkeyServer(tmp_path).port}/0")
    with pytest.raises(StoreError, match="ConnectionError") as caught:
        await store.connect()
    assert "canary" not in caught.value.message + store.address


async def test_messages_are_heard_until_the_connection_ends(tmp_path):
    """`ready` comes before the first, so that nothing is missed."""
    heard, ready = [], asyncio.Event()
    async with ValkeyServer(tmp_path) as server:
        store = Valkey(server.url)
        listening = asyncio.ensure_future(store.listen("channel", heard.append, ready.set))
        await asyncio.wait_for(ready.wait(), 5)
        await server.ask("PUBLISH", "channel", "one")
        await server.ask("PUBLISH", "other", "none")
        await server.ask("PUBLISH", "channel", "two")
        async with asyncio.timeout(5):
            while len(heard) < 2:
                await asyncio.sleep(0.001)
        await server.kill()
        with pytest.raises(StoreError):
            await listening
    assert [b"one", b"two"] == heard


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://valkey", "valkey:6379"),
        ("rediss://u:p@valkey:7000/3", "valkey:7000"),
        ("unix:///run/valkey.sock", "/run/valkey.sock"),
    ],
)
def test_addresses(url, address):
    """With or without TLS, or a socket file."""
    assert address == Valkey(url).address


def test_a_url_that_cannot_be_read_is_a_config_error():
    """Said without repeating it: it may hold a password."""
    with pytest.raises(ConfigError) as caught:
        Valkey("redis://valkey?socket_timeout=canary")
    assert "canary" not in caught.value.message

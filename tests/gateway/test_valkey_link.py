"""gateway/valkey_link.py: contact that begins, ends and begins again, and what is said of it."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager

import pytest

from tests.valkey_server import ValkeyServer
from turnout.errors import StoreError
from turnout.gateway.clock import SystemClock
from turnout.gateway.valkey_link import ValkeyLink
from turnout.stores.valkey import Valkey


@asynccontextmanager
async def link_to(server, **options):
    """A started link; its changes are counted."""
    link = ValkeyLink(Valkey(server.url, **options), SystemClock())
    link.changes = asyncio.Queue()
    link.changed = lambda: link.changes.put_nowait(link.is_up)
    await link.start()
    try:
        yield link
    finally:
        await link.stop()


async def until(condition):
    """Wait for something that other tasks do."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_store_that_is_there_is_found_at_the_start_and_nothing_is_said(tmp_path, caplog):
    """The first request can use it."""
    async with ValkeyServer(tmp_path) as server, link_to(server) as link:
        assert (True, 1, 0) == (link.is_up, link.session, link.losses)
        assert b"hej" == await link.ask("ECHO", "hej")
        assert b"1" == await link.run("return ARGV[2]", "key", "take", b"")
    assert ([], False) == (caplog.messages, link.is_up)


async def test_a_store_that_is_absent_is_said_once_and_used_when_it_comes(tmp_path, caplog):
    """The start does not wait for it; one line each way."""
    caplog.set_level(logging.WARNING)
    server = ValkeyServer(tmp_path)
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with link_to(server) as link:
        assert loop.time() - began < 2
        assert not link.is_up
        await asyncio.sleep(1.2)
        assert 1 == len(caplog.messages)
        await server.start()
        try:
            await until(lambda: link.is_up)
            assert ["is not used", "is used again"] == [
                "is not used" if "is not used" in line else "is used again" for line in caplog.messages
            ]
        finally:
            await server.kill()


async def test_one_failure_ends_contact_for_all_and_a_probe_begins_it_again(tmp_path, caplog):
    """Told once, however many fail; the connection that comes is a session of its own."""
    caplog.set_level(logging.WARNING)
    async with ValkeyServer(tmp_path) as server, link_to(server) as link:
        server.freeze()
        failed = await asyncio.gather(*(link.ask("PING") for _ in range(10)), return_exceptions=True)
        assert all(isinstance(one, StoreError) for one in failed)
        assert (False, 1, 1) == (link.is_up, link.losses, len(caplog.messages))
        server.thaw()
        await until(lambda: link.is_up)
        assert (2, 2) == (link.session, len(caplog.messages))


async def test_a_script_that_is_refused_ends_contact_and_a_command_does_not(tmp_path):
    """What gateways share is one thing: where it cannot be kept, nothing of it is used. An odd value is one value."""
    async with ValkeyServer(tmp_path) as server, link_to(server) as link:
        await server.ask("RPUSH", "list", "x")
        with pytest.raises(StoreError):
            await link.ask("GET", "list")
        assert link.is_up
        with pytest.raises(StoreError):
            await link.run("return redis.call('GET', KEYS[1])", "list", "take", b"")
        assert not link.is_up
        await until(lambda: link.is_up)
        assert 1 == link.session


async def test_too_much_at_once_is_our_own_fault(tmp_path):
    """It fails those that are too many, and nobody else."""
    async with ValkeyServer(tmp_path) as server, link_to(server, budget_s=2) as link:
        asked = (link.run("return 'x'", "key", "take", b"") for _ in range(200))
        told = await asyncio.gather(*asked, return_exceptions=True)
        assert 0 < sum(isinstance(one, StoreError) for one in told) < 200
        assert link.is_up


async def test_what_the_beat_says_must_be_answered_too(tmp_path):
    """A beat that fails ends contact as a request does; one that is wanted soon comes at once."""
    async with ValkeyServer(tmp_path) as server, link_to(server) as link:
        beaten = asyncio.Event()

        async def beat():
            beaten.set()
            raise StoreError("not today")

        link.beats.append(beat)
        began = asyncio.get_running_loop().time()
        link.beat_soon()
        await beaten.wait()
        assert asyncio.get_running_loop().time() - began < 0.5
        await until(lambda: not link.is_up)


async def test_messages_reach_us_and_are_heard_again_after_a_loss(tmp_path):
    """The listening connection is renewed with the beat."""
    heard = []
    async with ValkeyServer(tmp_path) as server, link_to(server) as link:
        link.told = heard.append
        channel = f"turnout:wake:{link.member}"
        for number in range(1, 3):
            async with asyncio.timeout(10):
                while not await server.ask("PUBLISH", channel, "x"):
                    await asyncio.sleep(0.01)
            await until(lambda number=number: len(heard) == number)
            await server.ask("CLIENT", "KILL", "TYPE", "pubsub")


async def test_probes_are_one_a_second_while_nobody_answers(tmp_path):
    """A server that comes back is not trampled on."""
    connections = 0

    async def refuse(reader, writer):
        nonlocal connections
        connections += 1
        writer.close()

    listener = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with listener:
        server = ValkeyServer(tmp_path)
        server.url = f"redis://127.0.0.1:{listener.sockets[0].getsockname()[1]}/0"
        async with link_to(server) as link:
            for _ in range(200):
                link.failed(StoreError("x"))
            await asyncio.sleep(2.3)
    assert 2 <= connections <= 4

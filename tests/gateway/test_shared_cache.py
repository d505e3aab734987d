"""gateway/shared_cache.py: answers in a real Valkey, and nothing where it is not."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

from tests.valkey_server import ValkeyServer
from turnout.errors import StoreError
from turnout.gateway.clock import SystemClock
from turnout.gateway.shared_cache import ANSWER_BYTES, PREFIX, UNDER_WAY_BYTES, ValkeyLevel
from turnout.gateway.valkey_link import ValkeyLink
from turnout.stores.valkey import Valkey


@asynccontextmanager
async def levels(server, count=1):
    """As many gateways' second levels."""
    links = [ValkeyLink(Valkey(server.url), SystemClock()) for _ in range(count)]
    try:
        for link in links:
            await link.start()
        yield links, [ValkeyLevel(link) for link in links]
    finally:
        for link in links:
            await link.stop()


async def test_what_one_gateway_holds_the_other_finds(tmp_path):
    """In the order asked for, and no longer than it was to be held."""
    async with ValkeyServer(tmp_path) as server, levels(server, 2) as (_, (one, other)):
        await one.put(b"\x00key", b"answer", 60)
        await one.put(b"brief", b"gone soon", 0.001)
        async with asyncio.timeout(5):
            while await server.ask("EXISTS", PREFIX + b"brief"):
                await asyncio.sleep(0.001)
        assert [None, b"answer", None] == await other.get([b"other", b"\x00key", b"brief"])
        assert 59_000 < await server.ask("PTTL", PREFIX + b"\x00key") <= 60_000
        assert [] == await other.get([])


async def test_what_is_too_large_stays_at_home(tmp_path):
    """One answer over the bound, many at once over theirs, and what is over already: not held, and counted."""
    async with ValkeyServer(tmp_path) as server, levels(server) as (_, (level,)):
        await level.put(b"a", b"x" * (ANSWER_BYTES + 1), 60)
        await level.put(b"b", b"x", 0.0)
        assert ([None, None], 2) == (await level.get([b"a", b"b"]), level.missed)
        many = 2 * UNDER_WAY_BYTES // ANSWER_BYTES
        await asyncio.gather(*(level.put(b"%d" % number, b"x" * ANSWER_BYTES, 60) for number in range(many)))
        assert many // 2 + 2 == level.missed


async def test_everything_is_forgotten_and_nothing_of_others(tmp_path):
    """More keys than one step looks at; what is not ours stays."""
    async with ValkeyServer(tmp_path) as server, levels(server) as (_, (level,)):
        await server.ask("SET", "theirs", "x")
        for number in range(1200):
            await level.put(b"%d" % number, b"x", 60)
        assert 1200 == await level.clear()
        assert [1, 0] == [await server.ask("DBSIZE"), await level.clear()]


async def test_wrong_types_and_odd_answers_are_nothing_known(tmp_path):
    """A list at our key is no answer; it ends no contact."""
    async with ValkeyServer(tmp_path) as server, levels(server) as ((link,), (level,)):
        await server.ask("RPUSH", PREFIX + b"key", "x")
        assert [None] == await level.get([b"key"])
        await server.ask("CONFIG", "SET", "maxmemory", "1")
        await level.put(b"other", b"x", 60)
        assert (1, True) == (level.missed, link.is_up)


class Odd:
    """A link whose store answers what it likes."""

    is_up = True

    def __init__(self, *answers):
        self.answers = list(answers)

    async def ask(self, *command):
        answer = self.answers.pop(0)
        if isinstance(answer, StoreError):
            raise answer
        return answer


async def test_a_store_that_answers_nonsense_knows_nothing():
    """Whatever it is, nothing is raised."""
    assert [None] == await ValkeyLevel(Odd(b"OK")).get([b"a"])
    assert [None, None] == await ValkeyLevel(Odd([b"x"])).get([b"a", b"b"])
    assert [None] == await ValkeyLevel(Odd([7])).get([b"a"])
    assert 0 == await ValkeyLevel(Odd(b"OK")).clear()
    assert 0 == await ValkeyLevel(Odd([b"1", [b"k"]], b"OK", StoreError("gone"))).clear()


async def test_without_contact_nothing_is_asked(tmp_path):
    """No wait, no error: nothing is known and nothing held; contact that ends meanwhile is the same."""
    async with ValkeyServer(tmp_path) as server, levels(server) as ((link,), (level,)):
        await server.kill()
        assert [None] == await level.get([b"a"])
        assert not link.is_up
        await level.put(b"a", b"x", 60)
        assert ([None], 0, 1) == (await level.get([b"a"]), await level.clear(), level.missed)

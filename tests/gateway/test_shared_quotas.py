"""gateway/shared_quotas.py and shared_quotas.lua: several gateways in one process, and a real Valkey."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager

import msgspec
import pytest

from tests.valkey_server import ValkeyServer
from turnout.core.catalog import Quota
from turnout.errors import StoreError
from turnout.gateway.clock import SystemClock
from turnout.gateway.shared_quotas import Grant, SharedQuotas
from turnout.gateway.valkey_link import ValkeyLink
from turnout.stores.valkey import Valkey

FREE = Quota("free", "acct", requests_minute=16, requests_day=1000, margin=0.25)
PATIENT_S = 5.0
"""For a command, on a machine that does much else at the same time: what is slow here is not what is tested."""


class Gateway:
    """One of several: its link and its quotas."""

    def __init__(self, url, *quotas, lease_s=15.0):
        clock = SystemClock()
        self.link = ValkeyLink(Valkey(url, budget_s=PATIENT_S), clock)
        self.shared = SharedQuotas({one.name: one for one in quotas}, self.link, clock, lease_s=lease_s)
        self.now = clock.now

    async def settled(self):
        async with asyncio.timeout(15):
            while not self.shared.is_settled:
                await asyncio.sleep(0.01)

    async def take(self, *names, tokens=0, rank=3, arrived=None):
        when = time.time() if arrived is None else arrived
        return await self.shared.take(names or ("free",), tokens, rank, when)

    async def take_all(self, *names, tokens=0):
        """Take until there is no more; return what was taken."""
        taken = []
        while (grant := await self.take(*names, tokens=tokens)) is not None:
            taken.append(grant)
            assert len(taken) < 1000
        return taken

    async def take_soon(self):
        """As a scheduler does: again when it is worth it, since who gave up may have had a better claim for a moment."""
        async with asyncio.timeout(5):
            while (grant := await self.take()) is None:
                await asyncio.sleep(self.shared.wait_s(("free",), self.now()))
        return grant

    def share(self, name="free"):
        return self.shared._own[name].share


@asynccontextmanager
async def gateways(url, count, *quotas, **options):
    """So many, settled."""
    made = [Gateway(url, *quotas, **options) for _ in range(count)]
    try:
        for one in made:
            await one.link.start()
        for one in made:
            await one.settled()
        yield made
    finally:
        for one in made:
            await one.shared.leave()
            await one.link.stop()


async def until(condition):
    """Wait for something that other tasks do."""
    async with asyncio.timeout(15):
        while not condition():
            await asyncio.sleep(0.01)


async def test_together_they_take_what_there_is_and_no_more(tmp_path):
    """16 a minute with 25 % margin are 12, whoever asks; who is refused is told when there will be room."""
    async with ValkeyServer(tmp_path) as server, gateways(server.url, 2, FREE) as (one, other):
        taken = [*await one.take_all(), *await other.take_all()]
        assert 12 == len(taken)
        assert any(grant.is_alone for grant in taken)
        assert 55 < one.shared.wait_s(("free",), one.now()) < 61
        assert 0.0 == one.shared.wait_s(("unknown",), one.now())


async def test_what_was_never_sent_is_free_again_for_the_others(tmp_path):
    """They are told, so that nobody has to look."""
    async with ValkeyServer(tmp_path) as server, gateways(server.url, 2, FREE) as (one, other):
        taken = await one.take_all()
        assert await other.take_all()
        woken = asyncio.Event()
        other.shared.changed = woken.set
        next(grant for grant in taken if not grant.is_alone).give_back()
        await until(lambda: not one.shared._pending)
        await asyncio.wait_for(woken.wait(), 5)
        assert 0.0 == other.shared.wait_s(("free",), other.now())
        assert isinstance(await other.take_soon(), Grant)
        assert await other.take() is None


async def test_places_at_once_are_shared_and_free_when_calls_end(tmp_path):
    """A place of our own is brought along, so that the pool's are for whoever has none."""
    places = Quota("free", "acct", at_once=4)
    async with ValkeyServer(tmp_path) as server, gateways(server.url, 2, places) as (one, other):
        assert (1, 1) == (one.share().at_once, other.share().at_once)
        taken = await one.take_all()
        assert (3, 1) == (len(taken), len(await other.take_all()))
        woken = asyncio.Event()
        other.shared.changed = woken.set
        taken[-1].end(0)
        taken[-1].end(0)
        taken[-1].give_back()
        await until(lambda: not one.shared._pending)
        await asyncio.wait_for(woken.wait(), 5)
        assert isinstance(await other.take_soon(), Grant)
        assert await other.take() is None


async def test_a_gateway_that_dies_gives_its_places_back_after_its_lease(tmp_path):
    """And not before; who lives keeps its own for as long as its calls take."""
    places = Quota("free", "acct", at_once=8)
    async with ValkeyServer(tmp_path) as server, gateways(server.url, 2, places, lease_s=2.5) as (one, other):
        doomed, kept = await one.take_all(), await other.take_all()
        assert 8 == len(doomed) + len(kept)
        one.link.store.close()
        await one.link.stop()
        assert await other.take() is None
        began = other.now()
        async with asyncio.timeout(10):
            while (grant := await other.take()) is None:
                await asyncio.sleep(0.02)
        assert 1.0 < other.now() - began < 4.0
        freed = [grant, *await other.take_all()]
        assert len(freed) == sum(not use.has_place for one in doomed for use in one.uses.values())


async def test_all_quotas_of_a_call_or_none(tmp_path):
    """One that refuses leaves the others as they were."""
    wide, narrow = Quota("wide", "acct", requests_minute=100), Quota("narrow", "acct", requests_minute=4)
    async with ValkeyServer(tmp_path) as server, gateways(server.url, 1, wide, narrow) as (one,):
        assert 4 == len(await one.take_all("wide", "narrow"))
        assert 96 == len(await one.take_all("wide"))
        assert await one.take("unknown") is None


async def test_tokens_are_reserved_and_settled(tmp_path):
    """By an estimate first; what was not used can be used, what was used more is counted."""
    tokens = Quota("free", "acct", tokens_minute=1000, tokens_day=10_000)
    async with ValkeyServer(tmp_path) as server, gateways(server.url, 1, tokens) as (one,):
        first = await one.take(tokens=400)
        assert not first.is_alone
        first.end(100)
        for _ in range(2):
            second = await one.take(tokens=400)
            assert second is not None
        assert await one.take(tokens=400) is None
        second.end(450)
        await until(lambda: not one.shared._pending)
        assert await one.take(tokens=200) is None


async def test_a_call_sent_late_is_counted_from_then(tmp_path):
    """It connected first; within a quarter of a second nothing is said."""
    async with ValkeyServer(tmp_path) as server, gateways(server.url, 1, FREE) as (one,):
        grant = await one.take()
        grant.sent()
        assert not one.shared._pending
        grant.at -= 1.0
        grant.stamp -= 1.0
        grant.sent()
        assert one.shared._pending
        await until(lambda: not one.shared._pending)
        grant.end(0)


async def test_the_better_claim_goes_first_across_gateways(tmp_path):
    """Both wait for the last place; when it comes, the lower rank has it, whoever asks first."""
    places = Quota("free", "acct", at_once=1)
    async with ValkeyServer(tmp_path) as server, gateways(server.url, 2, places) as (one, other):
        holder = next(grant for grant in [await one.take(), await other.take()] if grant)
        await until(lambda: one.link.is_up and other.link.is_up)
        assert await one.take(rank=5, arrived=1.0) is None
        assert await other.take(rank=1, arrived=2.0) is None
        holder.end(0)
        await until(lambda: not one.shared._pending and not other.shared._pending)
        await asyncio.sleep(0.05)
        later, sooner = await one.take(rank=5, arrived=1.0), await other.take(rank=1, arrived=2.0)
        assert holder.is_alone or (later is None and sooner is not None)


async def test_without_contact_a_gateway_lives_on_its_share(tmp_path):
    """It waits for nobody, and what all take together is never more than the limit."""
    async with ValkeyServer(tmp_path) as server, gateways(server.url, 2, FREE) as (one, other):
        pooled = [await one.take() for _ in range(4)]
        shares = one.share().requests_minute, other.share().requests_minute
        assert (3, 3) == shares
        await server.kill()
        await until(lambda: not one.link.is_up and not other.link.is_up)
        began = one.now()
        alone = [*await one.take_all(), *await other.take_all()]
        assert one.now() - began < 0.5
        assert (6, {True}) == (len(alone), {grant.is_alone for grant in alone})
        assert len(pooled) + len(alone) <= 12
        assert 0.0 < one.shared.wait_s(("free",), one.now()) <= 1.0
        alone[0].give_back()
        assert isinstance(one.shared.take_alone(("free",), 0), Grant)
        assert one.shared.take_alone(("unknown",), 0) is None


async def test_a_share_is_not_used_for_longer_than_it_is_kept_for_us(tmp_path):
    """Ten minutes without a word: it may be somebody else's."""
    async with ValkeyServer(tmp_path) as server, gateways(server.url, 1, FREE) as (one,):
        await server.kill()
        await until(lambda: not one.link.is_up)
        one.shared._heard["acct"] -= 601
        assert await one.take() is None


@pytest.mark.parametrize("how", ["killed", "flushed", "damaged"])
async def test_a_store_that_returns_empty_learns_what_was_used(tmp_path, how):
    """Each tells its own; nobody is served before those that were known have told theirs."""
    async with ValkeyServer(tmp_path) as server, gateways(server.url, 2, FREE) as (one, other):
        taken = [await one.take(), await one.take(), await other.take()]
        assert not any(grant.is_alone for grant in taken)
        await asyncio.sleep(1.1)  # a beat, so that each knows of the other
        if how == "killed":
            await server.kill()
            await server.start()
        else:
            await server.ask(*(("FLUSHALL",) if how == "flushed" else ("SET", "turnout:{acct}", "\xc1")))
        await until(lambda: not (one.shared.is_settled and other.shared.is_settled))
        await one.settled()
        await other.settled()
        more = [*await one.take_all(), *await other.take_all()]
        assert 12 == len(taken) + len(more)
        day = await used_today(server)
        assert 12 == day


async def used_today(server):
    """Requests of the day as the store counts them, by pool and shares."""
    await asyncio.sleep(1.2)  # what shares were used for comes with the beat
    script = (
        "local s, n = cmsgpack.unpack(redis.call('GET', KEYS[1])), 0 "
        "for _, r in pairs(s.quotas.free.records) do n = n + r.day[2] + r.spent[1] end return n"
    )
    return await server.ask("EVAL", script, 1, "turnout:{acct}")


async def test_who_leaves_gives_back_at_once(tmp_path):
    """Its share returns to the pool, and what it used stays counted."""
    async with ValkeyServer(tmp_path) as server, gateways(server.url, 2, FREE) as (one, other):
        taken = await one.take_all()
        await one.shared.leave()
        await one.link.stop()
        more = await other.take_all()
        assert 12 == len(taken) + len(more)
        assert 12 == await used_today(server)


async def test_another_configuration_is_obeyed_with_what_was_used(tmp_path):
    """A wider limit has room, a quota that is gone allows nothing to be taken from it."""
    async with ValkeyServer(tmp_path) as server, gateways(server.url, 1, FREE) as (one,):
        assert 12 == len(await one.take_all())
        one.shared.install({"free": msgspec.structs.replace(FREE, requests_minute=20)})
        assert 3 == len(await one.take_all())
        grant = one.shared._held[next(iter(one.shared._held))]
        one.shared.install({})
        grant.sent()
        grant.end(5)
        one.shared.install({"free": FREE})
        assert await one.take() is None


async def test_who_leaves_while_it_asks_holds_no_place(tmp_path):
    """Its request is cancelled in the middle: the place is free at once."""
    places = Quota("free", "acct", at_once=3)
    async with ValkeyServer(tmp_path) as server, gateways(server.url, 1, places) as (one,):
        for _ in range(5):
            asked = asyncio.ensure_future(one.take())
            await asyncio.sleep(0)
            asked.cancel()
            await asyncio.wait((asked,))
        await until(lambda: not one.shared._pending)
        assert 3 == len(await one.take_all())


async def test_what_all_used_today_is_told(tmp_path):
    """So that the day is paced by what is left for everybody."""
    told = {}
    async with ValkeyServer(tmp_path) as server, gateways(server.url, 2, FREE) as (one, other):
        other.shared.used_by_all = lambda name, requests, tokens, _now: told.__setitem__(name, (requests, tokens))
        for grant in (await one.take(tokens=5), await one.take(tokens=5)):
            assert not grant.is_alone
        await until(lambda: told.get("free") == (2, 10))


class Lying:
    """A link whose store answers `answer`."""

    is_up = True
    member = "gw"
    session = 1

    def __init__(self, answer):
        self.beats = []
        self.answer = answer
        self.failures = []

    async def run(self, *_):
        if self.answer is None:
            raise StoreError("gone")
        return self.answer

    def failed(self, error):
        self.failures.append(error)

    def beat_soon(self):
        self.failures.append("soon")


async def test_an_answer_that_is_none_ends_contact():
    """And the call is refused, without a share, with a time to look again."""
    link = Lying(b"\xc1 nonsense")
    shared = SharedQuotas({"free": FREE}, link, SystemClock())
    assert await shared.take(("free",), 0, 1, 0.0) is None
    assert 1 == len(link.failures)
    assert 0 < shared.wait_s(("free",), shared.now()) <= 1
    await shared.leave()


async def test_who_is_not_known_there_tells_what_it_used_at_once():
    """The store says `join`: the beat comes now, not within the second; and a later connection of ours ends contact."""
    link = Lying(msgspec.msgpack.encode(("join", 0)))
    shared = SharedQuotas({"free": FREE}, link, SystemClock())
    assert await shared.take(("free",), 0, 1, 0.0) is None
    assert ["soon"] == link.failures
    link.answer = msgspec.msgpack.encode(("late", [], [], 0))
    with pytest.raises(StoreError, match="later connection"):
        await link.beats[0]()
    link.answer = None
    await shared.leave()

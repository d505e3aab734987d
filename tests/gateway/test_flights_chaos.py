"""Everybody gets everything, whoever comes, goes or sleeps: random clients on one flight."""

import asyncio
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.gateway.cabin import HEAD, Cabin, go_on, mine, pause
from tests.gateway.lab import Client
from turnout.errors import ClientDisconnected, StreamInterrupted


class Chaos:
    """One flight, whose clients do what chance says. everybody: each client with its task, None for the leader's."""

    def __init__(self, bound, most_clients, chance):
        self.cabin = Cabin(bound)
        self.flight = self.cabin.flight
        self.everybody = [(self.cabin.leader, None)]
        self.has_left = set()
        self.coming = []
        self.most_clients = most_clients
        self.chance = chance

    async def come(self):
        """As the cache does it: looks whether it may join, and joins, in one go."""
        if len(self.everybody) < self.most_clients and self.flight.is_open:
            newcomer = Client()
            self.everybody.append((newcomer, asyncio.current_task()))
            return await self.flight.follow(newcomer, mine)
        return None

    async def disturb(self):
        """Up to three things happen."""
        for _ in range(self.chance.randrange(4)):
            what = self.chance.choice(["join", "pause", "go on", "leave", "turn", "turn"])
            client, task = self.chance.choice(self.everybody)
            if what == "join":
                self.coming.append(asyncio.ensure_future(self.come()))
                await asyncio.sleep(0)
            elif what == "pause":
                pause(client)
            elif what == "go on":
                go_on(client)
            elif what == "leave" and client not in self.has_left and (task is None or not task.done()):
                self.has_left.add(client)
                if task is None:
                    self.cabin.leave()
                else:
                    task.cancel()
            else:
                await asyncio.sleep(0)

    async def say(self, pieces, ending):
        """What the engine does."""
        self.flight.start(200, HEAD)
        for piece in pieces:
            await self.disturb()
            self.flight.write(piece)
            if self.flight.is_paused:
                await self.drained()
        if ending == "finish":
            self.flight.finish()
        elif ending == "cut":
            self.flight.cut()

    async def drained(self):
        """Wait for room as the engine does, while things go on to happen."""
        draining = asyncio.ensure_future(self.flight.drain())
        try:
            while not draining.done():
                await self.disturb()
                await asyncio.sleep(0)
                for client, _ in self.everybody:
                    go_on(client)
        finally:
            (result,) = await asyncio.gather(draining, return_exceptions=True)
        if result is not None:
            raise result

    async def fly(self, pieces, ending):
        """The whole flight; returns how it ended for each follower."""
        running = asyncio.ensure_future(self.say(pieces, ending))
        while not running.done() and not self.cabin.cancelled:
            await asyncio.sleep(0)
        running.cancel()
        (failed,) = await asyncio.gather(running, return_exceptions=True)
        if self.cabin.cancelled or isinstance(failed, ClientDisconnected):
            assert len(self.has_left) == len(self.everybody)
        else:
            assert failed is None
        self.flight.end(None if ending == "abandon" or failed is not None else StreamInterrupted("cut"))
        for client, _ in self.everybody:
            go_on(client)
        tasks = [task for _, task in self.everybody if task is not None]
        ends = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)
        await asyncio.gather(*self.coming, return_exceptions=True)
        return ends, failed is not None

    async def check(self, pieces, ending):
        """Fly, and see that everybody who stayed got everything."""
        ends, has_failed = await self.fly(pieces, ending)
        said = b"".join(pieces)
        for (client, _), end in zip(self.everybody[1:], ends, strict=True):
            if client in self.has_left:
                assert said.startswith(client.body) or isinstance(end, StreamInterrupted)
            elif ending == "finish":
                assert (end, client.body, client.ended) == (True, said, "finish")
            else:
                assert isinstance(end, StreamInterrupted)
                assert client.body == said + (b"" if ending == "cut" else b"event: stream_interrupted")
                assert client.ended == "cut"
        leader = self.cabin.leader
        if leader in self.has_left or has_failed:
            with pytest.raises(ClientDisconnected):
                await self.flight.settle()
        elif ending == "finish":
            await asyncio.wait_for(self.flight.settle(), 5)
            assert (leader.body, leader.ended) == (said, "finish")
        await self.cabin.tasks.stop()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    pieces=st.lists(st.binary(min_size=1, max_size=9), min_size=1, max_size=12),
    clients=st.integers(1, 6),
    bound=st.sampled_from([8, 10_000]),
    ending=st.sampled_from(["finish", "cut", "abandon"]),
    seed=st.integers(0, 2**32),
)
def test_everybody_gets_everything_whoever_comes_goes_or_sleeps(pieces, clients, bound, ending, seed):
    """Clients join at any time, pause and go on at any time, and are cancelled at any await, the leader's too: whoever
    stays gets every byte once, in order, and the proper end; the flight is cancelled if and only if nobody is left.
    """
    asyncio.run(Chaos(bound, clients, random.Random(seed)).check(pieces, ending))

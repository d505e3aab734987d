"""A flight and those who are on it, without an engine."""

import asyncio

from tests.gateway.lab import Client
from turnout.gateway.flights import Flight
from turnout.gateway.tasks import Tasks

HEAD = [(b"content-type", b"text/event-stream")]


def mine(head):
    """A follower's own head."""
    return [*head, (b"x-turnout-cache", b"coalesced")]


def told(error):
    """An error inside a stream."""
    return b"event: " + error.code.encode()


class Cabin:
    """A flight, and those who are on it."""

    def __init__(self, bound_bytes=1_000_000, **options):
        self.tasks = Tasks()
        self.leader = Client()
        self.cancelled = 0
        self.leader.on_gone = self.cancel
        self.flight = Flight(self.leader, bound_bytes=bound_bytes, tasks=self.tasks, error_event=told, **options)

    def cancel(self):
        self.cancelled += 1

    async def join(self, client=None):
        """A follower that has gone as far as it can."""
        client = client or Client()
        task = asyncio.ensure_future(self.flight.follow(client, mine))
        await turns()
        return client, task

    def leave(self):
        """The leader's client goes: what the edge does then."""
        gone, self.leader.on_gone = self.leader.on_gone, None
        gone()


async def turns(count=10):
    """Let everybody go on who can."""
    for _ in range(count):
        await asyncio.sleep(0)


def pause(client):
    """From now on it takes nothing."""
    client.is_paused = True
    client.may_go_on.clear()


def go_on(client):
    """It takes what there is."""
    client.is_paused = False
    client.may_go_on.set()

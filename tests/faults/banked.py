"""What the tests of a database that fails need: a gateway over PostgreSQL with a virtual key, a load, and the counts after."""

from __future__ import annotations

import asyncio
import time

import httpx2

from tests.postgres_server import PostgresServer
from tests.rig import CONFIG, Rig
from turnout.core.principal import MASTER
from turnout.gateway.audit import Actor
from turnout.gateway.people import By, Wanted

OWNER = By(MASTER, Actor("test", "owner", "here"))
UNKNOWN = "sk-turnout-" + "x" * 43
TIERS = "tiers: {{default: {{requests_per_minute: 1000000, tokens_per_minute: 1000000000, budget: 1000000/30d}}}}\n"
ASKED = {"model": "work", "messages": [{"role": "user", "content": "hej"}]}


def over(url):
    """The rig's config with its books at `url`, "" for a file. Everybody has limits and a budget, both out of reach."""
    where = f"ledger: {{{{url: '{url}'}}}}\n" if url else ""
    return f"{CONFIG}{where}{TIERS}"


async def with_a_key(rig: Rig):
    """Make a virtual key, and use it from now on instead of the master key; return its text."""
    people = rig.service.people
    await people.put_team(OWNER, "north")
    await people.put_workspace(OWNER, "sales", "north")
    await people.put_user(OWNER, "anna", "", is_blocked=False)
    made = await people.create_key(OWNER, Wanted(name="test", user="anna", workspace="sales"))
    rig.key = made.text
    return made.text


async def status(rig: Rig, key: str, path: str = "/v1/chat/completions"):
    """The status of one request with `key`, and its Retry-After."""
    async with httpx2.AsyncClient(base_url=rig.url, headers={"authorization": f"Bearer {key}"}, timeout=10) as client:
        answer = await (client.get(path) if path.startswith("/health") else client.post(path, json=ASKED))
    return answer.status_code, answer.headers.get("retry-after")


async def until(rig: Rig, key: str, wanted: int, path: str = "/v1/chat/completions", within_s: float = 10.0):
    """Ask until the status is `wanted`; return how many seconds that took."""
    began = time.monotonic()
    async with asyncio.timeout(within_s):
        while (await status(rig, key, path))[0] != wanted:
            await asyncio.sleep(0.05)
    return time.monotonic() - began


async def until_drained(rig: Rig, within_s: float = 60.0):
    """Wait until everything that was settled is in the books; return how many seconds that took."""
    began = time.monotonic()
    async with asyncio.timeout(within_s):
        while (stats := rig.service.books.ledger.stats).waiting or stats.is_long or stats.open or stats.is_behind:
            await asyncio.sleep(0.05)
    return time.monotonic() - began


def booked(server: PostgresServer, database: str = "books1"):
    """How many entries there are, and how many attempts they are of."""
    counts = server.sql("SELECT count(*), count(DISTINCT attempt_id) FROM entry", database)
    return tuple(map(int, counts.split("|")))


def connections(server: PostgresServer, database: str = "books1"):
    """How many there are to that database."""
    return server.sql("SELECT datname FROM pg_stat_activity").splitlines().count(database)

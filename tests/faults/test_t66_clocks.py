"""T66: a wall clock that is set anew, by an hour, a day or to 2038, moves no quota's reset, no timer and no Retry-After.

Days are played in virtual time over the nights on which Los Angeles changes its clocks, once with a sound wall clock and once
with one that is set again and again: what the vendor sees must be the same to the millisecond. Then the same on real sockets.
"""

from __future__ import annotations

import asyncio
import random
import time
from datetime import datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import msgspec
import pytest

from tests.rig import Rig
from turnout import policies, providers
from turnout.config.environment import Environment
from turnout.config.load import load
from turnout.core.eligible import Ask
from turnout.core.health import Health
from turnout.core.plan import Index
from turnout.core.simulation.world import World
from turnout.dialects import DIALECTS
from turnout.errors import QuotaExhausted
from turnout.gateway.clock import SystemClock
from turnout.gateway.drill import Answer
from turnout.gateway.engine import Engine
from turnout.gateway.simulated_transport import SimulatedTransport
from turnout.gateway.virtual_time import VirtualClock, run_virtually

HOUR_S = 3600.0
LOS_ANGELES = ZoneInfo("America/Los_Angeles")
NIGHTS = {
    "autumn": datetime(2026, 10, 31, 17, tzinfo=LOS_ANGELES),
    "spring": datetime(2027, 3, 13, 17, tzinfo=LOS_ANGELES),
}
MINUTE, DAY = 3, 25
CONFIG = f"""
defaults: false
providers:
  stub:
    kind: compatible
    base_url: "http://stub.invalid/v1"
    api_key: sk-canary-stub-key-1
    quota: {{requests_per_minute: {MINUTE}, requests_per_day: {DAY}, day_starts: 00:00 America/Los_Angeles, margin: 0%}}
models:
  first: {{provider: stub, id: vendor/first, price: free}}
"""


class SetClock(VirtualClock):
    """A wall that somebody sets; monotonic time goes on."""

    off_s = 0.0

    def wall(self):
        """What it shows."""
        return super().wall() + self.off_s


async def played(loop, folder, began, days, jumps):
    """Two clients ask for as much as they are given, for `days`; return what the vendor saw and what they were told."""
    path = folder / "turnout.yaml"
    path.write_text(CONFIG, encoding="utf-8")
    snapshot = load(path, Environment({"TURNOUT_HOME": str(folder)})).snapshot
    clock, world = SetClock(loop, began=began), World.instant(seed=1)
    world.origin = loop.time()
    engine = Engine(
        Index.of(snapshot),
        health=Health(snapshot.breaker),
        clock=clock,
        transports={"http": SimulatedTransport(clock, world)},
        dialects=DIALECTS,
        providers=providers.installed(),
        policies=policies.installed(),
        on_begin=lambda: None,
        on_end=lambda _exchange: None,
    )
    start, told = loop.time(), []

    async def set_wall(after_s, off_s):
        await asyncio.sleep(after_s)
        clock.off_s = off_s

    async def client(name):
        body = {"model": "first", "max_tokens": 4, "messages": [{"role": "user", "content": name}]}
        call = DIALECTS["openai_chat"].decode(msgspec.json.encode(body))
        while loop.time() < start + days * 24 * HOUR_S:
            ask = Ask(call.name, user=name, input_tokens=call.input_tokens, priority="high")
            try:
                await engine.serve(call, ask, clock.request_id(), Answer())
            except QuotaExhausted as error:
                told.append((loop.time() - start, error.retry_after_s))
                await asyncio.sleep(error.retry_after_s)

    setting = [asyncio.ensure_future(set_wall(after_s, off_s)) for after_s, off_s in jumps]
    await asyncio.gather(client("ada"), client("bo"), *setting)
    return [one.received_at - start for one in world.witness.dispatches], told


@pytest.mark.parametrize("night", sorted(NIGHTS))
def test_t66_quotas_do_not_notice_that_the_wall_was_set(night, tmp_path, size, seed, proof):
    """The same calls at the same moments; every day of the vendor's is used to the full, and not one call more."""
    chance, days, began = random.Random(seed), size(2, 6), NIGHTS[night].timestamp()
    offs = [HOUR_S, -HOUR_S, 86_400.0, -86_400.0, datetime(2038, 1, 19, 3, 14, 7).timestamp() - began, 0.5, -0.5, 0.0]
    jumps = [(chance.uniform(0, days * 24 * HOUR_S), off_s) for off_s in offs * size(2, 10)]
    # and where it matters most: around the vendor's midnights
    jumps += [(7 * HOUR_S + chance.uniform(-120, 120), off_s) for off_s in offs]
    sound = run_virtually(lambda loop: played(loop, tmp_path, began, days, []))
    jumpy = run_virtually(lambda loop: played(loop, tmp_path, began, days, jumps))
    assert sound == jumpy
    sent, told = jumpy
    by_day = {}
    for at in sent:
        assert sum(1 for other in sent if at <= other < at + 60.0) <= MINUTE
        by_day.setdefault(datetime.fromtimestamp(began + at, LOS_ANGELES).date(), []).append(began + at)
    midnights = []
    for day, instants in sorted(by_day.items()):
        midnight = datetime(day.year, day.month, day.day, tzinfo=LOS_ANGELES).timestamp()
        midnights.append(midnight)
        assert len(instants) == DAY or day == max(by_day)
        assert day == min(by_day) or 1.0 <= instants[0] - midnight <= 3.0
    assert {round((later - before) / HOUR_S) for before, later in pairwise(midnights)} & {23, 25}
    assert min(after_s for _, after_s in told) > 0
    proof(
        f"{night}: {len(jumps)} settings of the wall in {days} days changed none of {len(sent)} calls; "
        f"{len(by_day)} days used to the full and no call more"
    )


async def test_t66_requests_do_not_notice_that_the_wall_was_set(tmp_path, seed, proof):
    """A wait in the line, a stream under way, the traces' order: all by the clock that nobody sets."""

    class Wall(SystemClock):
        off_s = 0.0

        def __init__(self):
            super().__init__()
            self.wall = lambda: time.time() + self.off_s

    config = """
providers:
  stub: {{kind: compatible, base_url: "{url}/v1", api_key: sk-canary-stub-key-1, quota: {{at_once: 1, requests_per_day: 12, margin: 0%}}}}
models:
  first: {{provider: stub, id: vendor/first, price: free}}
timeouts: {{connect: 1, first_chunk: 2, idle: 2, total: 15}}
"""
    clock, chance, messages = Wall(), random.Random(seed), [{"role": "user", "content": "hej"}]
    async with Rig(tmp_path, config=config, clock=clock) as rig:
        rig.world.by_model["vendor/first"] = "delay=0.1"
        async with rig.openai() as client:

            async def one(number):
                raw = await client.chat.completions.with_raw_response.create(
                    model="first", messages=messages, user=f"{number}", extra_headers={"x-turnout-priority": "high"}
                )
                return raw.headers["x-request-id"]

            running = [asyncio.ensure_future(one(number)) for number in range(12)]
            ids = []
            for done in asyncio.as_completed(running):
                ids.append(await done)
                clock.off_s = chance.choice([HOUR_S, -HOUR_S, 86_400.0, -86_400.0, 3.5e8])
        traces = (await rig.traced())[::-1]
        assert ids == [trace.request_id for trace in traces]
        assert [rig.service.traces.get(request_id) is not None for request_id in ids] == [True] * 12
        async with rig.http() as http:
            body = {"model": "first", "messages": messages}
            refused = await http.post("/v1/chat/completions", json=body, headers={"x-turnout-priority": "high"})
        assert refused.status_code == 429
        assert 0 < int(refused.headers["retry-after"]) <= 24 * HOUR_S + 2
    waited = max(trace.waited_s for trace in traces)
    assert 1 < waited < 10
    proof(f"12 requests in line while the wall was set 12 times: all answered in turn, the last after {waited:.1f} s")

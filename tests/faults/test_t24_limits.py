"""T24: a request that one of a caller's limits refuses changes none of the others, and reaches no vendor.

Seven names are counted for one request: everybody, team, workspace, user, key, task, model; each has three numbers. Each in turn
is used up, alone and where several gateways share it.
"""

from __future__ import annotations

import asyncio

import pytest

from tests.limit_lab import Gateways, admitted, limit
from tests.rig import Rig
from turnout.core.principal import Who
from turnout.errors import RateLimited
from turnout.gateway.virtual_time import run_virtually

WHO = Who(key="k", user="u", workspace="w", team="t", task="x", model="m")
NAMES = ("all", "team:t", "workspace:w", "user:u", "key:k", "task:x", "model:m")
LARGE = {"requests": 100, "tokens": 100_000, "at_once": 100}
SMALL = {"requests": 3, "tokens": 600, "at_once": 3}
CONFIG = """
defaults: false
providers: {{stub: {{kind: compatible, base_url: "{url}", api_key: sk-canary-stub-key-1}}}}
models: {{first: {{provider: stub, id: vendor/first, price: free}}}}
limits:
  all: {{requests_per_minute: 3}}
  user:*: {{requests_per_minute: 10, tokens_per_minute: 10000, at_once: 5}}
"""


def counters(gateways):
    """Every counter of every name, of all gateways."""
    now = gateways.clock.now()
    return [(meter.name, meter.used(now)) for limiter in gateways.limiters for meter in limiter._meters]


@pytest.mark.parametrize("gateways", [1, 2])
def test_t24_a_refused_request_costs_nothing(proof, gateways):
    """Whichever of them refuses, and for want of whatever."""
    checked = 0

    async def main(loop):
        nonlocal checked
        for name in NAMES:
            for what, small in SMALL.items():
                rules = [limit(one, **{**LARGE, what: small} if one == name else LARGE) for one in NAMES]
                async with Gateways(loop, gateways, *rules) as several:
                    for number in range(3):
                        await several.limiters[number % gateways].admit(WHO, 200)
                    before = counters(several)
                    for limiter in several.limiters:
                        with pytest.raises(RateLimited, match=name.partition(":")[2] or "all requests"):
                            await limiter.admit(WHO, 200)
                    await asyncio.sleep(1.0)
                    assert before == counters(several)
                    others = [one for one in NAMES if one != name]
                    assert all(3 == sum(used.requests_minute for who, used in before if who == one) for one in others)
                    checked += len(before)

    run_virtually(main)
    proof(f"{gateways} gateways: {len(NAMES) * len(SMALL)} limits refused, each alone: {checked} counters unchanged")


def test_t24_nor_does_it_cost_what_others_could_use():
    """A part that was taken for a request which another name refused is there for the next one."""

    async def main(loop):
        async with Gateways(loop, 2, limit("all", requests=4), limit("user:*", requests=1)) as several:
            first, second = several.limiters
            assert 1 == len((await admitted(first, Who(user="u"), 4))[0])
            assert 3 == sum([len((await admitted(second, Who(user=f"u{number}"), 1))[0]) for number in range(5)])

    run_virtually(main)


async def test_t24_over_http(tmp_path, proof):
    """429 with the time to come again and how the limits stand; nothing else moves."""
    async with Rig(tmp_path, config=CONFIG) as rig, rig.http() as client:

        async def ask(user):
            body = {"model": "first", "max_tokens": 50, "messages": [{"role": "user", "content": "hej"}]}
            return await client.post("/v1/chat/completions", json=body, headers={"x-turnout-user": user})

        served = [await ask(f"user{number}") for number in range(3)]
        before = [(meter.name, meter.used(0.0)) for meter in rig.service.books.limiter._meters]
        calls = rig.world.witness.count
        refused = await ask("user0")
        after = [(meter.name, meter.used(0.0)) for meter in rig.service.books.limiter._meters]
    assert [200] * 3 == [one.status_code for one in served]
    assert ["2", "1", "0"] == [one.headers["x-ratelimit-remaining-requests"] for one in served]
    assert (429, "rate_limited") == (refused.status_code, refused.json()["error"]["code"])
    assert "all requests together" in refused.json()["error"]["message"]
    assert 1 <= int(refused.headers["retry-after"]) <= 61
    assert ("3", "0") == tuple(refused.headers[f"x-ratelimit-{which}-requests"] for which in ("limit", "remaining"))
    assert before == after
    assert calls == rig.world.witness.count
    proof(f"over HTTP: 429, {len(before)} counters unchanged, 0 calls at the vendor")

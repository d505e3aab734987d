"""T24: a request that one limit of several refuses changes none of their counters, and reaches no vendor.

A call counts against its account's quota and its model's own: requests and tokens, a minute and a day, and calls at once.
Each in turn is used up, and the next request is refused by it alone.
"""

from __future__ import annotations

import asyncio

import pytest

from tests.rig import Rig

LIMITS = {
    "requests_per_minute": 3,
    "tokens_per_minute": 1000,
    "requests_per_day": 3,
    "tokens_per_day": 1000,
    "at_once": 3,
}
LARGE = {"requests_per_minute": 100, "tokens_per_minute": 100_000, "requests_per_day": 100, "tokens_per_day": 100_000}
CONFIG = """
defaults: false
providers:
  stub:
    kind: compatible
    base_url: "{{url}}/v1"
    api_key: sk-canary-stub-key-1
    quota: {{{{{account}}}}}
models:
  first: {{{{provider: stub, id: vendor/first, price: free, quota: {{{{{model}}}}}}}}}
timeouts: {{{{total: 30}}}}
"""
CALL = {"model": "first", "max_tokens": 200, "messages": [{"role": "user", "content": "Hej"}]}


def config(where, limit):
    """Everything is large but one limit, of the account or of the model."""
    small = {**LARGE, "at_once": 100, limit: LIMITS[limit]}
    large = {**LARGE, "at_once": 100}
    said = {place: small if place == where else large for place in ("account", "model")}
    return CONFIG.format(
        **{place: ", ".join(f"{key}: {value}" for key, value in of.items()) for place, of in said.items()}
    )


def counters(rig):
    """Every counter of every quota."""
    return {(view.name, gauge.what): gauge.used for view in rig.service.quotas() for gauge in view.gauges}


@pytest.mark.parametrize("where", ["account", "model"])
@pytest.mark.parametrize("limit", LIMITS)
async def test_t24_a_refused_request_costs_nothing(tmp_path, proof, where, limit):
    """429 at once, with the time to come again; requests, tokens and places are as before."""
    async with Rig(tmp_path, config=config(where, limit)) as rig, rig.http() as client:
        loop = asyncio.get_running_loop()
        rig.world.by_model["vendor/first"] = "delay=0.3" if limit == "at_once" else ""
        under_way = []
        for _ in range(20):  # until the next one does not fit
            if limit == "at_once" and len(under_way) == LIMITS[limit]:
                break
            asking = loop.create_task(
                client.post("/v1/chat/completions", json=CALL, headers={"x-turnout-timeout": "0.1"})
            )
            if limit != "at_once" and (await asking).status_code == 429:
                break
            under_way.append(asking)
            while limit == "at_once" and rig.world.witness.open < len(under_way):
                await asyncio.sleep(0.005)
        before, calls = counters(rig), rig.world.witness.count
        refused = await client.post("/v1/chat/completions", json=CALL, headers={"x-turnout-timeout": "0.1"})
        after = counters(rig)
        assert (429, "quota_exhausted") == (refused.status_code, refused.json()["error"]["code"])
        assert int(refused.headers["retry-after"]) >= 1
        assert before == after
        assert calls == rig.world.witness.count
        assert (await asyncio.gather(*under_way))[0].status_code == 200
    proof(f"{limit} of the {where}: refused, {len(before)} counters unchanged, 0 calls at the vendor")

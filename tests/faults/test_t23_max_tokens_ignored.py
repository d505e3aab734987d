"""T23: a vendor that ignores max_tokens is booked as it was, a budget is passed by no more than what was under way cost beyond its reservation, and the next request is refused."""

from __future__ import annotations

import asyncio

import pytest

from tests.rig import Rig

ASKED, AT_ONCE = 10, 4
CONFIG = """
defaults: false
providers: {{stub: {{kind: compatible, base_url: "{url}/v1", api_key: sk-canary-stub-key-1}}}}
models: {{cent: {{provider: stub, id: vendor/cent, price: {{input: 0, output: 1000}}}}}}
budgets: {{all: 0.05/month}}
"""
CENT = 10**7
ASK = {"model": "cent", "max_tokens": ASKED, "messages": [{"role": "user", "content": "hej"}]}


@pytest.mark.overspends("the vendor says more than it was asked for")
@pytest.mark.parametrize("times", [2, 100])
@pytest.mark.parametrize("stream", [False, True])
async def test_t23_what_came_is_booked(tmp_path, proof, times, stream):
    """Four requests of a cent against five cents, each of which costs `times` as much."""
    async with Rig(tmp_path, config=CONFIG) as rig, rig.http() as client:
        rig.world.by_model["vendor/cent"] = f"tokens={ASKED * times}"
        body = {**ASK, "stream": stream}
        answers = await asyncio.gather(*(client.post("/v1/chat/completions", json=body) for _ in range(AT_ONCE)))
        assert [200] * AT_ONCE == [one.status_code for one in answers]
        refused = await client.post("/v1/chat/completions", json=body)
        assert (402, "budget_exceeded") == (refused.status_code, refused.json()["error"]["code"])
        budgets = rig.service.books.budgets
        while (standing := (await budgets.status(9))[0]).spent_nano_usd < AT_ONCE * times * CENT:
            await asyncio.sleep(0.02)
        again = await client.post("/v1/chat/completions", json=body)
        assert (402, AT_ONCE) == (again.status_code, rig.world.witness.count)
    assert AT_ONCE * times * CENT == standing.spent_nano_usd
    over, under_way = standing.spent_nano_usd - 5 * CENT, AT_ONCE * (times - 1) * CENT
    assert 0 < over <= under_way
    proof(
        f"{times} times max_tokens, {AT_ONCE} under way: ${over / 1e9:.2f} over the limit, at most ${under_way / 1e9:.2f} allowed; "
        "the next 2 requests refused before the vendor was asked"
    )

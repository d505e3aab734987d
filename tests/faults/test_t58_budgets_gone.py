"""T58: PostgreSQL gone, and what was taken of a budget in advance is used up: 503 with Retry-After, since nobody can know what is left,
never a vendor's call beyond it; whoever needs nothing of a budget goes on, and so does everybody once it is back.
"""

from __future__ import annotations

import asyncio

from tests.faults.banked import OWNER, booked, until_drained
from tests.postgres_server import PostgresServer
from tests.rig import Rig
from turnout.gateway.people import Allowance, Sum, Wanted

CENT = 10**7
LIMIT = 1280 * CENT
LEASED = 20
"""Requests of a cent that the first one takes a lease for: one part in 64."""

CONFIG = """
defaults: false
providers: {{stub: {{kind: compatible, base_url: "{url}/v1", api_key: sk-canary-stub-key-1}}}}
models:
  cent: {{provider: stub, id: vendor/cent, price: {{input: 0, output: 1000}}}}
  gratis: {{provider: stub, id: vendor/gratis, price: free}}
tasks: {{either: {{models: [cent, gratis]}}}}
tiers: {{default: {{requests_per_minute: 1000000, tokens_per_minute: 1000000000, budget: 1000000/30d}}}}
"""


async def ask(client, model="cent"):
    """One request, that costs a cent with the model of that name."""
    body = {"model": model, "max_tokens": 10, "messages": [{"role": "user", "content": "hej"}]}
    return await client.post("/v1/chat/completions", json=body)


async def test_t58_a_budget_whose_lease_is_used_up_fails_closed(tmp_path, proof):
    """To the cent, and for as long as it is gone."""
    with PostgresServer("synchronous_commit=on") as server:
        where = f"ledger: {{{{url: '{server.new_database()}'}}}}\n"
        async with Rig(tmp_path, config=CONFIG + where) as rig:
            rig.world.by_model["vendor/cent"] = "tokens=10"
            budget = Allowance(None, (Sum(LIMIT),))
            rig.key = (await rig.service.people.create_key(OWNER, Wanted(name="app", allowance=budget))).text
            async with rig.http() as client:
                assert 200 == (await ask(client)).status_code
                server.kill()
                answers = [await ask(client) for _ in range(LEASED - 1 + 5)]
                asked = rig.world.witness.count
                free = await ask(client, "gratis")
                either = await ask(client, "task:either")
                await asyncio.to_thread(server.start)
                async with asyncio.timeout(10):
                    while (back := await ask(client)).status_code != 200:
                        assert 503 == back.status_code
                        await asyncio.sleep(0.05)
            await until_drained(rig)
            spent = {one.rule: one.spent_nano_usd for one in await rig.service.books.budgets.status(9)}
            dispatched = rig.world.witness.count
        assert (dispatched, dispatched) == booked(server)
    assert [200] * (LEASED - 1) + [503] * 5 == [one.status_code for one in answers]
    for refused in answers[LEASED - 1 :]:
        error = refused.json()["error"]
        assert ("budget_unknown", "1") == (error["code"], refused.headers["retry-after"])
        assert "Whether a budget has room cannot be known now" in error["message"]
    assert (LEASED, 200) == (asked, free.status_code)
    assert (200, "gratis") == (either.status_code, either.headers["x-turnout-model"])
    assert {(dispatched - 2) * CENT} == set(spent.values())  # two were free
    proof(
        f"{LEASED} requests of what was taken in advance, then 503 with Retry-After and no call; free models, those behind one that is not, and the way back: 200"
    )

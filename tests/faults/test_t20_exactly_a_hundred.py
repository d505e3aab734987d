"""T20: of a thousand requests of one cent that come at once against a budget of one dollar, exactly a hundred succeed, and the others are told 402.

With one, two and four workers, on SQLite and on PostgreSQL; the vendor's own record is the second book.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import contextmanager

import httpx2
import pytest

from tests.postgres_server import PostgresServer
from tests.process import Served, SimulatedVendor, turnout

CENT_TOKENS = 10
CONFIG = """
defaults: false
ledger: {ledger}
providers: {{stub: {{kind: compatible, base_url: "{url}/v1", api_key: sk-canary-stub-key-1}}}}
models: {{cent: {{provider: stub, id: vendor/cent, price: {{input: 0, output: 1000}}}}}}
budgets: {{all: 1/month}}
server: {{concurrency: 5000}}
"""
MORE = (("SQLite", 1), ("SQLite", 4), ("PostgreSQL", 1), ("PostgreSQL", 2), ("PostgreSQL", 4))
ASK = {"model": "cent", "max_tokens": CENT_TOKENS, "messages": [{"role": "user", "content": "hej"}]}


@contextmanager
def ledger_of(database):
    """What the config says of the ledger. A server that begins here also ends here (I4)."""
    if database == "SQLite":
        yield "{}"
    else:
        with PostgresServer() as server:
            yield json.dumps({"url": server.new_database()})


async def ask(client, gateway):
    """One request; again if it was shed, since a busy machine may not carry a thousand at once."""
    for _ in range(50):
        answer = await client.post(f"{gateway.url}/v1/chat/completions", json=ASK)
        if answer.status_code != 503:
            break
        await asyncio.sleep(float(answer.headers["retry-after"]))
    return answer


async def asked(home, vendor, ledger, workers, requests):
    """Ask all at once, each on its own connection; return the answers, and what `turnout budget status` tells after it."""
    async with vendor:
        (home / "turnout.yaml").write_text(CONFIG.format(url=vendor.origin, ledger=ledger), encoding="utf-8")
        arguments = ("--port", "0", *(("--workers", str(workers)) if workers > 1 else ()))
        async with Served(home, *arguments, vendor=vendor) as gateway:
            limits = httpx2.Limits(max_connections=requests)
            headers = {"authorization": f"Bearer {gateway.key}"}
            async with httpx2.AsyncClient(limits=limits, timeout=60, headers=headers) as client:
                answers = await asyncio.gather(*(ask(client, gateway) for _ in range(requests)))
        code, told, errors = await turnout(home, "budget", "status", "--json")
    assert (0, "") == (code, errors)
    return answers, told


@pytest.mark.parametrize(
    ("database", "workers"),
    [("SQLite", 2), *(pytest.param(*each, marks=pytest.mark.prove) for each in MORE)],
)
async def test_t20_a_dollar_is_a_hundred_cents(tmp_path, database, workers, size, proof):
    """Exactly, whoever asks."""
    requests = size(200, 1000)
    vendor = SimulatedVendor(tmp_path, "--fault-for", "*", f"tokens={CENT_TOKENS}")
    with ledger_of(database) as ledger:
        answers, told = await asked(tmp_path, vendor, ledger, workers, requests)
    served = [one.status_code for one in answers].count(200)
    refused = [one for one in answers if one.status_code == 402]
    assert (100, requests - 100) == (served, len(refused)), sorted({one.text for one in answers})[:3]
    assert 100 == len(vendor.witnessed())
    assert {"budget_exceeded"} == {one.json()["error"]["code"] for one in refused}
    assert "'all' of $1.00" in refused[0].json()["error"]["message"]
    (standing,) = json.loads(told)["budgets"]
    assert ("1.00", "0.00", "0.00") == tuple(standing[f"{name}_usd"] for name in ("spent", "held", "left"))
    proof(
        f"{workers} worker{'s' * (workers > 1)} on {database}: {served} of {requests} answered, {len(refused)} times 402, "
        "overshoot $0.00"
    )

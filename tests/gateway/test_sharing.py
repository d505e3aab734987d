"""gateway/sharing.py: a gateway with and without others."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from tests.process import turnout
from tests.rig import Rig
from tests.valkey_server import ValkeyServer

CONFIG = """
valkey: {{url: "VALKEY"}}
providers:
  stub:
    kind: compatible
    base_url: "{url}/v1"
    api_key: sk-canary-stub-key-1
    quota: {{requests_per_minute: 4}}
models:
  first: {{provider: stub, id: vendor/first, price: free}}
tasks:
  work: {{models: [first], cache: 5m}}
"""


async def asked(rig, text, **headers):
    """Ask; return the status and what the cache says."""
    async with rig.http(x_turnout_timeout="0.2", **headers) as client:
        body = {"model": "work", "messages": [{"role": "user", "content": text}]}
        answer = await client.post("/v1/chat/completions", json=body)
    return answer.status_code, answer.headers.get("x-turnout-cache")


async def settled(rig):
    async with asyncio.timeout(15):
        while not rig.service.sharing.is_settled:
            await asyncio.sleep(0.01)


async def test_two_gateways_share_quota_and_answers(tmp_path):
    """Four calls a minute for both, and what one was told the other knows; each says in its metrics that it shares."""
    homes = [tmp_path / "one", tmp_path / "other"]
    for home in homes:
        home.mkdir()
    async with ValkeyServer(tmp_path) as server:
        config = CONFIG.replace("VALKEY", server.url)
        async with AsyncExitStack() as stack:
            one = await stack.enter_async_context(Rig(homes[0], config=config))
            same = config.replace("{url}", f"{one.vendor_url}/v1")
            other = await stack.enter_async_context(Rig(homes[1], config=same))
            await settled(one)
            await settled(other)
            assert (200, "miss") == await asked(one, "a")
            async with asyncio.timeout(5):
                while await server.ask("DBSIZE") < 2:
                    await asyncio.sleep(0.01)
            assert (200, "hit") == await asked(other, "a")
            told = [await asked(rig, f"{number}") for number in range(4) for rig in (one, other)]
            assert 3 == sum(one == (200, "miss") for one in told)
            assert {200, 429} == {status for status, _ in told}
            assert 4 == one.world.witness.count
            assert b"turnout_valkey_up 1.0" in one.service.metrics()


async def test_without_valkey_there_is_nothing_of_it(tmp_path):
    """No link, no metrics, no leave to ask for."""
    async with Rig(tmp_path) as rig:
        assert (None, None) == (rig.service.sharing, rig.service.engine.scheduler.shared)
        assert b"valkey" not in rig.service.metrics()


async def test_a_url_that_cannot_be_used_stops_the_start(tmp_path):
    """As every error of the configuration: exit code 2, and what to write instead."""
    url = "redis://127.0.0.1:1/0?socket_timeout=canary"
    (tmp_path / "turnout.yaml").write_text(f'valkey: {{url: "{url}"}}\n', encoding="utf-8")
    code, _, told = await turnout(tmp_path, "serve", "--port", "0")
    assert (2, True, False) == (code, "valkey.url" in told, "canary" in told)

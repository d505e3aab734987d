"""T15: while every vendor fails, the gateway adds at most a fifth to their load, and tells its clients not to try again."""

from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
import msgspec
import pytest

from tests.bench.load import chat_wire
from tests.bench.sse_load import COMPLETE, REFUSAL, REFUSED, TOTAL, constant_rate
from tests.process import Served, SimulatedVendor

RATE_PER_S = 200
ASK = {"model": "task:work", "messages": [{"role": "user", "content": "hej"}]}

CONFIG = """
defaults: false
providers:
  one: {{kind: compatible, base_url: "{url}/v1", api_key: sk-canary-one-key}}
  two: {{kind: anthropic, base_url: "{url}", api_key: sk-canary-two-key}}
  three: {{kind: compatible, base_url: "{url}/v1", api_key: sk-canary-three-key}}
models:
  first: {{provider: one, id: first, price: {{input: 1, output: 2}}}}
  second: {{provider: two, id: second, price: {{input: 1, output: 2}}, max_output: 4096}}
  third: {{provider: three, id: third, price: free}}
tasks:
  work: {{models: [first, second, third], because: "in this order"}}
timeouts: {{first_chunk: 5, total: 10}}
"""


SYNCED_IN_MEMORY = Path("/dev/shm")  # noqa: S108  a folder of our own in it
"""The witness syncs two records a call: on a disk that, and not the gateway, would be what is measured."""


@pytest.fixture
def folder():
    """For the vendor's records."""
    with TemporaryDirectory(dir=SYNCED_IN_MEMORY if SYNCED_IN_MEMORY.is_dir() else None) as path:
        yield Path(path)


async def test_t15_no_storm_while_all_fail(tmp_path, folder, size, proof):
    """200 requests a second for a minute (3 s in quick), first sound, then all vendors failing.

    The share is one of all requests of the last ten seconds, so the sound ones before count too.
    """
    seconds, sound_s = size(3, 60), size(0.5, 10)
    async with SimulatedVendor(folder) as vendor:
        (tmp_path / "turnout.yaml").write_text(CONFIG.format(url=vendor.origin), encoding="utf-8")
        async with (
            Served(tmp_path, "--port", "0", vendor=vendor) as gateway,
            httpx2.AsyncClient() as by_hand,
            gateway.http() as client,
        ):
            port = int(gateway.url.rpartition(":")[2])
            wire = chat_wire(port, msgspec.json.encode(ASK), [("authorization", f"Bearer {gateway.key}")])
            normal = await constant_rate(port, wire, rate_per_s=RATE_PER_S, seconds=sound_s, connections=100)
            scripts = {"first": "status=500", "second": "status=500", "third": "status=503"}
            await by_hand.put(f"{vendor.origin}/faults", json={"queue": [], "by_model": scripts})
            failing = await constant_rate(port, wire, rate_per_s=RATE_PER_S, seconds=seconds, connections=100)
            dispatches = len(vendor.witnessed()) - normal.count(COMPLETE)
            last = await client.post("/v1/chat/completions", json=ASK)
    requests, sound = RATE_PER_S * seconds, normal.count(COMPLETE)
    assert sound == RATE_PER_S * sound_s
    assert failing.count(REFUSED) == requests
    assert set(failing.statuses) <= {502, 503}
    assert requests <= dispatches <= 1.2 * requests + 0.2 * sound + 3
    assert last.headers["x-should-retry"] == "false"
    usual_s, now_s = normal.percentile(TOTAL, 0.99), failing.percentile(REFUSAL, 0.99)
    assert now_s <= 2 * usual_s + size(10, 0.01)  # three seconds beside other tests say nothing about a percentile
    proof(
        f"{dispatches} calls for {requests} requests ({dispatches / requests:.3f}; with the {sound} sound ones just before "
        f"{(dispatches + sound) / (requests + sound):.3f}); "
        f"p99 {now_s * 1000:.1f} ms, normally {usual_s * 1000:.1f} ms"
    )

"""The real SmolLM2 as the last resort: when every vendor fails, this machine answers."""

import os
from pathlib import Path

import pytest

from tests.process import Served
from tests.rig import Rig

pytestmark = pytest.mark.local_model

CONFIG = """
providers:
  stub: {{kind: compatible, base_url: "{url}/v1", api_key: sk-canary-stub-key-1}}
  here: {{kind: local}}
models:
  first: {{provider: stub, id: vendor/first, price: free}}
  smollm2: {{provider: here, price: free}}
tasks:
  work: {{models: [first, smollm2], price_ceiling: free}}
timeouts: {{first_chunk: 60, total: 100}}
"""
MESSAGES = [{"role": "user", "content": "Say hello in five words."}]


def is_alive(pid):
    """Whether a process with this id runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_when_every_vendor_fails_this_machine_answers_and_its_process_ends_with_the_gateway(tmp_path):
    """By the openai SDK, whole and streamed; free, with real token counts, and the child is gone after the stop."""
    async with Rig(tmp_path, config=CONFIG) as rig, rig.openai() as client:
        rig.world.by_model["vendor/first"] = "503"
        (local,) = rig.service._locals.values()
        pid = local.pid
        assert is_alive(pid)
        raw = await client.chat.completions.with_raw_response.create(
            model="task:work", messages=MESSAGES, max_tokens=12, temperature=0
        )
        whole = raw.parse()
        stream = await client.chat.completions.create(
            model="task:work", messages=MESSAGES, max_tokens=12, temperature=0, stream=True
        )
        chunks = [chunk async for chunk in stream]
        later, first = await rig.traced()
        rig.write_config(CONFIG.replace("price_ceiling: free", "because: reloaded"))
        assert rig.service.reload() == ()
        again = await client.chat.completions.create(model="smollm2", messages=MESSAGES, max_tokens=2)
    assert raw.headers["x-turnout-model"] == "smollm2"
    assert raw.headers["x-turnout-provider"] == "here"
    assert raw.headers["x-turnout-cost"] == "0.000000"
    assert whole.choices[0].message.content
    assert whole.usage.completion_tokens <= 12
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert [one.choices[0].finish_reason for one in chunks if one.choices and one.choices[0].finish_reason]
    assert [attempt.model for attempt in first.attempts] == ["first", "smollm2"]
    assert later.attempts[-1].usage.basis == "exact"
    assert again.choices[0].message.content
    assert not is_alive(pid)


async def test_its_process_ends_with_a_served_gateway_too(tmp_path):
    """`turnout serve`, ended by a service manager."""
    (tmp_path / "turnout.yaml").write_text(CONFIG.format(url="http://127.0.0.1:1"))
    async with Served(tmp_path) as gateway, gateway.http() as client:
        asked = {"model": "smollm2", "messages": MESSAGES, "max_tokens": 2}
        answer = await client.post("/v1/chat/completions", json=asked, timeout=60)
        assert answer.status_code == 200
        children = Path(f"/proc/{gateway.process.pid}/task/{gateway.process.pid}/children").read_text()
        pids = [int(pid) for pid in children.split()]
        assert await gateway.stop() == 0
    assert len(pids) == 1
    assert not is_alive(pids[0])

"""T40: no workspace ever gets, waits for or learns of what another asked, with cache and coalescing on.

Eight workspaces ask through one engine, many at a time, a third of their questions word for word the same. Each answer of
the vendor carries the id of the request that it was made for, so every answer tells whose it is.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import time

from tests.gateway.lab import CONFIG, Client, Lab, chunk, read
from tests.rig import CONFIG as RIG_CONFIG
from tests.rig import Rig
from turnout.core.plan import Ask
from turnout.gateway.memory_transport import Scripted

CACHED = CONFIG.replace("\ntasks:", "\ncache: {ttl: 1h, size: 8 MiB, max_answer: 64 KiB}\ntasks:")
WORKSPACES = ("", "a", "b", "A", "a ", "a\n", '["a"]', "ab")
END = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


class Town:
    """One engine whose vendor signs every answer with the request that it is for."""

    def __init__(self, folder):
        self.gate = asyncio.Event()
        self.gate.set()
        self.calls = 0
        self.lab = Lab(folder, self._answer, config=CACHED)

    def _answer(self, outgoing):
        self.calls += 1
        signed = f"for {dict(outgoing.headers)['x-request-id']}."
        if b'"stream":true' in bytes(outgoing.body):
            return Scripted(body=(chunk("signed "), self.gate, chunk(signed), END))
        message = {"role": "assistant", "content": signed}
        told = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
        return Scripted(body=(self.gate, json.dumps(told).encode()))

    async def ask(self, request_id, workspace, content, *, stream):
        """One request; returns the client."""
        body = {"model": "task:alone", "messages": [{"role": "user", "content": content}], "stream": stream}
        call = read(body)
        client = Client()
        asked = Ask(call.name, stream=stream, input_tokens=call.input_tokens, workspace=workspace)
        await self.lab.engine.serve(call, asked, request_id, client)
        return client


async def test_t40_no_byte_crosses(size, seed, proof, tmp_path):
    """Every answer was made for the workspace that gets it, and none says `hit` to who never asked."""
    chance = random.Random(seed)
    town = Town(tmp_path)
    count, at_once = size(4_000, 200_000), 40
    whose, asked_before = {}, set()
    told = {"miss": 0, "hit": 0, "coalesced": 0}
    for batch in range(count // at_once):
        town.gate.clear()
        running = []
        for number in range(at_once):
            request_id = f"r{batch}-{number}."
            workspace = chance.choice(WORKSPACES)
            same = f"the same question {batch // 8}, {chance.randrange(3)}"
            content = same if chance.random() < 0.3 else f"mine {chance.randrange(10**9)}"
            stream = chance.random() < 0.5
            whose[request_id] = workspace
            task = asyncio.ensure_future(town.ask(request_id, workspace, content, stream=stream))
            running.append((workspace, content, stream, task))
        for _ in range(30):
            await asyncio.sleep(0)
        town.gate.set()
        await asyncio.gather(*[task for *_, task in running])
        for workspace, content, stream, task in running:
            client = task.result()
            maker = client.body.split(b"for ")[1].split(b".-")[0].decode() + "."
            assert whose[maker] == workspace
            how = client.headers["x-turnout-cache"]
            told[how] += 1
            question = (workspace, content, stream)
            assert how == "miss" or question in asked_before or sum(one[:3] == question for one in running) > 1
        asked_before.update(one[:3] for one in running)
        town.lab.ended.clear()
        town.lab.transport.sent.clear()
    assert told["hit"] > 0
    assert told["coalesced"] > 0
    assert town.calls == told["miss"]
    proof(
        f"{count} requests of {len(WORKSPACES)} workspaces, 30 % of them the same: 0 answers crossed "
        f"({told['hit']} from the cache, {told['coalesced']} together with others)"
    )


async def test_t40_a_foreign_answer_takes_as_long_as_none(size, seed, proof, tmp_path):
    """What another workspace has asked costs a call, and the time of a question that nobody asked."""
    town = Town(tmp_path)
    pairs = size(200, 2_000)
    took = {"nobody": [], "foreign": []}
    chance = random.Random(seed)
    for number in range(pairs):
        await town.ask(f"s{number}", "a", f"secret {number}", stream=False)
        both = [("foreign", f"secret {number}"), ("nobody", f"public {number}")]
        chance.shuffle(both)
        for kind, content in both:
            began = time.perf_counter()
            client = await town.ask(f"{kind}{number}", "b", content, stream=False)
            took[kind].append(time.perf_counter() - began)
            assert client.headers["x-turnout-cache"] == "miss"
            assert "age" not in client.headers
        town.lab.ended.clear()
    assert town.calls == 3 * pairs
    nobody, foreign = (statistics.median(took[kind]) for kind in ("nobody", "foreign"))
    ratio = foreign / nobody
    assert 0.8 < ratio < 1.25
    proof(f"a question that another workspace asked takes {ratio:.2f} of the time of one that nobody asked (median)")


async def test_t40_workspaces_on_the_wire(tmp_path):
    """The header `x-turnout-workspace` parts them; without it there is one more."""
    config = RIG_CONFIG.replace("\ntasks:", "\ncache: {{ttl: 5m}}\ntasks:")
    async with Rig(tmp_path, config=config) as rig, rig.http() as client:
        told = []
        for workspace in ("", "a", "b", "a", "b", ""):
            headers = {"x-turnout-workspace": workspace} if workspace else {}
            body = {"model": "task:alone", "messages": [{"role": "user", "content": "hej"}]}
            answer = await client.post("/v1/chat/completions", json=body, headers=headers)
            told.append(answer.headers["x-turnout-cache"])
        assert told == ["miss", "miss", "miss", "hit", "hit", "hit"]
        assert len(rig.world.witness.dispatches) == 3
        refused = await client.post("/v1/chat/completions", json=body, headers={"authorization": "Bearer wrong"})
        assert refused.status_code == 401

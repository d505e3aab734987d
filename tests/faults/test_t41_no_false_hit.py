"""T41: whatever differs in a request is another question, and only good answers are given again.

Each field is changed in turn, known to us or not; what JSON says to be the same is the same, what parsers disagree on is
not answered from the cache at all.
"""

from __future__ import annotations

import json

import httpx2
import pytest

from tests.rig import CONFIG, Rig

CACHED = CONFIG.replace("\ntasks:", "\ncache: {{ttl: 5m}}\ntasks:")
TOOL = {"type": "function", "function": {"name": "lookUp", "parameters": {"type": "object", "properties": {}}}}

BASE = {
    "model": "first",
    "messages": [{"role": "system", "content": "Vær kort."}, {"role": "user", "content": "Hej"}],
    "temperature": 0.5,
    "unknown": {"a": [1, {"b": None}]},
}

CHANGES = {
    "model": "second",
    "messages": [{"role": "system", "content": "Vær kort."}, {"role": "user", "content": "Hej "}],
    "temperature": 0.50001,
    "unknown": {"a": [1, {"b": None, "c": 0}]},
    "frequency_penalty": 0.1,
    "function_call": "none",
    "functions": [],
    "logit_bias": {"50256": -100},
    "logprobs": True,
    "max_completion_tokens": 500,
    "max_tokens": 500,
    "metadata": {"x": "1"},
    "modalities": ["text"],
    "n": 1,
    "parallel_tool_calls": False,
    "prediction": {"type": "content", "content": "x"},
    "presence_penalty": 0.1,
    "prompt_cache_key": "x",
    "reasoning_effort": "low",
    "response_format": {"type": "text"},
    "safety_identifier": "x",
    "seed": 1,
    "service_tier": "auto",
    "stop": ["x"],
    "stream": True,
    "stream_options": {"include_usage": True},
    "tool_choice": "none",
    "tools": [TOOL],
    "top_logprobs": 1,
    "top_p": 0.5,
    "user": "x",
    "verbosity": "low",
    "something_new": "",
    "": 1,
    "æ": 1,
}


async def asked(client, body, headers=None):
    """What one request is told of the cache. body: bytes, or what is written as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    more = {"content-type": "application/json", **(headers or {})}
    try:
        answer = await client.post("/v1/chat/completions", content=content, headers=more)
    except httpx2.RemoteProtocolError:
        return "broken off"
    return answer.headers.get("x-turnout-cache")


async def test_t41_every_field_counts(proof, tmp_path):
    """Changed, it is a miss; the same again is a hit, and so is the first one still."""
    async with Rig(tmp_path, config=CACHED) as rig, rig.http() as client:
        assert [await asked(client, BASE) for _ in range(2)] == ["miss", "hit"]
        for name, value in CHANGES.items():
            changed = BASE | {name: value}
            assert (name, await asked(client, changed)) == (name, "miss")
            again = await asked(client, changed)
            assert (name, again) == (name, "miss" if name == "tools" else "hit")
        for left_out in ("temperature", "unknown"):
            rest = {name: value for name, value in BASE.items() if name != left_out}
            assert await asked(client, rest) == "miss"
        assert await asked(client, BASE) == "hit"
    proof(f"{len(CHANGES)} fields changed, one at a time: 0 false hits; the same body again: all hits")


async def test_t41_what_json_calls_the_same_is_the_same(tmp_path):
    """Order of members, white space, escapes; not the way in which a number is written, and no member given twice."""
    async with Rig(tmp_path, config=CACHED) as rig, rig.http() as client:
        assert await asked(client, BASE) == "miss"
        turned = dict(reversed(BASE.items()))
        turned["messages"] = [dict(reversed(one.items())) for one in BASE["messages"]]
        plain = json.dumps(BASE, ensure_ascii=False, separators=(",", ":")).encode()
        for same in (turned, json.dumps(turned, indent=3).encode(), plain, plain.replace(b"Hej", b"\\u0048ej")):
            assert await asked(client, same) == "hit"
        for other in (b"0.50", b"0.500", b"1", b"1.0", b"1.00", b"0.5000000000000000000001"):
            assert await asked(client, plain.replace(b"0.5", other, 1)) == "miss"
        twice = plain.replace(b'{"b":null}', b'{"b":1,"b":null}')
        assert [await asked(client, twice) for _ in range(2)] == ["bypass", "bypass"]
        at_the_top = plain.replace(b'{"model"', b'{"temperature":0.1,"model"')
        assert await asked(client, at_the_top) is None  # refused: 400


@pytest.mark.parametrize("stream", [False, True])
async def test_t41_only_good_answers_are_given_again(tmp_path, stream):
    """No error, nothing that was cut, nothing by another model than the one that was named."""
    config = CACHED.replace("id: vendor/first, ", "id: vendor/first, fallbacks: [second], ")
    async with Rig(tmp_path, config=config) as rig, rig.http() as client:
        body = {**BASE, "model": "task:alone", "stream": stream}
        for fault in ("401", "cut-event=2" if stream else "cut"):
            rig.world.by_model["vendor/first"] = fault
            assert await asked(client, body) in {None, "broken off"}
            rig.service.engine.health.succeeded("first@stub")
        rig.world.by_model.clear()
        assert [await asked(client, body) for _ in range(2)] == ["miss", "hit"]
        short = {**body, "max_tokens": 3}
        assert [await asked(client, short) for _ in range(2)] == ["miss", "miss"]
        named = {**BASE, "model": "first", "stream": stream, "seed": 5}
        rig.world.by_model["vendor/first"] = "503"
        assert [await asked(client, named) for _ in range(2)] == ["miss", "miss"]
        assert rig.world.witness.dispatches[-1].model == "vendor/second"
        rig.world.by_model.clear()
        rig.service.engine.health.succeeded("first@stub")
        assert [await asked(client, named) for _ in range(2)] == ["miss", "hit"]


async def test_t41_what_has_effects_is_done_every_time(proof, tmp_path):
    """Stored at the vendor, run by the vendor, or a call of a tool that is not said to be safe."""
    safe = CACHED.replace("ttl: 5m", "ttl: 5m, safe_tools: [lookUp]")
    booking = {**TOOL, "function": {**TOOL["function"], "name": "createBooking"}}
    effects = {
        "store": {"store": True},
        "search": {"web_search_options": {}, "plugins": [{"id": "web"}]},
        "vendor's tool": {"tools": [{"type": "web_search"}]},
        "booking": {"tools": [booking], "tool_choice": "required"},
    }
    async with Rig(tmp_path, config=safe) as rig, rig.http() as client:
        before = 0
        for what, more in effects.items():
            told = [await asked(client, BASE | more) for _ in range(2)]
            assert (what, "hit" in told) == (what, False)
            assert (what, len(rig.world.witness.dispatches) - before) == (what, 2)
            before = len(rig.world.witness.dispatches)
        looked_up = BASE | {"tools": [TOOL], "tool_choice": "required"}
        assert [await asked(client, looked_up) for _ in range(2)] == ["miss", "hit"]
        no_store = {"cache-control": "no-store"}
        assert [await asked(client, BASE, no_store) for _ in range(2)] == ["bypass", "bypass"]
    proof(f"{len(effects)} kinds of requests with effects: each was made every time that it was asked")

"""MESSAGES: a stream that stalls, is cut or is reset always makes Anthropic's own SDK raise, whoever is behind."""

import asyncio
import random

import anthropic
import httpx2
import pytest

from tests.faults.sdk import paid
from tests.rig import Rig

AT_ONCE = 25
IDLE_S = 0.3
FAULTS = ("stall", "cut", "reset")
FIRST_EVENTS = {"openai": 2, "claude": 4}
"""How many events must have come before a fault for the client to have seen content."""


async def raised(client, model):
    """The error's code, "" if the SDK took the stream for whole; the stop reasons that it was told."""
    reasons = []
    asked = {"model": model, "max_tokens": 200, "messages": [{"role": "user", "content": "Skriv en mail til Mette"}]}
    try:
        async for event in await client.messages.create(stream=True, **asked):
            reasons += [event.delta.stop_reason] if event.type == "message_delta" else []
    except anthropic.APIError as error:
        body = error.body if isinstance(error.body, dict) else {}
        return body.get("error", {}).get("code", "") or type(error).__name__, reasons
    return "", reasons


@pytest.mark.parametrize("upstream", ["claude", "openai"])
async def test_messages_a_broken_stream_always_makes_anthropics_sdk_raise(tmp_path, size, seed, proof, upstream):
    """Each breaks after a random number of events past the first content; forwarded and translated."""
    runs = size(60, 600)
    chance = random.Random(seed)
    told = []
    async with Rig(tmp_path, config=paid(idle=str(IDLE_S))) as rig:
        http = httpx2.AsyncClient(verify=False, timeout=30)
        async with anthropic.AsyncAnthropic(
            base_url=rig.url, api_key=rig.key, max_retries=0, http_client=http
        ) as client:
            for begin in range(0, runs, AT_ONCE):
                count = min(AT_ONCE, runs - begin)
                first = FIRST_EVENTS[upstream]
                for number in range(begin, begin + count):
                    fault = FAULTS[number % len(FAULTS)]
                    rig.world.queue.append(f"{fault}-event={chance.randint(first, first + 6)}")
                told += await asyncio.gather(*(raised(client, f"{upstream}-alone") for _ in range(count)))
        traces = await rig.traced()
    count = sum(code == "stream_interrupted" for code, _ in told)
    assert {code for code, _ in told} == {"stream_interrupted"}
    assert [reasons for _, reasons in told if reasons] == []
    assert {trace.outcome for trace in traces} == {"stream_interrupted"}
    behind = {"claude": "a vendor of the same format", "openai": "a vendor of another format"}[upstream]
    proof(f"{behind}: {count} of {runs} stalled, cut and reset streams made Anthropic's SDK raise")

"""T08: a reply that comes after our timeout reaches nobody: its connection is closed, and what is asked next gets its own."""

import asyncio
import json
import random
import re

import pytest

from tests.faults.sdk import ask, paid, quick
from tests.gateway.wire import serving
from tests.rig import Rig

LIMIT_S = 0.02
AT_ONCE = 10


def whole(name):
    """A chat reply that repeats the request's own word."""
    message = {"role": "assistant", "content": name}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    body = json.dumps({"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage}).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def streamed(name):
    """The same as a stream."""
    text = {"index": 0, "delta": {"content": name}, "finish_reason": None}
    end = {"index": 0, "delta": {}, "finish_reason": "stop"}
    events = [json.dumps({"object": "chat.completion.chunk", "choices": [one]}) for one in (text, end)]
    body = "".join(f"data: {event}\n\n" for event in [*events, "[DONE]"]).encode()
    return b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


async def asked(client, name, *, stream):
    return await ask(client, "openai-alone", stream=stream, messages=[{"role": "user", "content": name}])


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_t08_the_next_request_is_clean(tmp_path, size, proof, stream):
    """Every late reply is written after the client had its 504; then one request by the same pool, which must be its own."""
    runs = size(100, 1000)
    late: dict[str, asyncio.Event] = {}
    reply = streamed if stream else whole

    async def script(peer):
        while True:
            name = re.search(rb"(late|next)-\d+", await peer.request())[0].decode()
            if name in late:
                await late[name].wait()
            await peer.answer(reply(name))

    async def run(number):
        name = f"late-{number}"
        late[name] = asyncio.Event()
        told = await asked(client, name, stream=stream)
        late[name].set()
        return told, await asked(client, f"next-{number}", stream=stream)

    async with serving(script) as server:
        config = paid(first_chunk=str(LIMIT_S)).replace('"{url}', f'"http://127.0.0.1:{server.port}')
        # What is asked next has time: a busy machine is no late vendor.
        config = config.replace("models: [openai]", "models: [openai], max_retries: 0")
        async with Rig(tmp_path, config=config) as rig, quick(rig) as client:
            results = []
            for begin in range(0, runs, AT_ONCE):
                results += await asyncio.gather(*(run(number) for number in range(begin, min(begin + AT_ONCE, runs))))
        closed = server.closed
    clean = sum(after.text == f"next-{number}" for number, (_, after) in enumerate(results))
    slow = sum(after.status == 504 for _, after in results)
    assert {told.status for told, _ in results} == {504}
    assert clean + slow == runs
    assert slow <= runs // 10, "the machine is too busy to tell"
    assert closed >= runs
    proof(f"{clean} of {runs - slow} requests after a late reply were clean; {closed} connections closed")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_t08_around_the_limit(tmp_path, size, seed, proof, stream):
    """Replies that come at about the limit, a little sooner or later: everybody gets their own words or a 504."""
    runs = size(100, 1000)
    chance = random.Random(seed)
    reply = streamed if stream else whole

    async def script(peer):
        while True:
            name = re.search(rb"word-\d+", await peer.request())[0].decode()
            await asyncio.sleep(LIMIT_S * chance.uniform(0.8, 1.2))
            await peer.answer(reply(name))

    async with serving(script) as server:
        config = paid(first_chunk=str(LIMIT_S)).replace('"{url}', f'"http://127.0.0.1:{server.port}')
        async with Rig(tmp_path, config=config) as rig, quick(rig) as client:
            told = []
            for begin in range(0, runs, AT_ONCE):
                names = [f"word-{number}" for number in range(begin, min(begin + AT_ONCE, runs))]
                told += await asyncio.gather(*(asked(client, name, stream=stream) for name in names))
    own = sum(one.text == f"word-{number}" for number, one in enumerate(told))
    late = sum(one.status == 504 for one in told)
    assert own + late == runs, [one for one in told if one.status not in {0, 504}][:3]
    proof(f"replies within 20 % of the limit: {own} own, {late} in time refused, 0 of somebody else's")

"""An engine whose answers are kept, and ways to ask it."""

import asyncio
import json

from tests.gateway.lab import ANSWER, CONFIG, Client, Lab, chunk, read
from turnout.core.plan import Ask
from turnout.gateway.memory_transport import Scripted

CACHED = CONFIG.replace("\ntasks:", "\ncache: {ttl: 5m}\ntasks:")
DONE = b"data: [DONE]\n\n"
END = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
STREAM = Scripted(body=(chunk("He"), chunk("j"), END, DONE))


def answer(text="Hej", reason="stop", **message):
    """A whole answer."""
    told = {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": reason}
    return Scripted(body=(json.dumps({**ANSWER, "choices": [told]}).encode(),))


def lab_of(tmp_path, answers, config=CACHED):
    """An engine whose tasks, routes and models all keep their answers."""
    return Lab(tmp_path, answers, config=config)


async def ask(lab, name="task:work", client=None, control="", workspace="", user="", **fields):
    """One exchange; returns the client, or raises what it would be told."""
    client = client or Client()
    call = read({"model": name, "messages": [{"role": "user", "content": "Hej"}], **fields})
    asked = Ask(
        call.name,
        user=user,
        stream=call.stream,
        needs=call.needs,
        tools=call.tools,
        input_tokens=call.input_tokens,
        workspace=workspace,
        cache_control=control,
    )
    await lab.engine.serve(call, asked, lab.clock.request_id(), client)
    return client


def begin(lab, client=None, **more):
    """One exchange in a task of its own, which is cancelled when its client leaves."""
    client = client or Client()
    task = asyncio.ensure_future(ask(lab, client=client, **more))
    client.on_gone = task.cancel
    return client, task


def leave(client):
    """What the edge does when a client goes."""
    gone, client.on_gone = client.on_gone, None
    gone()


async def turns(count=20):
    """Let everybody go on who can."""
    for _ in range(count):
        await asyncio.sleep(0)


def caches(*clients):
    """What each was told of the cache."""
    return [client.headers.get("x-turnout-cache") for client in clients]

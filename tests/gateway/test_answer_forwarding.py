"""Answers on their way to the client: whole, streamed, translated, and at the client's pace."""

import asyncio
import json

import pytest

from tests.gateway.lab import OK, Client, Lab, chunk, outcomes
from turnout.errors import UpstreamFault
from turnout.gateway.memory_transport import Scripted

DONE = b"data: [DONE]\n\n"


class Flickering(Client):
    """Paused for exactly as long as it takes to ask once."""

    def __init__(self):
        super().__init__()
        self.looks = 0

    @property
    def is_paused(self):
        self.looks += 1
        return self.looks == 1

    @is_paused.setter
    def is_paused(self, value):
        pass


async def test_a_whole_answer_passes_untouched_with_who_gave_it_and_what_it_cost(tmp_path):
    """10 tokens in at 1,000 and 5 out at 2,000 nano-dollars."""
    lab = Lab(tmp_path, {"stub": [OK]})
    client = await lab.ask("first")
    assert (client.status, client.body, client.ended) == (200, OK.body[0], "answer")
    assert client.headers["x-turnout-cost"] == "0.000020"
    assert client.headers["x-request-id"] == "req_1"
    assert dict(lab.transport.sent[0].headers)["x-request-id"] == "req_1-1"
    assert outcomes(lab) == (None, [("first@stub", None)])


async def test_a_stream_passes_as_it_comes(tmp_path):
    """Nothing before the first content, everything after it."""
    gate = asyncio.Event()
    role = b'data: {"choices":[{"index":0,"delta":{"role":"assistant"}}]}\n\n'
    lab = Lab(tmp_path, {"stub": [Scripted(body=(role, chunk("He"), gate, chunk("j"), DONE))]})
    client = Client()
    task = asyncio.ensure_future(lab.ask("first", client, stream=True))
    while not client.body:
        await asyncio.sleep(0)
    assert client.body == role + chunk("He")
    gate.set()
    await task
    assert client.body == role + chunk("He") + chunk("j") + DONE
    assert client.ended == "finish"
    assert client.headers["content-type"].startswith("text/event-stream")
    assert "x-turnout-cost" not in client.headers
    assert lab.ended[0].attempts[0].usage.basis == "estimated"


async def test_an_answer_in_another_format_is_translated(tmp_path):
    """Whole and streamed, by the provider's decoder and the dialect's encoder."""
    content = [{"type": "text", "text": "Hej"}]
    usage = {"input_tokens": 3, "output_tokens": 1}
    whole = {"type": "message", "role": "assistant", "content": content, "stop_reason": "end_turn", "usage": usage}
    lab = Lab(tmp_path, {"claude": [Scripted(body=(json.dumps(whole).encode(),))]})
    client = await lab.ask("third")
    assert b'"content":"Hej"' in client.body.replace(b": ", b":")
    assert lab.ended[0].attempts[0].usage.output_tokens == 1
    broken = Lab(tmp_path, {"claude": [Scripted(body=(b"<html>",))]})
    with pytest.raises(UpstreamFault):
        await broken.ask("third")


async def test_a_slow_client_holds_the_upstream_back(tmp_path):
    """`drain` is awaited when it is paused, and only then."""
    gates = [asyncio.Event(), asyncio.Event()]
    lab = Lab(tmp_path, {"stub": [Scripted(body=(chunk("a"), gates[0], chunk("b"), gates[1], chunk("c"), DONE))]})
    client = Client()
    task = asyncio.ensure_future(lab.ask("first", client, stream=True))
    while not client.body:
        await asyncio.sleep(0)
    client.is_paused = True
    client.may_go_on.clear()
    gates[0].set()
    while not client.drains:
        await asyncio.sleep(0)
    gates[1].set()
    for _ in range(10):
        await asyncio.sleep(0)
    assert client.body == chunk("a") + chunk("b")
    client.is_paused = False
    client.may_go_on.set()
    await task
    assert client.body.endswith(chunk("c") + DONE)
    assert client.drains == 1


async def test_a_client_that_catches_up_at_once_is_not_taken_for_a_stream_that_ended(tmp_path):
    """Its socket may have drained before the engine looks again."""
    gate = asyncio.Event()
    lab = Lab(tmp_path, {"stub": [Scripted(body=(chunk("a"), gate, chunk("b"), gate, chunk("c"), DONE))]})
    client = Flickering()
    asyncio.get_running_loop().call_later(0.01, gate.set)
    await lab.ask("first", client, stream=True)
    assert client.body == chunk("a") + chunk("b") + chunk("c") + DONE
    assert client.ended == "finish"

"""The story of one exchange, without a socket: what is sent, what is answered, what the books are told."""

import asyncio
import json

import pytest

from tests.gateway.lab import CONFIG, OK, Client, Lab, chunk, outcomes, refusal
from turnout.core.plan import Ask, Plan
from turnout.errors import (
    ClientDisconnected,
    InternalError,
    ModelNotFound,
    UpstreamFault,
)
from turnout.gateway.memory_transport import Scripted
from turnout.policies import POLICIES
from turnout.providers import PROVIDERS

DONE = b"data: [DONE]\n\n"


# ── answers ──


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


async def test_a_client_that_catches_up_at_once_is_not_taken_for_a_stream_that_ended(tmp_path):
    """Its socket may have drained before the engine looks again."""
    gate = asyncio.Event()
    lab = Lab(tmp_path, {"stub": [Scripted(body=(chunk("a"), gate, chunk("b"), gate, chunk("c"), DONE))]})
    client = Flickering()
    asyncio.get_running_loop().call_later(0.01, gate.set)
    await lab.ask("first", client, stream=True)
    assert client.body == chunk("a") + chunk("b") + chunk("c") + DONE
    assert client.ended == "finish"


# ── bugs ──


class BrokenPolicy:
    """A policy with a bug."""

    name = "priority"

    def order(self, candidates, weights, loads, draw):
        raise ZeroDivisionError("sk-canary in the text of a bug")


class BrokenProvider:
    """A provider with a bug in one of its methods."""

    def __init__(self, method):
        self._whole = PROVIDERS["compatible"]
        self._broken = method
        self.name, self.dialects, self.base_url = "compatible", frozenset(), ""

    def __getattr__(self, name):
        if name == self._broken:
            raise ZeroDivisionError("sk-canary in the text of a bug")
        return getattr(self._whole, name)


async def test_a_bug_in_a_policy_closes_the_books(tmp_path):
    """What was begun is ended, as an internal error whose message holds none of the bug's text."""
    lab = Lab(tmp_path, {"stub": [OK]}, policies={**POLICIES, "priority": BrokenPolicy()})
    with pytest.raises(ZeroDivisionError):
        await lab.ask("task:work")
    assert outcomes(lab) == ("internal_error", [])
    assert lab.ended[0].decided is None
    assert "canary" not in lab.ended[0].outcome.message


@pytest.mark.parametrize("method", ["encode", "decode", "classify"])
async def test_a_bug_in_a_provider_closes_the_books(tmp_path, method):
    """Wherever it strikes, and the upstream's connection is given back."""
    providers = {**PROVIDERS, "compatible": BrokenProvider(method)}
    lab = Lab(tmp_path, {"stub": [OK if method == "decode" else refusal(500)]}, providers=providers)
    with pytest.raises(ZeroDivisionError):
        await lab.ask("task:work")
    code, attempts = outcomes(lab)
    assert (code, attempts) == ("internal_error", [("first@stub", None)])
    assert isinstance(lab.ended[0].outcome, InternalError)


# ── clients that leave ──


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_cancels_upstream_and_is_booked_as_gone(tmp_path, stream):
    """No mark against the candidate; the work may have been done, so an estimate is booked."""
    never = asyncio.Event()
    lab = Lab(tmp_path, {"stub": [Scripted(body=(never,))]})
    task = asyncio.ensure_future(lab.ask("task:work", stream=stream))
    while not lab.transport.open_responses:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert outcomes(lab) == ("client_disconnected", [("first@stub", None)])
    assert isinstance(lab.ended[0].outcome, ClientDisconnected)
    assert lab.ended[0].attempts[0].usage.basis == "estimated"
    assert not lab.health.is_failing("first@stub")


# ── what changes ──


async def test_a_request_keeps_the_config_that_it_began_with(tmp_path):
    """The next one has the new; health goes on, the retry budget begins anew when its rule changes."""
    gate = asyncio.Event()
    lab = Lab(tmp_path, {"stub": [Scripted(body=(gate, *refusal(503).body), status=503)], "backup": [OK]})
    task = asyncio.ensure_future(lab.ask("task:work"))
    while not lab.transport.open_responses:
        await asyncio.sleep(0)
    lab.engine.install(lab.index(CONFIG.replace("[first, second, third]", "[large]") + "retry: {max_retries: 0}\n"))
    gate.set()
    assert (await task).headers["x-turnout-model"] == "second"
    assert (await lab.ask("task:work")).headers["x-turnout-model"] == "large"
    assert lab.ended[0].snapshot is not lab.ended[1].snapshot
    assert lab.health.is_failing("first@stub")
    lab.engine.install(lab.engine.index)
    assert lab.engine.index.snapshot.retry.max_retries == 0


async def test_what_would_happen_is_told_without_a_call(tmp_path):
    """A plan, or why there is none."""
    lab = Lab(tmp_path, {})
    told = lab.engine.what_if(Ask("", task="work", user="boss"))
    assert isinstance(told, Plan)
    assert told.arm == "candidate"
    assert isinstance(lab.engine.what_if(Ask("nope")), ModelNotFound)
    assert lab.transport.sent == []
    assert lab.begun == 0

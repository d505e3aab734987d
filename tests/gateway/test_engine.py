"""The story of one exchange, without a socket: what is sent, what is answered, what the books are told."""

import asyncio

import pytest

from tests.gateway.lab import CONFIG, OK, Lab, outcomes, refusal
from turnout.core.plan import Ask, Plan
from turnout.errors import (
    ClientDisconnected,
    InternalError,
    ModelNotFound,
)
from turnout.gateway.memory_transport import Scripted
from turnout.policies import POLICIES
from turnout.providers import PROVIDERS

DONE = b"data: [DONE]\n\n"


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

"""T14: a refusal without `Retry-After` is read in its vendor's own spelling, else backed off; our own always says when."""

import itertools

import pytest

from tests.faults.sdk import ask, paid, quick
from tests.rig import CONFIG, Rig
from turnout.core.breaker import JITTER
from turnout.core.hints import CAP_S

HINTS = {
    "ratelimit-reset=6m0s": CAP_S,
    "ratelimit-reset=1m30s": 90.0,
    "ratelimit-reset=1.5s": 1.5,
    "ratelimit-reset=120ms": 0.12,
    "ratelimit-reset=12": 12.0,
    "ratelimit-rfc3339=30": 30.0,
    "ratelimit-epoch=20": 20.0,
}
"""OpenAI's durations, Groq's seconds, Anthropic's RFC 3339, OpenRouter's Unix milliseconds → seconds."""

BACKOFF_S = (0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0)


async def cool_down(rig, client, upstream):
    """Be refused; return (the end of the cool-down as seen before, and after; what the client was told)."""
    began = rig.service.clock.now()
    told = await ask(client, f"{upstream}-alone")
    until = rig.service.engine.health.resting_until(f"{upstream}@{upstream}")
    return until - began, until - rig.service.clock.now(), told


@pytest.mark.parametrize("upstream", ["openai", "claude"])
async def test_t14_every_vendors_spelling(tmp_path, proof, upstream):
    """Whoever speaks it; a time of day is good to a second."""
    seen = []
    async with Rig(tmp_path, config=paid()) as rig, quick(rig) as client:
        for script, wanted in HINTS.items():
            rig.service.engine.health._breakers.clear()
            rig.world.by_model = {"*": script}
            before_s, after_s, told = await cool_down(rig, client, upstream)
            slack = 1.0 if "rfc3339" in script else 0.1
            assert wanted - slack <= before_s, script
            assert after_s <= (wanted + slack) * (1 + JITTER), script
            assert told.status == 429, script
            seen.append(f"{script.split('=')[1]} → {after_s:.2f}")
    proof(f"{upstream}: {', '.join(seen)} s")


@pytest.mark.parametrize("upstream", ["openai", "claude"])
async def test_t14_without_a_hint_it_doubles_from_half_a_second_to_eight(tmp_path, proof, upstream):
    """With up to a tenth of jitter; a success begins it anew."""
    seen = []
    async with Rig(tmp_path, config=paid()) as rig, quick(rig) as client:
        rig.world.by_model = {"*": "status=429"}
        seen = [(await cool_down(rig, client, upstream))[:2] for _ in BACKOFF_S]
        rig.world.by_model = {}
        assert not (await ask(client, f"{upstream}-alone")).error
        rig.world.by_model = {"*": "status=429"}
        _, anew_s, _ = await cool_down(rig, client, upstream)
    for wanted, (before_s, after_s) in zip(BACKOFF_S, seen, strict=True):
        assert wanted <= before_s
        assert after_s <= wanted * (1 + JITTER)
    # What was said before stands until its time is over.
    assert anew_s <= seen[-1][1]
    proof(f"{upstream}: {', '.join(f'{after_s:.2f}' for _, after_s in seen)} s")


@pytest.mark.amplifies("every candidate refuses")
async def test_t14_our_own_429_and_503_always_say_when(tmp_path, proof):
    """In seconds and in milliseconds, whatever the vendor said; and never "now"."""
    refused = 0
    async with Rig(tmp_path, config=CONFIG) as rig, quick(rig) as client:
        scripts = ("status=429", "status=503", "retry-after=40", "retry-after-ms=1", "status=529")
        for script, name, stream in itertools.product(scripts, ("task:alone", "task:work"), (False, True)):
            rig.service.engine.health._breakers.clear()
            rig.world.by_model = {"*": script}
            told = await ask(client, name, stream=stream)
            assert told.is_final, script
            if name == "task:work":
                assert told.status in {429, 503}, script
            if told.status in {429, 503}:
                refused += 1
                assert int(told.headers["retry-after"]) >= 1, script
                assert 1 <= int(told.headers["retry-after-ms"]) <= int(told.headers["retry-after"]) * 1000, script
            else:
                assert told.status == 502, script
    proof(f"{refused} of {refused} answers of ours with 429 or 503 said when")

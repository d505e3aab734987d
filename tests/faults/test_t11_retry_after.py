"""T11: a 429 with `Retry-After: 7` cools that model down for 7 s, and the client is told."""

import openai
import pytest

MESSAGES = [{"role": "user", "content": "hej"}]


async def test_t11_the_candidate_cools_down_for_as_long_as_the_vendor_said_and_others_go_on(rig, proof):
    """6.9 to 7.7 s, this model only, no mark against its health."""
    rig.world.by_model["vendor/first"] = "retry-after=7"
    async with rig.openai() as client:
        raw = await client.chat.completions.with_raw_response.create(model="task:work", messages=MESSAGES)
    health, now = rig.service.engine.health, rig.service.clock.now()
    assert raw.headers["x-turnout-model"] == "second"
    assert 6.9 <= health.resting_until("first@stub") - now <= 7.7
    assert health.is_throttled("first@stub")
    assert not health.is_failing("first@stub")
    assert health.resting_until("second@backup") == 0.0
    proof(
        f"told 7 s, cools down for {health.resting_until('first@stub') - now:.2f} s; the next candidate is not touched"
    )


async def test_t11_while_it_cools_down_it_is_not_asked(rig):
    """Every failed attempt counts against a free tier."""
    rig.world.by_model["vendor/first"] = "retry-after=7"
    async with rig.openai() as client:
        for _ in range(5):
            await client.chat.completions.create(model="task:work", messages=MESSAGES)
    assert [one.model for one in rig.world.witness.dispatches] == ["vendor/first"] + ["vendor/second"] * 5


async def test_t11_alone_it_is_a_429_with_the_hint_in_both_spellings(tmp_path, rig):
    """The wait does not fit the request's five seconds, so the client is told how long."""
    rig.world.by_model["vendor/first"] = "retry-after=7"
    async with rig.openai() as client:
        with pytest.raises(openai.RateLimitError) as caught:
            await client.chat.completions.create(model="task:alone", messages=MESSAGES)
    assert caught.value.code == "upstream_throttled"
    assert caught.value.response.headers["retry-after"] == "7"
    assert caught.value.response.headers["retry-after-ms"] == "7000"
    assert rig.world.witness.count == 1

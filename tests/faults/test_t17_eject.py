"""T17: one of three candidates fails every time, then heals: out after five, probed once a rest, back with one probe."""

from itertools import pairwise

import openai
import pytest

from tests.rig import CONFIG, Rig

REST_S = 0.4
RULE = f"breaker: {{{{failures: 5, rest: {REST_S}, max_rest: {3 * REST_S:.1f}}}}}\n"
MESSAGES = [{"role": "user", "content": "hej"}]


async def ask(client):
    raw = await client.chat.completions.with_raw_response.create(model="task:work", messages=MESSAGES)
    return raw.headers["x-turnout-model"]


async def test_t17_out_after_five_failures_probed_once_a_rest_and_back_within_one_probe(tmp_path, proof):
    """No request fails at any time; time runs 75 times faster than the shipped rule (30 s → 0.4 s)."""
    async with Rig(tmp_path, config=CONFIG + RULE) as rig, rig.openai() as client:
        rig.world.by_model["vendor/first"] = "status=500"

        def asked():
            return [one.received_at for one in rig.world.witness.dispatches if one.model == "vendor/first"]

        answered = []
        while len(asked()) < 8:
            answered.append(await ask(client))
        assert set(answered) == {"second"}
        times = asked()
        assert times[4] - times[0] < REST_S
        gaps = [later - earlier for earlier, later in pairwise(times[4:])]
        for gap, rests in zip(gaps, (1, 2, 3), strict=True):
            assert rests * REST_S * 0.99 <= gap <= rests * REST_S + 0.3

        rig.world.by_model.clear()
        back = [await ask(client)]
        while back[-1] == "second":
            back.append(await ask(client))
        assert len(asked()) == 9
        assert [await ask(client) for _ in range(5)] == ["first"] * 5
    told = ", ".join(f"{gap / REST_S:.2f}" for gap in gaps)
    proof(f"out after 5 failures, probed after {told} rests, back with the first probe that went well; 0 errors seen")


async def test_t17_the_last_one_is_never_ejected(tmp_path):
    """When nothing else is left it is asked all the same."""
    async with Rig(tmp_path, config=CONFIG + RULE) as rig, rig.openai() as client:
        rig.world.by_model["vendor/first"] = "status=500"
        for _ in range(8):
            with pytest.raises(openai.InternalServerError):
                await client.chat.completions.create(model="task:alone", messages=MESSAGES)
        before = rig.world.witness.count
        rig.world.by_model.clear()
        await client.chat.completions.create(model="task:alone", messages=MESSAGES)
        assert rig.world.witness.count == before + 1

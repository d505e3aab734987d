"""The admin route about limits, over HTTP."""

from __future__ import annotations

import pytest

from tests.rig import CONFIG, Rig
from turnout.api.limits import AT_ONCE, MOST
from turnout.core.principal import Who

ASK = {"model": "first", "messages": [{"role": "user", "content": "hej"}]}
LIMITS = CONFIG + 'limits: {{"user:*": {{requests_per_minute: 4}}}}\n'


@pytest.fixture
async def rig(tmp_path):
    """Each user may ask four times a minute."""
    async with Rig(tmp_path, config=LIMITS) as running:
        yield running


async def test_who_is_refused_is_told_with_when_there_is_room_again(rig):
    """As the refusal itself says; and a key that only asks models is told nothing."""
    async with rig.http() as client:
        made = (await client.post("/admin/keys", json={"user": "anna"})).json()["key"]
        headers = {"authorization": f"Bearer {made}"}
        answers = [await client.post("/v1/chat/completions", json=ASK, headers=headers) for _ in range(5)]
        assert [200] * 4 + [429] == [one.status_code for one in answers]
        told = (await client.get("/admin/limits")).json()
        (view,) = told["limits"]
        (gauge,) = view["gauges"]
        assert ("user", "anna") == (view["scope"], view["who"])
        assert (4, 4, 0, 0) == tuple(gauge[name] for name in ("limit", "used", "elsewhere", "left"))
        waits_s = gauge["room_at"] - rig.service.clock.wall()
        assert 0 <= int(answers[-1].headers["retry-after"]) - waits_s < 30
        assert (False, 0) == (told["cut"], told["sharers"])
        assert 403 == (await client.get("/admin/limits", headers=headers)).status_code


async def test_of_very_many_those_with_the_least_left_are_told(rig):
    """And that there are more."""
    limiter = rig.service.books.limiter
    for number in range(MOST + AT_ONCE + 1):
        held = await limiter.admit(Who(user=f"u{number}"), 0)
        if number == MOST + AT_ONCE:
            await limiter.admit(Who(user=f"u{number}"), 0)
        held.end(0)
    async with rig.http() as client:
        told = (await client.get("/admin/limits")).json()
    assert (MOST, True, f"u{MOST + AT_ONCE}") == (len(told["limits"]), told["cut"], told["limits"][0]["who"])

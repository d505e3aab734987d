"""T12: of everything that a vendor may write into `Retry-After`, only a believable wait is believed, and no more than 5 minutes."""

import math
import random
from email.utils import formatdate

import pytest

from tests.faults.sdk import ask, paid, quick
from tests.rig import Rig
from turnout.core.breaker import COOL_BASE_S, JITTER
from turnout.core.hints import CAP_S

NO_HINT = (COOL_BASE_S, COOL_BASE_S * (1 + JITTER))
"""What a first refusal without a hint costs."""

FORMS = {
    "retry-after-date=9": (8.0, 10.0 * (1 + JITTER)),
    "retry-after-date=7200": (CAP_S, CAP_S * (1 + JITTER)),
    "retry-after-date=-60": NO_HINT,
    "retry-after=0": (0.0, 0.01),
    "retry-after=7": (7.0, 7.0 * (1 + JITTER)),
    "retry-after=1.5": (1.5, 1.5 * (1 + JITTER)),
    "retry-after=86400": (CAP_S, CAP_S * (1 + JITTER)),
    "retry-after=-5": NO_HINT,
    "retry-after=1e9": NO_HINT,
    "retry-after=1000000000": NO_HINT,
    "retry-after=": NO_HINT,
    "retry-after=soon": NO_HINT,
    "retry-after=nan": NO_HINT,
    "retry-after=inf": NO_HINT,
    "retry-after=0x10": NO_HINT,
    "retry-after=Fri, 99 Nov 2026 04:41:00 GMT": NO_HINT,
    "retry-after=Fri, 21 Nov 9999 04:41:00 GMT": NO_HINT,
    "retry-after=7;header=retry-after: 9": NO_HINT,
}
"""A script → the cool-down that must follow, in seconds from and to. Two values are none: which one counts is anybody's guess."""


async def cool_down(rig, client, script, upstream):
    """Be refused so, as if for the first time; return (its end as seen before, and after; what the client was told).

    It began at some time between, so of a cool-down of 7 s the first is at least 7 and the second at most that.
    """
    health, now = rig.service.engine.health, rig.service.clock.now
    health._breakers.clear()
    began = now()
    rig.world.by_model = {"*": script}
    told = await ask(client, f"{upstream}-alone")
    until = health.resting_until(f"{upstream}@{upstream}")
    return until - began, until - now(), told


@pytest.mark.parametrize("upstream", ["openai", "claude"])
async def test_t12_every_form(tmp_path, proof, upstream):
    """The candidate cools down for as long as was said; the client is told the same, in both spellings."""
    async with Rig(tmp_path, config=paid()) as rig, quick(rig) as client:
        for script, (at_least, at_most) in FORMS.items():
            before_s, after_s, told = await cool_down(rig, client, script, upstream)
            assert at_least <= before_s, script
            assert after_s <= at_most, script
            assert (told.status, told.is_final) == (429, True), script
            wait_s = int(told.headers["retry-after"])
            assert max(1, at_least - 1) <= wait_s <= max(1, math.ceil(min(at_most, CAP_S))), script
            assert 0 < int(told.headers["retry-after-ms"]) <= wait_s * 1000, script
        assert rig.world.witness.count == len(FORMS)
    hints = sum(form is not NO_HINT for form in FORMS.values())
    proof(f"{upstream}: {hints} forms believed, {len(FORMS) - hints} treated as absent, none longer than {CAP_S:.0f} s")


@pytest.mark.amplifies("only refusals, and some of them are asked twice")
async def test_t12_nothing_that_a_vendor_writes_makes_a_wait_negative_or_long(tmp_path, size, seed, proof):
    """Random words of the kinds that are in use, in every header at once; waits of ours included."""
    runs = size(40, 400)
    chance = random.Random(seed)

    def word():
        return chance.choice(
            [
                str(chance.randint(-(10**12), 10**12)),
                f"{chance.uniform(-100, 1e6):.3f}",
                formatdate(1.8e9 + chance.uniform(-1e9, 1e9), usegmt=True),
                f"{chance.randint(0, 99)}m{chance.randint(0, 99)}s",
                "".join(chance.choices("0123456789-+.:TZhms eE", k=chance.randint(0, 20))),
            ]
        )

    names = ("retry-after-ms", "x-ratelimit-reset-requests", "anthropic-ratelimit-tokens-reset", "x-ratelimit-reset")
    longest = 0.0
    async with Rig(tmp_path, config=paid()) as rig, quick(rig) as client:
        for _ in range(runs):
            more = "".join(f";header={name}: {word()}" for name in names if chance.random() < 0.5)
            script = f"retry-after={word()}{more}"
            began = rig.service.clock.now()
            _, cool_s, told = await cool_down(rig, client, script, "openai")
            assert rig.service.clock.now() - began < 1.0, script
            assert cool_s <= CAP_S * (1 + JITTER), script
            assert 1 <= int(told.headers["retry-after"]) <= CAP_S, script
            longest = max(longest, cool_s)
    proof(f"{runs} random hints: the longest cool-down was {longest:.0f} s, no wait was negative")

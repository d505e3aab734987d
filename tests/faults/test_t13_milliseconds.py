"""T13: a wait told in milliseconds is kept to the millisecond, and wins over `Retry-After`."""

import statistics
from itertools import pairwise

import pytest

from tests.faults.sdk import ask, paid, quick
from tests.rig import Rig

FORMS = [
    "retry-after-ms=250",
    "x-ms-retry-after-ms=250",
    "retry-after-ms=250;retry-after=9",
    "x-ms-retry-after-ms=250;retry-after=9",
    "retry-after-ms=250;x-ms-retry-after-ms=9000;retry-after=9",
]


async def test_t13_milliseconds_win(tmp_path, proof):
    """The cool-down is 0.25 to 0.30 s, and the client hears both spellings."""
    seen = []
    async with Rig(tmp_path, config=paid()) as rig, quick(rig) as client:
        health, now = rig.service.engine.health, rig.service.clock.now
        for script in FORMS:
            health._breakers.clear()
            rig.world.by_model = {"*": script}
            began = now()
            told = await ask(client, "openai-alone")
            until = health.resting_until("openai@openai")
            # Counted from the refusal, which came at some time since we began.
            assert until - now() <= 0.30, script
            assert until - began >= 0.25, script
            assert (told.headers["retry-after-ms"], told.headers["retry-after"]) == ("250", "1"), script
            seen.append(until - now())
    proof(f"{len(FORMS)} forms of 250 ms: cool-downs of {min(seen):.3f} to {max(seen):.3f} s as seen by the client")


@pytest.mark.amplifies("every request is asked three times, as late as the vendor said")
@pytest.mark.parametrize("upstream", ["openai", "claude"])
async def test_t13_the_last_candidate_is_asked_again_that_late(tmp_path, size, proof, upstream):
    """Never sooner; seen by the vendor's own clock."""
    runs = size(2, 10)
    gaps = []
    async with Rig(tmp_path, config=paid(retries=2)) as rig, quick(rig) as client:
        rig.world.by_model = {"*": "retry-after-ms=250;retry-after=9"}
        for _ in range(runs):
            told = await ask(client, f"{upstream}-alone")
            assert told.status == 429
            times = [one.received_at for one in rig.world.witness.dispatches][-3:]
            gaps += [later - earlier for earlier, later in pairwise(times)]
    assert len(gaps) == 2 * runs
    assert min(gaps) >= 0.25
    assert statistics.median(gaps) <= 0.30
    proof(f"{upstream}: asked again after {min(gaps):.3f} to {max(gaps):.3f} s")

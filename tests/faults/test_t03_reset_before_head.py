"""T03: a reset before the answer's head is a 502; it is asked once, or once more where `retry.ambiguous` allows it."""

import pytest

from tests.faults.sdk import UPSTREAMS, WAYS, ask, paid, quick
from tests.rig import Rig


@pytest.mark.amplifies("with the policy on, every request is asked twice")
@pytest.mark.parametrize("ambiguous", [False, True], ids=["off", "on"])
@pytest.mark.parametrize("script", ["reset", "close", "bad-http"])
async def test_t03_on_a_fresh_connection(tmp_path, proof, script, ambiguous):
    """The vendor has read the request: it may have done the work, so each try is on the books with an estimate."""
    dispatches = []
    async with Rig(tmp_path, config=paid(retries=1, ambiguous=ambiguous)) as rig, quick(rig) as client:
        rig.world.by_model = {"*": script}
        for upstream, stream in WAYS:
            before = rig.world.witness.count
            told = await ask(client, f"{upstream}-alone", UPSTREAMS[upstream], stream=stream)
            (trace, *_) = await rig.traced()
            dispatches.append(rig.world.witness.count - before)
            assert (told.status, told.code, told.is_final) == (502, "upstream_fault", True)
            assert [one.outcome for one in trace.attempts] == ["upstream_fault"] * dispatches[-1]
            assert {one.usage.basis for one in trace.attempts} == {"estimated"}
            assert all(one.cost_nano_usd > 0 for one in trace.attempts)
    assert dispatches == [2 if ambiguous else 1] * len(WAYS)
    proof(
        f"{script}, policy {'on' if ambiguous else 'off'}: {max(dispatches)} dispatches, 502 in {len(dispatches)} ways"
    )


@pytest.mark.parametrize("stream", [False, True])
async def test_t03_as_the_connection_is_made(tmp_path, stream):
    """RST in place of a welcome: nothing arrived, the fallback answers."""
    async with Rig(tmp_path, config=paid(retries=1)) as rig, quick(rig) as client:
        rig.world.queue.append("reset-accept")
        told = await ask(client, "openai-spare", stream=stream)
        (trace,) = await rig.traced()
    assert not told.error
    assert told.headers["x-turnout-model"] == "spare"
    assert [one.outcome for one in trace.attempts][1:] == ["ok"]
    assert [one.model for one in rig.world.witness.dispatches] == ["good/chat"]

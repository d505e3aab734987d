"""T19: every status that a vendor may send ends as an answer, the vendor's own refusal, or a 502; no redirect is followed."""

import asyncio

import pytest

from tests.faults.sdk import UPSTREAMS, WAYS, ask, paid, quick
from tests.gateway.wire import serving
from tests.rig import Rig

FAULTS = (500, 501, 505, *range(520, 531), 529, 599)
NOBODYS = (300, 301, 302, 303, 304, 305, 307, 308, 399, 204)
"""Not an answer to this request, whatever they mean elsewhere."""
REJECTIONS = (405, 406, 409, 410, 411, 413, 414, 415, 416, 417, 418, 421, 422, 423, 424, 425, 426, 428, 431, 451, 499)


async def told_by(rig, client, script, upstream, *, stream):
    rig.world.by_model = {"*": script}
    return await ask(client, f"{upstream}-alone", UPSTREAMS[upstream], stream=stream)


@pytest.mark.parametrize(("upstream", "stream"), WAYS)
async def test_t19_every_status(tmp_path, proof, upstream, stream):
    """5xx: a 502 of ours with the vendor's status in the trace. 4xx: as the vendor said. Others: no answer, 502."""
    wanted = dict.fromkeys((*FAULTS, *NOBODYS), 502) | {status: status for status in REJECTIONS}
    seen = {}
    async with Rig(tmp_path, config=paid()) as rig, quick(rig) as client:
        for status in wanted:
            told = await told_by(rig, client, f"status={status}", upstream, stream=stream)
            seen[status] = told.status
            assert told.is_final, status
            if status in REJECTIONS:
                assert "imulated" in str(told.body), status
        traces = await rig.traced()
        assert rig.world.witness.count == len(wanted)
    assert seen == wanted
    # A 204 is no refusal: what is wrong with it is its body.
    assert {trace.attempts[0].status for trace in traces} == {*wanted, None} - {204}
    proof(f"{upstream}{' stream' if stream else ''}: {len(wanted)} statuses, each as it should be")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_t19_redirects_are_not_followed(tmp_path, status):
    """Where it points there is somebody who would see our key: nobody comes."""
    followed = 0

    async def elsewhere(_):
        nonlocal followed
        followed += 1

    async with serving(elsewhere) as other:

        async def script(peer):
            while True:
                await peer.request()
                await peer.answer(
                    b"HTTP/1.1 %d x\r\nlocation: %b\r\ncontent-length: 0\r\n\r\n" % (status, other.url.encode())
                )

        async with serving(script) as server:
            config = paid().replace('"{url}', f'"http://127.0.0.1:{server.port}')
            async with Rig(tmp_path, config=config) as rig, quick(rig) as client:
                for upstream, stream in WAYS:
                    told = await ask(client, f"{upstream}-alone", UPSTREAMS[upstream], stream=stream)
                    assert (told.status, told.code) == (502, "upstream_fault")
                    assert "redirect" in told.message
    assert followed == 0


@pytest.mark.parametrize(("upstream", "stream"), WAYS)
async def test_t19_informational_responses(tmp_path, proof, upstream, stream):
    """Up to a hundred are passed over; the hundred and first is a fault."""
    async with Rig(tmp_path, config=paid()) as rig, quick(rig) as client:
        few = [await told_by(rig, client, f"1xx={count}", upstream, stream=stream) for count in (1, 2, 100)]
        many = [await told_by(rig, client, f"1xx={count}", upstream, stream=stream) for count in (101, 1000, 100_000)]
    assert [told.error for told in few] == [""] * 3
    assert {(told.status, told.code) for told in many} == {(502, "upstream_fault")}
    assert all("informational" in told.message for told in many)
    proof(f"{upstream}{' stream' if stream else ''}: 100 × 103 pass, 101 and more are a 502")


async def test_t19_a_change_of_protocol_is_refused(tmp_path):
    """101 was not asked for."""

    async def script(peer):
        await peer.request()
        await peer.answer(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n")

    async with serving(script) as server:
        config = paid().replace('"{url}', f'"http://127.0.0.1:{server.port}')
        async with Rig(tmp_path, config=config) as rig, quick(rig) as client:
            told = await asyncio.wait_for(ask(client, "openai-alone"), 5)
    assert (told.status, told.code) == (502, "upstream_fault")

"""T16: our retries, our fallbacks and the SDK's own two retries together make at most three upstream calls of one request."""

import asyncio

import pytest

from tests.faults.sdk import MESSAGES, ask, paid, quick
from tests.rig import CONFIG, Rig

FAULTS = (
    "reset", "close", "bad-http", "stall", "status=500", "status=502", "status=503", "status=504", "status=529", "status=408", "status=409", "status=429",
    "retry-after=0", "retry-after-ms=10", "retry-after=60", "status=401", "status=404",
    "html", "malformed", "error-event=0", "cut-at=40", "redirect=307", "1xx=200",
)  # fmt: skip
"""Those that end a connection come first, when there is none to reuse: an idle connection that ends as it is used is replaced
once, in silence (T04), and a vendor that reads a request before it resets would see that one twice.
"""

MOST = 3


@pytest.mark.amplifies("every request fails everywhere, after up to three calls")
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("name", ["task:work", "task:alone"], ids=["three candidates", "one candidate"])
async def test_t16_total_calls_of_one_logical_request(tmp_path, proof, name, stream):
    """With the SDK's defaults, every kind of failure; nothing else shares the retry budget, so it is at its widest."""
    config = CONFIG.replace("first_chunk: 1", "first_chunk: 0.2").replace(
        "max_backoff: 0.05", "max_backoff: 0.05, budget_floor: 1000"
    )
    calls = {}
    async with Rig(tmp_path, config=config) as rig, quick(rig, max_retries=2) as client:
        assert client.max_retries == 2
        for script in FAULTS:
            rig.service.engine.health._breakers.clear()
            rig.world.by_model = {"*": script}
            before = rig.world.witness.count
            told = await ask(client, name, stream=stream)
            calls[script] = rig.world.witness.count - before
            assert told.error, script
            assert told.is_final, script
        requests = len(await rig.traced())
    assert max(calls.values()) <= MOST
    assert requests == len(FAULTS)  # the SDK came once for each
    proof(
        f"{name}{', streamed' if stream else ''}: {max(calls.values())} calls at most over {len(FAULTS)} kinds of failure"
    )


@pytest.mark.amplifies("the stream breaks every time")
async def test_t16_a_stream_that_broke_is_not_asked_again(tmp_path):
    """Neither by us nor by the SDK."""
    async with Rig(tmp_path, config=paid(retries=2)) as rig, quick(rig, max_retries=2) as client:
        for script in ("reset-event=5", "cut-event=5", "close-event=5", "error-event=3;slice=100000"):
            rig.world.by_model = {"*": script}
            before = rig.world.witness.count
            told = await ask(client, "openai-spare", stream=True)
            assert (told.error, told.code) == ("APIError", "stream_interrupted")
            assert rig.world.witness.count - before == 1


async def test_t16_an_sdk_that_retries_on_its_own_has_our_word_not_to(tmp_path):
    """A control: without our header the same SDK would come three times for a 503."""
    seen = 0

    async def serve(reader, writer):
        nonlocal seen
        seen += 1
        await reader.readuntil(b"\r\n\r\n")
        body = b'{"error":{"message":"no"}}'
        writer.write(
            b"HTTP/1.1 503 x\r\nretry-after-ms: 1\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b"
            % (len(body), body)
        )
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server, Rig(tmp_path) as rig:
        port = server.sockets[0].getsockname()[1]
        async with quick(rig, max_retries=2) as client:
            told = await ask(client.with_options(base_url=f"http://127.0.0.1:{port}/v1"), "x", messages=MESSAGES)
    assert told.status == 503
    assert seen == 3

"""T84: a vendor repeats the key that it got, wherever it can; no client sees it, and no trace keeps it."""

import asyncio
import contextlib
import json

import pytest

from tests.rig import CONFIG, Rig

KEY = "sk-canary-stub-key-1"
TOLD = json.dumps({"error": {"message": f"no luck with {KEY}"}}).encode()
CHUNK = b'data: {"choices":[{"index":0,"delta":{"content":"hej"}}]}\n\n'


@contextlib.asynccontextmanager
async def vendor(answer):
    """A vendor that gives the same bytes to everybody; its address."""

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"


def whole(status, body):
    return b"HTTP/1.1 %d x\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body)


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 422, 429, 500, 503])
async def test_t84_in_a_refusal(tmp_path, status):
    """Whatever its status, and inside a 200."""
    async with vendor(whole(status, TOLD)) as url:
        config = CONFIG.replace(
            'stub: {{kind: compatible, base_url: "{url}', f'stub: {{{{kind: compatible, base_url: "{url}'
        )
        async with Rig(tmp_path, config=config) as rig, rig.http() as client:
            ask = {"model": "task:alone", "messages": [{"role": "user", "content": "hej"}]}
            answer = await client.post("/v1/chat/completions", json=ask)
            (trace,) = await rig.traced()
    assert answer.status_code >= 400
    assert KEY not in answer.text + str(answer.headers)
    assert KEY not in str(trace)
    assert trace.attempts[0].message


@pytest.mark.parametrize("begun", [b"", CHUNK])
async def test_t84_in_a_stream(tmp_path, begun):
    """Before the client has seen anything, and after."""
    async with vendor(whole(200, begun + b"data: " + TOLD + b"\n\n")) as url:
        config = CONFIG.replace(
            'stub: {{kind: compatible, base_url: "{url}', f'stub: {{{{kind: compatible, base_url: "{url}'
        )
        async with Rig(tmp_path, config=config) as rig:
            answer = await rig.raw_stream("task:alone")
            (trace,) = await rig.traced()
    assert b"no luck with ***" in answer
    assert KEY.encode() not in answer
    assert KEY not in str(trace)

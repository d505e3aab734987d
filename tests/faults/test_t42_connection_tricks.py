"""T42: pipelining, Expect, bytes behind the last request and upgrades are served as HTTP says or refused with a 4xx; no
answer is given to another request than its own.
"""

import asyncio
import json
import random
import re
from typing import NamedTuple

import pytest

from tests.faults.edge import statuses, tell
from tests.rig import KEY
from turnout.api.server import PIPELINED

AUTH = b"Authorization: Bearer " + KEY.encode() + b"\r\n"
UPGRADES = {
    "h2c": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n",
    "websocket": b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAA\r\n",
    "unknown": b"Connection: upgrade\r\nUpgrade: cow/1\r\n",
}


class Answer(NamedTuple):
    """One answer as it came."""

    status: int
    request_id: str
    body: bytes


def ask(words, *, lines=b"", pieces=0, auth=AUTH):
    """A chat request. pieces: of the body, in chunks; 0 for a length."""
    body = json.dumps({"model": "task:alone", "messages": [{"role": "user", "content": words}]}).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n" + auth + lines
    if not pieces:
        return head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    step = -(-len(body) // pieces)
    parts = [body[at : at + step] for at in range(0, len(body), step)]
    framed = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + framed + b"0\r\n\r\n"


def get(path, lines=b""):
    return b"GET %b HTTP/1.1\r\nHost: x\r\n%b\r\n" % (path.encode(), lines)


async def answer_of(reader):
    """Read one answer, 100 Continue included."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"\r\ncontent-length: (\d+)\r\n", head)
    told = re.search(rb"\r\nx-request-id: (\S+)\r\n", head)
    body = await reader.readexactly(int(length[1])) if length else b""
    return Answer(int(head[9:12]), told[1].decode() if told else "", body)


def witnessed(rig):
    """What the vendor was asked, by the id of the request that it was for."""
    return {one.request_id.rpartition("-")[0]: one.body for one in rig.world.witness.dispatches}


async def test_t42_pipelined(rig, size, seed, proof):
    """As many requests in one connection as may wait, none waited for, in pieces that begin and end anywhere."""
    draw = random.Random(seed)
    count = size(100, PIPELINED)
    kinds = [draw.choice(["chat", "chunked", "missing", "live"]) for _ in range(count)]
    made = {
        "chat": lambda n: ask(f"words-{n}-end"),
        "chunked": lambda n: ask(f"words-{n}-end", pieces=draw.randint(1, 9)),
        "missing": lambda n: get(f"/missing-{n}-end"),
        "live": lambda _: get("/health/live"),
    }
    data = b"".join(made[kind](number) for number, kind in enumerate(kinds))
    cuts = sorted(draw.sample(range(1, len(data)), min(count, len(data) - 1)))
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)

    async def send():
        for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            writer.write(data[begin:end])
            await writer.drain()

    async with asyncio.timeout(100):
        sending = asyncio.get_running_loop().create_task(send())
        answers = [await answer_of(reader) for _ in kinds]
        await sending
    writer.close()
    asked = witnessed(rig)
    for number, (kind, answer) in enumerate(zip(kinds, answers, strict=True)):
        if kind in {"chat", "chunked"}:
            assert answer.status == 200
            assert b"words-%d-end" % number in asked[answer.request_id]
        elif kind == "missing":
            assert (answer.status, f"/missing-{number}-end" in answer.body.decode()) == (404, True)
        else:
            assert answer.body == b'{"status":"live"}'
    proof(f"{count} of {count} pipelined requests, cut at {len(cuts)} places, got their own answers in order")


@pytest.mark.parametrize("behind", [b"", get("/health/live")], ids=["alone", "behind another"])
async def test_t42_expect_a_body_that_waits_to_be_asked_for(rig, behind):
    """It is asked for once, after the answers before it, and then served; the connection lives on."""
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        head, _, body = ask("hello", lines=b"Expect: 100-continue\r\n").partition(b"\r\n\r\n")
        writer.write(behind + head + b"\r\n\r\n")
        if behind:
            assert (await answer_of(reader)).status == 200
        assert (await answer_of(reader)).status == 100
        writer.write(body + get("/health/live"))
        assert [(await answer_of(reader)).status, (await answer_of(reader)).status] == [200, 200]
        writer.close()


@pytest.mark.parametrize(
    ("lines", "auth", "status"),
    [(b"", b"Authorization: Bearer wrong\r\n", 401), (b"Content-Encoding: gzip\r\n", AUTH, 415)],
    ids=["no key", "compressed"],
)
async def test_t42_expect_a_refusal_without_the_body(rig, lines, auth, status):
    """The answer is final, the body is not asked for, and what comes instead of it is no request."""
    head = ask("hello", lines=b"Expect: 100-continue\r\n" + lines, auth=auth).partition(b"\r\n\r\n")[0]
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        writer.write(head + b"\r\n\r\n")
        assert (await answer_of(reader)).status == status
        writer.write(ask("smuggled"))
        assert await reader.read() == b""
        writer.close()
    assert rig.world.witness.count == 0


async def test_t42_bytes_behind_the_last_request(rig, proof):
    """`connection: close`, or HTTP/1.0: the request is served, and what follows it is nothing."""
    behind = [ask("smuggled"), b"\r\n" * 500, b"x" * 200_000, b"\x00\xff" * 500, b"GET /"]
    served = 0
    for version in (b"1.1", b"1.0"):
        for more in behind:
            last = ask("last", lines=b"Connection: close\r\n").replace(b"HTTP/1.1", b"HTTP/" + version)
            answer, _ = await tell(rig.port, last + more)
            assert (statuses(answer), more) == ([200], more)
            assert b"\r\nconnection: close\r\n" in answer
            served += 1
    assert rig.world.witness.count == served
    assert all(b"last" in dispatch.body for dispatch in rig.world.witness.dispatches)
    proof(f"{served} of {served} last requests answered, nothing behind them taken for a request")


async def test_t42_upgrade(rig, proof):
    """Refused with a 4xx and closed; what the client sends in the other protocol is no request, whatever it looks like."""
    firsts = [get("/health/live"), ask("hello"), ask("hello", pieces=2)]
    refused = 0
    for kind, lines in UPGRADES.items():
        for first in firsts:
            upgrade = first.replace(b"Host: x\r\n", b"Host: x\r\n" + lines)
            answer, _ = await tell(rig.port, upgrade + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + ask("smuggled"))
            assert (statuses(answer), kind) == ([400], kind)
            assert b"set your client to HTTP/1.1" in answer
            refused += 1
    tunnel, _ = await tell(rig.port, b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: x\r\n\r\n" + ask("smuggled"))
    assert statuses(tunnel) == [400]
    assert rig.world.witness.count == 0
    proof(f"{refused + 1} of {refused + 1} upgrades and tunnels refused with 400")


async def test_t42_an_upgrade_that_is_not_asked_for(rig):
    """`Upgrade` alone, without `Connection: upgrade`, is for the next hop of another connection: the request is served."""
    served = ask("hello", lines=b"Upgrade: h2c\r\nConnection: close\r\n")
    answer, _ = await tell(rig.port, served)
    assert statuses(answer) == [200]

"""A thousand clients that ask the same question within a second make one upstream call, and all get the same stream."""

import asyncio
import json
import random
import time

from tests.process import Served, SimulatedVendor

CONFIG = """
defaults: false
server: {{concurrency: 2000}}
cache: {{ttl: 5m}}
providers:
  stub: {{kind: compatible, base_url: "{url}", api_key: sk-canary-stub-key-1}}
models:
  first: {{provider: stub, id: vendor/first, price: free}}
timeouts: {{first_chunk: 20, idle: 20, total: 40}}
"""
SLOWLY = "slow=0.001"
"""One byte a write: the answer takes two seconds and more, so that most come while it is being said."""

WITHIN_S = 1.0


def question(served, text="hej"):
    """A stream's request as bytes."""
    said = [{"role": "user", "content": text}]
    body = json.dumps({"model": "first", "stream": True, "messages": said, "max_tokens": 6}).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {served.key}\r\n"
    )
    return head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body


def unframed(answer):
    """How the cache was told, and the body without its chunks; the last one must be there."""
    head, _, framed = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    headers = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
    body = b""
    while True:
        size, _, framed = framed.partition(b"\r\n")
        if size == b"0":
            return headers[b"x-turnout-cache"].decode(), body
        body += framed[: int(size, 16)]
        framed = framed[int(size, 16) + 2 :]


async def one(served, after_s):
    """One client that comes `after_s` from now and takes the whole answer; when it was there, too."""
    await asyncio.sleep(after_s)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(served.url.rsplit(":", 1)[1]))
    writer.write(question(served))
    answer = await reader.read()
    writer.close()
    return *unframed(answer), time.perf_counter()


async def first_of_all(served):
    """The one who asks first, and leaves in mid-answer; returns what it had by then."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(served.url.rsplit(":", 1)[1]))
    writer.write(question(served))
    had = await reader.readuntil(b"data: ")
    await asyncio.sleep(WITHIN_S / 2)
    writer.transport.abort()
    return had


async def test_coalescing_a_thousand_clients_one_call(tmp_path, size, seed, proof):
    """Whenever they came: the same bytes, whole, and the end at the same time; though the first of them leaves."""
    chance = random.Random(seed)
    clients = size(150, 1000)
    async with SimulatedVendor(tmp_path, "--fault-for", "vendor/first", SLOWLY) as vendor:
        (tmp_path / "turnout.yaml").write_text(CONFIG.format(url=vendor.base_url))
        async with Served(tmp_path, "--port", "0", vendor=vendor) as served:
            had, *answers = await asyncio.gather(
                first_of_all(served), *[one(served, 0.05 + chance.random() * WITHIN_S) for _ in range(clients)]
            )
        calls = vendor.witnessed()
    bodies = {body for _, body, _ in answers}
    ends = sorted(at for _, _, at in answers)
    assert len(calls) == 1
    assert b"x-turnout-cache: miss" in had
    assert {how for how, _, _ in answers} == {"coalesced"}
    assert len(bodies) == 1
    (body,) = bodies
    assert body.endswith(b"data: [DONE]\n\n")
    assert ends[-1] - ends[0] < WITHIN_S
    proof(
        f"{clients} clients within {WITHIN_S:g} s, the first of all left in mid-answer: {len(calls)} upstream call, {clients} "
        f"equal streams of {len(body)} bytes, the last one {1000 * (ends[-1] - ends[0]):.0f} ms after the first"
    )

"""T34: one Idempotency-Key is one call upstream, however often it is sent, and whatever happens to the gateway meanwhile.

Fifty at once and fifty after a `kill -9`, whole answers and streams: the same bytes each time, from one dispatch. Another
body is 422. What never began to execute is not kept, and what a vendor may have been paid for is.
"""

import asyncio
import json
import os
import random
import signal
import time

import httpx2
import pytest

from tests.process import Served, SimulatedVendor
from turnout.stores.sqlite import LEASE_S

CONFIG = """
providers:
  stub: {{kind: compatible, base_url: "{origin}/v1", api_key: sk-canary-stub-key-1}}
models:
  first: {{provider: stub, id: vendor/first, price: {{input: 1, output: 2}}, context: 128000}}
timeouts: {{connect: 1, first_chunk: 3, idle: 3, total: 20}}
retry: {{backoff: 0.01, max_backoff: 0.05}}
"""
TOGETHER = 50


def write_config(home, vendor):
    (home / "turnout.yaml").write_text(CONFIG.format(origin=vendor.origin), encoding="utf-8")


def asked(words, *, stream=False, **more):
    return {"model": "first", "stream": stream, "messages": [{"role": "user", "content": words}], **more}


async def send(client, key, body, **headers):
    """One request with `key`."""
    sent = {"idempotency-key": key, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return await client.post("/v1/chat/completions", json=body, headers=sent, timeout=30)


def replayed(answers):
    """How many of them say that they are."""
    return sum(1 for answer in answers if answer.headers.get("idempotent-replayed") == "true")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_t34_one_dispatch_for_one_key(tmp_path, seed, size, proof, stream):
    """Parallel, then sequential, then after a kill -9, then with another body."""
    keys = [f"key-{random.Random(seed + number).getrandbits(64):x}" for number in range(size(1, 8))]
    async with SimulatedVendor(tmp_path) as vendor:
        write_config(tmp_path, vendor)
        answers = {}
        async with Served(tmp_path) as gateway:
            async with gateway.http() as client:
                for key in keys:
                    body = asked(key, stream=stream)
                    answers[key] = await asyncio.gather(*(send(client, key, body) for _ in range(TOGETHER)))
                    answers[key] += [await send(client, key, body) for _ in range(5)]
            gateway.process.kill()
            await gateway.process.wait()
        async with Served(tmp_path) as gateway, gateway.http() as client:
            others = []
            for key in keys:
                body = asked(key, stream=stream)
                answers[key] += await asyncio.gather(*(send(client, key, body) for _ in range(TOGETHER)))
                others.append(await send(client, key, asked("another", stream=stream)))
        dispatched = len(vendor.witnessed())
    assert len(keys) == dispatched
    for same in answers.values():
        assert {200} == {answer.status_code for answer in same}
        assert len({answer.content for answer in same}) == 1
        assert len({answer.headers["x-request-id"] for answer in same}) == 1
        assert replayed(same) == len(same) - 1
    assert {422} == {answer.status_code for answer in others}
    assert {"idempotency-key"} == {answer.json()["error"]["param"] for answer in others}
    total = sum(len(same) for same in answers.values())
    proof(
        f"{'streams' if stream else 'whole answers'}: {dispatched} dispatches for {len(keys)} keys sent {total} times "
        f"({TOGETHER} at once, then 5, then {TOGETHER} at once after kill -9): {total - len(keys)} replays of equal bytes; "
        f"another body: 422"
    )


async def test_t34_whoever_has_seen_the_end_may_kill_us(tmp_path, size, proof):
    """The last byte of a stream's text comes after the answer is on disk: a kill at that instant loses nothing."""
    rounds = size(1, 12)
    async with SimulatedVendor(tmp_path) as vendor:
        write_config(tmp_path, vendor)
        for number in range(rounds):
            body = asked(f"round {number}", stream=True)
            sent = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()  # as httpx2 writes it
            async with Served(tmp_path) as gateway:
                port = int(gateway.url.rpartition(":")[2])
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(
                    f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {gateway.key}\r\n"
                    f"idempotency-key: {number}\r\ncontent-length: {len(sent)}\r\n\r\n".encode()
                    + sent
                )
                first = await reader.readuntil(b"[DONE]")
                os.kill(gateway.process.pid, signal.SIGKILL)
                await gateway.process.wait()
                writer.close()
            async with Served(tmp_path) as gateway, gateway.http() as client:
                again = await send(client, str(number), body)
            assert again.headers["idempotent-replayed"] == "true"
            assert again.content.count(b"data: ") == first.count(b"data: ")
        dispatched = len(vendor.witnessed())
    assert rounds == dispatched
    proof(f"killed at the last byte of the text {rounds} times: {rounds} replays, {dispatched} dispatches")


@pytest.mark.prove
async def test_t34_a_repeat_in_mid_answer_waits_in_another_process_too(tmp_path, proof):
    """Workers share what they know of keys through the file."""
    async with SimulatedVendor(tmp_path, "--fault", "delay=0.5") as vendor:
        write_config(tmp_path, vendor)
        async with Served(tmp_path) as one, Served(tmp_path) as two, one.http() as first, two.http() as second:
            body = asked("shared")
            answers = await asyncio.gather(
                *(send(first, "k", body) for _ in range(5)), *(send(second, "k", body) for _ in range(5))
            )
            other = await send(second, "k", asked("other"))
        dispatched = len(vendor.witnessed())
    assert dispatched == 1
    assert {200} == {answer.status_code for answer in answers}
    assert len({answer.content for answer in answers}) == 1
    assert replayed(answers) == 9
    assert other.status_code == 422
    proof("two processes, 10 requests with one key at once: 1 dispatch, 9 replays")


@pytest.mark.prove
async def test_t34_a_kill_in_mid_answer_frees_the_key_when_its_lease_is_over(tmp_path, proof):
    """Nobody has that answer, so the request is served anew: a second dispatch, after at most the lease."""
    async with SimulatedVendor(tmp_path, "--fault", "stall") as vendor:
        write_config(tmp_path, vendor)
        async with Served(tmp_path) as gateway, gateway.http() as client:
            asking = asyncio.ensure_future(send(client, "k", asked("x")))
            while not vendor.witnessed():
                await asyncio.sleep(0.02)
            gateway.process.kill()
            await gateway.process.wait()
            with pytest.raises(httpx2.HTTPError):
                await asking
        async with Served(tmp_path) as gateway, gateway.http() as client:
            began = time.perf_counter()
            answer = await send(client, "k", asked("x"))
            took = time.perf_counter() - began
        dispatched = len(vendor.witnessed())
    assert answer.status_code == 200
    assert "idempotent-replayed" not in answer.headers
    assert dispatched == 2
    assert took < LEASE_S + 2
    proof(f"killed in mid-answer: served anew after {took:.1f} s (the lease is {LEASE_S:.0f} s)")

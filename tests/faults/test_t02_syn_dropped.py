"""T02: a vendor whose network drops every SYN: the attempt fails at the connect limit, after one dial, and costs nothing."""

import asyncio
import socket
import time
from contextlib import contextmanager
from pathlib import Path

import openai
import pytest

from tests.rig import Rig

CONFIG = """
providers:
  hole: {{kind: compatible, base_url: "HOLE/v1", api_key: sk-canary-hole-key}}
  claude: {{kind: anthropic, base_url: "HOLE", api_key: sk-canary-claude-key}}
  stub: {{kind: compatible, base_url: "{url}/v1", api_key: sk-canary-stub-key}}
models:
  lost: {{provider: hole, id: vendor/lost, price: free}}
  silent: {{provider: claude, id: claude-silent, price: {{input: 3, output: 15}}}}
  numbers: {{provider: hole, id: vendor/numbers, price: free, mode: embedding}}
  good: {{provider: stub, id: vendor/good, price: free}}
tasks:
  alone: {{models: [lost], max_retries: 0}}
  translated: {{models: [silent], max_retries: 0}}
  vectors: {{models: [numbers], max_retries: 0}}
  both: {{models: [lost, good]}}
timeouts: {{connect: CONNECT}}
"""
HELLO = [{"role": "user", "content": "hej"}]
TOLERANCE_S = 0.5
SYN_SENT = "02"  # include/net/tcp_states.h


@contextmanager
def hole():
    """A port that answers no SYN: its backlog holds one connection, which nobody accepts, so the kernel drops the next SYNs."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        with socket.create_connection(address):
            with socket.socket() as probe:
                probe.settimeout(0.1)
                has_answered = probe.connect_ex(address) == 0
            if has_answered:
                pytest.skip("needs a kernel that drops SYNs when a backlog is full (net.ipv4.tcp_abort_on_overflow=0)")
            yield address[1]


def dials(port):
    """Our ends of the connections to `port` that wait for an answer to their SYN."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {row[1] for row in rows if row[2].endswith(f":{port:04X}") and row[3] == SYN_SENT}


async def watched(port, seen, is_over):
    """Note every dial to `port` until `is_over`."""
    while not is_over.is_set():
        seen |= dials(port)
        await asyncio.sleep(0.02)


async def failed(asked):
    """How long it took to fail, and how."""
    began = time.perf_counter()
    with pytest.raises(openai.APIStatusError) as caught:
        await asked
    return time.perf_counter() - began, caught.value.status_code, caught.value.code


async def test_t02_a_dropped_syn_fails_at_the_connect_limit_after_one_dial(tmp_path, size, proof):
    """Streamed and not, by OpenAI's and Anthropic's protocol, chat and embeddings; with a fallback, that one answers then."""
    limit_s = size(0.4, 5)
    seen, is_over = set(), asyncio.Event()
    with hole() as port:
        config = CONFIG.replace("HOLE", f"http://127.0.0.1:{port}").replace("CONNECT", str(limit_s))
        async with Rig(tmp_path, config=config) as rig, rig.openai() as client:
            chat = client.chat.completions
            watch = asyncio.ensure_future(watched(port, seen, is_over))
            ends = await asyncio.gather(
                failed(chat.create(model="task:alone", messages=HELLO)),
                failed(chat.create(model="task:alone", messages=HELLO, stream=True)),
                failed(chat.create(model="task:translated", messages=HELLO)),
                failed(chat.create(model="task:translated", messages=HELLO, stream=True)),
                failed(client.embeddings.create(model="task:vectors", input="hej")),
            )
            alone = len(seen)
            began = time.perf_counter()
            answer = await chat.with_raw_response.create(model="task:both", messages=HELLO)
            fell_back_s = time.perf_counter() - began
            is_over.set()
            await watch
            assert dials(port) == set()
            traces = await rig.traced()
            dispatched = [one.model for one in rig.world.witness.dispatches]
    assert [(504, "upstream_timeout")] * 5 == [end[1:] for end in ends]
    took = [end[0] for end in ends]
    assert all(limit_s <= one <= limit_s + TOLERANCE_S for one in (*took, fell_back_s)), took
    assert (5, 6) == (alone, len(seen))
    assert ("good", "2") == (answer.headers["x-turnout-model"], answer.headers["x-turnout-attempts"])
    assert ["vendor/good"] == dispatched
    lost = [attempt for trace in traces for attempt in trace.attempts if attempt.model != "good"]
    assert [("upstream_timeout", None, 0)] * 6 == [(one.outcome, one.usage, one.cost_nano_usd) for one in lost]
    proof(
        f"connect limit {limit_s} s: failed after {min(took):.2f} to {max(took):.2f} s, {len(seen)} dials for 6 requests"
    )

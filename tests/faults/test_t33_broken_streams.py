"""T33: a stream that breaks off, wherever and on whichever side, is booked as an estimate that is near the truth and never as nothing.

The vendor ends, resets or closes a stream at a random event, or the client leaves while it stalls there; what really left
the vendor is in its own book.
"""

import asyncio
import json
import random
from contextlib import suppress
from statistics import median

import httpx2
import pytest

from tests.rig import CONFIG, Rig
from turnout.core.books.entry import Entry
from turnout.core.books.ledger import Wanted, latest

PRICED = (
    CONFIG.replace("vendor/first, price: free", "vendor/first, price: {{input: 1, output: 4}}")
    .replace("idle: 0.5", "idle: 5")
    .replace("max_backoff: 0.05", "max_backoff: 0.05, max_retries: 0")
    .replace("timeouts:", "breaker: {{failures: 1000}}\ntimeouts:")
)
LONGEST_TOKENS = 120
OPENING = 3
"""Events that may come before the first text."""


@pytest.mark.parametrize("model", ["first", "third"], ids=["OpenAI", "Anthropic"])
async def test_t33_a_broken_stream_is_an_estimate_near_the_truth(tmp_path, size, seed, proof, model):
    """Every attempt is booked, none as exact, none as nothing; half of them within a tenth of what the vendor sent."""
    drawn = random.Random(seed)
    async with Rig(tmp_path, config=PRICED) as rig, rig.http() as client:
        for _ in range(size(60, 500)):
            await broken(rig, client, model, drawn)
        pairs = await booked(rig)
    distances = [abs(line.output_tokens - sent) / sent for line, sent in pairs]
    assert {"estimated"} == {line.basis for line, _ in pairs}
    assert min(line.output_tokens for line, _ in pairs) > 0
    assert min(line.cost_nano_usd or 0 for line, _ in pairs) > 0
    assert median(distances) <= 0.1
    proof(
        f"{model}: {len(pairs)} broken streams, all booked as estimated and none as 0; distance to what the vendor sent: "
        f"median {median(distances):.1%}, worst {max(distances):.0%}"
    )


async def broken(rig: Rig, client: httpx2.AsyncClient, model: str, drawn: random.Random) -> None:
    """Ask once; the stream ends at a random event, or the client leaves there."""
    events, how = drawn.randrange(4, LONGEST_TOKENS - 10), drawn.choice(["cut", "reset", "close", "leave"])
    rig.world.queue.append(f"{'stall' if how == 'leave' else how}-event={events};tokens={LONGEST_TOKENS}")
    question = " ".join(f"ord{drawn.randrange(10**6)}" for _ in range(drawn.randrange(20, 200)))
    body = {
        "model": model,
        "stream": True,
        "max_tokens": LONGEST_TOKENS,
        "messages": [{"role": "user", "content": question}],
    }
    seen = 0
    with suppress(httpx2.RemoteProtocolError):  # the connection ends after the error's event
        async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
            assert 200 == answer.status_code
            async for line in answer.aiter_lines():
                seen += line.startswith("data: {") and bool(content(line))
                if how == "leave" and seen >= events - OPENING:
                    return


def content(line: str) -> str:
    """The text of one event."""
    choices = json.loads(line[6:]).get("choices") or [{}]
    return choices[0].get("delta", {}).get("content") or ""


async def booked(rig: Rig) -> list[tuple[Entry, int]]:
    """Each line of the ledger, once all are there, and the tokens that really left the vendor for it."""
    sent = {one.request_id: one.sent_tokens for one in rig.world.witness.dispatches}
    async with asyncio.timeout(10):
        while len(lines := await rig.service.database.read(lambda: latest(Wanted(), 10_000))) < len(sent):
            await asyncio.sleep(0.02)
    assert sorted(sent) == sorted(one.attempt_id for one in lines)
    return [(one, sent[one.attempt_id]) for one in lines]

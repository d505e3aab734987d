"""T18: the first candidate fails after it has worked, the fallback answers: both are on the bill, the client sees one."""

import json

from tests.rig import CONFIG, Rig

PAID = CONFIG.replace("id: vendor/first, price: free", "id: vendor/first, price: {{input: 1, output: 2}}")
MESSAGES = [{"role": "user", "content": "Skriv en mail til Mette"}]


async def test_t18_two_attempts_their_sum_and_the_fallbacks_usage(tmp_path, proof):
    """A reset in mid-body: the work was done, so an estimate is booked, never nothing and never 'exact'."""
    async with Rig(tmp_path, config=PAID) as rig, rig.openai() as client:
        rig.world.by_model["vendor/first"] = "reset-at=200"
        rig.world.by_model["vendor/second"] = "status=503"
        raw = await client.chat.completions.with_raw_response.create(model="task:work", messages=MESSAGES)
        await rig.service.flush_traces()
        (trace,) = rig.traces()
    first, second, third = trace.attempts
    reply = raw.parse()
    assert raw.headers["x-turnout-model"] == "third"
    assert raw.headers["x-turnout-attempts"] == "3"
    assert raw.headers["x-turnout-tried"] == "first@stub, second@backup, third@claude"
    assert (first.outcome, first.usage.basis) == ("upstream_fault", "estimated")
    assert first.cost_nano_usd > 0
    assert (second.outcome, second.usage, second.cost_nano_usd) == ("upstream_fault", None, 0)
    assert (third.outcome, third.usage.basis) == ("ok", "exact")
    assert trace.cost_nano_usd == first.cost_nano_usd + third.cost_nano_usd
    assert reply.usage.completion_tokens == third.usage.output_tokens
    witness = list(rig.world.witness.dispatches)
    assert [one.request_id for one in witness] == [f"{trace.request_id}-{n}" for n in (1, 2, 3)]
    assert json.loads(raw.text)["usage"]["completion_tokens"] == witness[2].output_tokens
    proof(
        f"{len(trace.attempts)} attempts: {first.cost_nano_usd} + {second.cost_nano_usd} + {third.cost_nano_usd} "
        f"= {trace.cost_nano_usd} nano-dollars; the client sees the last one's usage"
    )

"""A broken answer of plain text goes on at the next candidate, no word twice and none lost; anything else is cut."""

import random

import openai
import pytest

from tests.rig import CONFIG, Rig

PROMPT = [{"role": "user", "content": "Skriv en lang mail til Mette om rengøring"}]
TEXT = CONFIG.replace('because: "cheapest first"', 'because: "cheapest first", continuation: text')
TEXT += "breaker: {{failures: 1000}}\n"


async def answer(client, **more):
    """(text, finish reasons, seams) of one streamed answer; raises as the SDK does."""
    text, reasons, seams = "", [], []
    stream = await client.chat.completions.create(model="task:work", messages=PROMPT, stream=True, **more)
    async for chunk in stream:
        for choice in chunk.choices:
            text += choice.delta.content or ""
            reasons += [choice.finish_reason] if choice.finish_reason else []
        if (seam := getattr(chunk, "turnout", None)) is not None:
            seams.append(seam)
    return text, reasons, seams


@pytest.mark.amplifies("every answer takes two candidates")
async def test_continuation_every_broken_text_is_whole(tmp_path, size, seed, proof):
    """The first candidate breaks after a random number of events; the second continues what it is given."""
    chance = random.Random(seed)
    runs = size(30, 300)
    async with Rig(tmp_path, config=TEXT) as rig, rig.openai() as client:
        outcomes = []
        for _ in range(runs):
            rig.world.by_model["vendor/first"] = (
                f"{chance.choice(['reset-event', 'cut-event'])}={chance.randint(2, 12)}"
            )
            outcomes.append(await answer(client))
        traces = await rig.traced()
    texts = [text for text, _, _ in outcomes]
    assert [len(seams) for _, _, seams in outcomes] == [1] * runs
    assert {seams[0]["continued_by"] for _, _, seams in outcomes} == {"second"}
    assert [reasons for _, reasons, _ in outcomes] == [["stop"]] * runs
    begun = [seams[0]["after_characters"] for _, _, seams in outcomes]
    seams = [(text[after - 1], text[after]) for text, after in zip(texts, begun, strict=True) if after]
    assert all(not before.isspace() and after.isspace() for before, after in seams)
    assert max(begun) > 0
    assert {len(trace.attempts) for trace in traces[:runs]} == {2}
    assert all(trace.attempts[0].usage.basis == "estimated" for trace in traces[:runs])
    proof(f"{runs} of {runs} broken texts went on at the next candidate, after {min(begun)} to {max(begun)} characters")


async def test_continuation_never_for_tools(tmp_path):
    """Half a tool call is none: the SDK raises."""
    tool = {"type": "function", "function": {"name": "getPricing", "parameters": {"type": "object"}}}
    async with Rig(tmp_path, config=TEXT) as rig, rig.openai() as client:
        rig.world.by_model["vendor/first"] = "reset-event=3"
        with pytest.raises(openai.APIError):
            await answer(client, tools=[tool])
    assert rig.world.witness.count == 1


async def test_continuation_only_where_the_task_says_so(tmp_path):
    """Without the word in the config a broken stream is an error, and nobody else is asked."""
    async with Rig(tmp_path) as rig, rig.openai() as client:
        rig.world.by_model["vendor/first"] = "reset-event=3"
        with pytest.raises(openai.APIError):
            await answer(client)
    assert rig.world.witness.count == 1

"""A task with `continuation: text`: a broken answer goes on at the next candidate, or is an honest error."""

import asyncio
import json

import pytest

from tests.gateway.lab import CONFIG, Client, Lab, chunk, outcomes, refusal
from turnout.errors import StreamInterrupted, UpstreamFault
from turnout.gateway.memory_transport import Scripted

DONE = b"data: [DONE]\n\n"
TEXT = CONFIG.replace(
    "work: {models: [first, second, third]}", "work: {models: [first, second, third], continuation: text}"
)
BREAK = UpstreamFault("reset", is_ambiguous=True)
FINISH = b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\n'
USAGE = b'data: {"choices": [], "usage": {"prompt_tokens": 30, "completion_tokens": 4, "total_tokens": 34}}\n\n'


def texts(*words, end=(FINISH, USAGE, DONE)):
    return Scripted(200, {}, (*map(chunk, words), *end))


def told(client):
    """(text, finish reasons, turnout's own events, usage) of what the client got."""
    events = [json.loads(line[6:]) for line in client.body.decode().split("\n\n") if line.startswith("data: {")]
    choices = [choice for event in events for choice in event.get("choices", ())]
    text = "".join(choice["delta"].get("content") or "" for choice in choices)
    reasons = [choice["finish_reason"] for choice in choices if choice["finish_reason"]]
    return text, reasons, [event["turnout"] for event in events if "turnout" in event], events[-1].get("usage")


async def test_the_next_candidate_goes_on_where_the_first_broke_off(tmp_path):
    """One answer, a visible seam, one end; both halves are in the books and the client is told the sum."""
    lab = Lab(
        tmp_path,
        {"stub": [texts("Hej ", "Anna, ta", end=(BREAK,))], "backup": [texts(" tak", " for alt")]},
        config=TEXT,
    )
    client = await lab.ask("task:work", stream=True, stream_options={"include_usage": True})
    text, reasons, seams, usage = told(client)
    assert (text, reasons, client.ended) == ("Hej Anna, tak for alt", ["stop"], "finish")
    assert seams == [{"continued_by": "second", "after_characters": 9}]
    assert outcomes(lab) == (None, [("first@stub", "upstream_fault"), ("second@backup", None)])
    first, second = lab.ended[0].attempts
    assert (first.usage.basis, second.usage.basis, second.usage.input_tokens) == ("estimated", "exact", 30)
    assert usage["prompt_tokens"] == first.usage.input_tokens + 30
    sent = json.loads(lab.transport.sent[1].body)
    assert sent["messages"][-1] == {"role": "assistant", "content": "Hej Anna,"}


async def test_it_goes_on_in_another_vendors_format(tmp_path):
    """The third speaks another protocol."""
    events = [
        {
            "type": "message_start",
            "message": {"id": "m", "model": "c", "usage": {"input_tokens": 9, "output_tokens": 1}},
        },
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "tak for alt"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}},
        {"type": "message_stop"},
    ]
    body = b"".join(b"event: %b\ndata: %b\n\n" % (e["type"].encode(), json.dumps(e).encode()) for e in events)
    answers = {
        "stub": [texts("Hej ", "Anna, ", "ta", end=(BREAK,))],
        "backup": [refusal(400)],
        "claude": [Scripted(200, {}, (body,))],
    }
    lab = Lab(tmp_path, answers, config=TEXT)
    client = await lab.ask("task:work", stream=True)
    assert told(client)[:3] == ("Hej Anna, tak for alt", ["stop"], [{"continued_by": "third", "after_characters": 9}])
    assert outcomes(lab)[1] == [
        ("first@stub", "upstream_fault"),
        ("second@backup", "upstream_rejected"),
        ("third@claude", None),
    ]


async def test_it_may_break_more_than_once(tmp_path):
    """Each goes on from what the client has."""
    answers = {
        "stub": [texts("Hej ", "Anna, ", "ta", end=(BREAK,))],
        "backup": [texts("tak ", "for ", "al", end=(BREAK,)), texts("alt")],
    }
    config = TEXT.replace("[first, second, third]", "[first, second, large]")
    lab = Lab(tmp_path, answers, config=config)
    client = await lab.ask("task:work", stream=True)
    text, reasons, seams, _ = told(client)
    assert (text, reasons, [seam["after_characters"] for seam in seams]) == ("Hej Anna, tak for alt", ["stop"], [9, 17])
    assert json.loads(lab.transport.sent[2].body)["messages"][-1]["content"] == "Hej Anna, tak for"


async def test_when_nobody_can_go_on_the_stream_is_cut(tmp_path):
    """An error event and no end, as without continuation; nobody invents a finish reason."""
    lab = Lab(
        tmp_path,
        {"stub": [texts("Hej ", "Anna, ", end=(BREAK,))], "backup": [refusal(503)], "claude": [refusal(503)]},
        config=TEXT,
    )
    client = Client()
    with pytest.raises(StreamInterrupted, match="broke off"):
        await lab.ask("task:work", client, stream=True)
    assert client.ended == "cut"
    assert b'"code":"stream_interrupted"' in client.body
    assert (told(client)[1], DONE in client.body) == ([], False)


@pytest.mark.parametrize(
    "asked",
    [
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"response_format": {"type": "json_object"}},
        {"n": 2},
    ],
)
async def test_what_is_not_plain_text_is_never_continued(tmp_path, asked):
    """Half a tool call and half of another are no tool call."""
    lab = Lab(tmp_path, {"stub": [texts("Hej ", "Anna, ", end=(BREAK,))], "backup": [texts("x")]}, config=TEXT)
    with pytest.raises(StreamInterrupted):
        await lab.ask("task:work", stream=True, **asked)
    assert lab.asked == ["stub"]


async def test_an_answer_that_said_why_it_stopped_is_not_continued(tmp_path):
    """Only its end marker is missing: more text would be invented."""
    lab = Lab(tmp_path, {"stub": [texts("Hej ", "Anna", end=(FINISH, BREAK))], "backup": [texts("x")]}, config=TEXT)
    with pytest.raises(StreamInterrupted):
        await lab.ask("task:work", stream=True)
    assert lab.asked == ["stub"]


async def test_a_client_that_leaves_in_the_second_half_ends_it(tmp_path):
    """Both halves are booked."""
    gate = asyncio.Event()
    answers = {
        "stub": [texts("Hej ", "Anna, ", end=(BREAK,))],
        "backup": [Scripted(200, {}, (chunk("tak "), chunk("for "), gate))],
    }
    lab = Lab(tmp_path, answers, config=TEXT)
    client = Client()
    asking = asyncio.ensure_future(lab.ask("task:work", client, stream=True))
    async with asyncio.timeout(5):
        while b"tak" not in client.body:
            await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert outcomes(lab) == ("client_disconnected", [("first@stub", "upstream_fault"), ("second@backup", None)])
    assert [attempt.usage.basis for attempt in lab.ended[0].attempts] == ["estimated", "estimated"]


async def test_words_that_came_together_with_a_failure_are_shown(tmp_path):
    """They are a part of the text for whoever goes on: one who was not shown them would miss them."""
    error = b'data: {"error": {"message": "overloaded"}}\n\n'
    answers = {
        "stub": [texts("Hej ", "Anna, ", "ta", end=(BREAK,))],
        "backup": [Scripted(200, {}, (chunk("tak ") + chunk("for ") + error,)), texts("alt")],
    }
    lab = Lab(tmp_path, answers, config=TEXT.replace("[first, second, third]", "[first, second, large]"))
    client = await lab.ask("task:work", stream=True)
    text, reasons, seams, _ = told(client)
    assert (text, reasons, len(seams)) == ("Hej Anna, tak for alt", ["stop"], 2)


async def test_one_that_does_not_take_such_a_conversation_is_not_asked_again(tmp_path):
    """Some vendors refuse one that ends with the assistant's turn: the same candidate would say the same."""
    config = TEXT.replace("[first, second, third]", "[second]")
    lab = Lab(tmp_path, {"backup": [texts("Hej ", "Anna, ", end=(BREAK,)), refusal(400)]}, config=config)
    with pytest.raises(StreamInterrupted):
        await lab.ask("task:work", stream=True)
    assert outcomes(lab) == (
        "stream_interrupted",
        [("second@backup", "upstream_fault"), ("second@backup", "upstream_rejected")],
    )


async def test_what_is_sent_along_is_in_the_estimate(tmp_path):
    """The half that was shown is a part of the second's prompt."""
    answers = {
        "stub": [texts("Hej ", "ord " * 400, end=(BREAK,))],
        "backup": [texts("tak ", end=(BREAK,))],
        "claude": [refusal(503)],
    }
    lab = Lab(tmp_path, answers, config=TEXT)
    with pytest.raises(StreamInterrupted):
        await lab.ask("task:work", stream=True)
    first, second, _ = lab.ended[0].attempts
    assert second.usage.input_tokens >= first.usage.input_tokens + 400


@pytest.mark.parametrize("turns", range(0, 40, 3))
async def test_whenever_it_is_cancelled_both_halves_are_booked(tmp_path, turns):
    """At any turn of the loop, in either half and between them."""
    gates = [asyncio.Event() for _ in range(4)]
    answers = {
        "stub": [Scripted(200, {}, (chunk("Hej "), gates[0], chunk("Anna, "), gates[1], BREAK))],
        "backup": [Scripted(200, {}, (chunk("tak "), gates[2], chunk("for "), gates[3], FINISH, DONE))],
    }
    lab = Lab(tmp_path, answers, config=TEXT)
    asking = asyncio.ensure_future(lab.ask("task:work", stream=True))
    for turn in range(turns):
        await asyncio.sleep(0)
        if turn % 5 == 4:
            gates[min(turn // 5, 3)].set()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    if lab.ended:
        outcomes(lab)
    assert all(one.ended and one.usage is not None for exchange in lab.ended for one in exchange.attempts)

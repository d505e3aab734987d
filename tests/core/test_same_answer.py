"""Two answers say the same, or what shows that they do not."""

import json

import pytest

from turnout.core.same_answer import Told, disagreement, is_same_text, told_by
from turnout.dialects import DIALECTS

ASK = {"model": "m", "messages": [{"role": "user", "content": "a"}]}


def call(dialect="openai_chat", *, stream=False):
    """A request."""
    return DIALECTS[dialect].decode(json.dumps({**ASK, "max_tokens": 9, "stream": stream}).encode())


def whole(message):
    """A whole answer."""
    return json.dumps({"choices": [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}]})


def streamed(*deltas):
    """A stream's."""
    events = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    return "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"


def test_whole_answers_and_streams_tell_the_same():
    """Text, and tools with their arguments however they were spelt."""
    tools = [{"id": "1", "type": "function", "function": {"name": "look", "arguments": '{"b": 1, "a": 2}'}}]
    told = told_by(call(), whole({"content": "Hej", "tool_calls": tools}).encode())
    assert told == Told("Hej", (("look", '{"a":2,"b":1}'),))
    pieces = [
        {"content": "He"},
        {"content": "j"},
        {"tool_calls": [{"index": 0, "id": "1", "function": {"name": "look", "arguments": '{"a":2,'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '"b":1}'}}]},
    ]
    assert told_by(call(stream=True), streamed(*pieces).encode()) == told


def test_the_other_format_is_read_too():
    """Messages, whole and streamed."""
    body = {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": "Hej"}],
        "stop_reason": "end_turn",
    }
    assert told_by(call("anthropic_messages"), json.dumps({"id": "x", "model": "m", **body}).encode()) == Told("Hej")
    events = [
        {"type": "message_start", "message": {"id": "x", "model": "m", "usage": {}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hej"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_stop"},
    ]
    text = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
    assert told_by(call("anthropic_messages", stream=True), text.encode()) == Told("Hej")


def test_what_cannot_be_read_tells_nothing():
    """No answer at all; arguments that are no JSON are what they are."""
    assert told_by(call(), b"no json") is None
    broken = [{"id": "1", "type": "function", "function": {"name": "look", "arguments": "{"}}]
    assert told_by(call(), whole({"content": None, "tool_calls": broken}).encode()).calls == (("look", "{"),)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (Told("x", (("a", "{}"),)), Told("x", (("b", "{}"),)), "calls"),
        (Told("It costs 500 kr."), Told("It costs 600 kr."), "numbers"),
        (Told("Yes, you can."), Told("No, you can."), "mind"),
        (Told("Ja, det kan du."), Told("Nej, det kan du."), "mind"),
        (Told("You can."), Told("You cannot."), "mind"),
        (Told("1. Open it.\n2. Close it."), Told("Open it, then close it."), ""),
        (Told("It costs 500 kr."), Told("The price is 500 kr."), ""),
        (Told(""), Told(""), ""),
    ],
)
def test_what_makes_answers_different(one, other, expected):
    """Whatever their vectors say, either way round."""
    assert expected == disagreement(one, other) == disagreement(other, one)


def test_the_same_words_are_the_same_text():
    """Spaces and capitals do not count."""
    assert is_same_text("Open  Settings.\n", "open settings.")
    assert not is_same_text("Open Settings.", "Open the settings.")

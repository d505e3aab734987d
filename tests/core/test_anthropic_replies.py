"""Anthropic replies and streams → core messages and events."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.anthropic_replies import MessageDecoder, read_message
from turnout.core.anthropic_requests import REPLY_TOOL
from turnout.core.messages import (
    Ended,
    Failed,
    Finished,
    Reply,
    Started,
    Text,
    TextAdded,
    ToolCall,
    ToolCallAdded,
    ToolCallStarted,
    UsageSeen,
)
from turnout.core.usage import Usage
from turnout.errors import UpstreamFault

FIXTURES = Path(__file__).parents[1] / "fixtures/anthropic"
REPLY = json.loads((FIXTURES / "reply.json").read_bytes())
STREAM = (FIXTURES / "stream.sse").read_bytes()
STORY = [
    Started("msg_1", "claude-3-haiku-20240307"),
    UsageSeen(Usage(125, 1, cache_read_input_tokens=100, cache_write_input_tokens=5, basis="estimated")),
    TextAdded("Kære"),
    TextAdded(" Mette"),
    TextAdded("."),
    ToolCallStarted(0, "toolu_3", "checkAvailability"),
    ToolCallAdded(0, '{"date": '),
    ToolCallAdded(0, '"2026-11-24"}'),
    Finished("tool_calls"),
    UsageSeen(Usage(125, 31, cache_read_input_tokens=100, cache_write_input_tokens=5)),
    Ended(),
]


def reply(**changes):
    return read_message(json.dumps({**REPLY, **changes}).encode())


def event(kind: str, **body) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **body})}\n\n".encode()


def read(*pieces: bytes):
    decoder = MessageDecoder()
    return [one for piece in pieces for one in decoder.feed(piece)]


def test_reading_a_reply():
    """Text and tool calls; thinking is left out; the cached tokens are counted in."""
    assert reply() == Reply(
        "msg_1",
        "claude-3-haiku-20240307",
        (Text("Kære Mette."), ToolCall("toolu_3", "checkAvailability", '{"date": "2026-11-24"}')),
        "tool_calls",
        Usage(125, 12, cache_read_input_tokens=100, cache_write_input_tokens=5),
    )


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("new", "stop"),
    ],
)
def test_stop_reasons(told, wanted):
    """Each of theirs in ours, whole and streamed; a stream without one invents none."""
    assert reply(stop_reason=told).finish_reason == wanted
    assert read(event("message_delta", delta={"stop_reason": told})) == [Finished(wanted)]


def test_no_stop_reason_is_invented():
    """R5: a whole answer without one is none; a stream's piece without one says nothing."""
    failure = read_message(json.dumps({**REPLY, "stop_reason": None}).encode())
    assert isinstance(failure, UpstreamFault)
    assert failure.is_ambiguous
    assert read(event("message_delta", delta={"stop_reason": None})) == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html>", "not a JSON object"),
        (b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}', "Overloaded"),
        (b"{}", "no `content`"),
        (b'{"content":[7]}', "no `content`"),
    ],
)
def test_an_answer_that_is_none(body, words):
    """A failure, never an empty reply."""
    failure = read_message(body)
    assert isinstance(failure, UpstreamFault)
    assert words in failure.message


def test_odd_parts_are_left_out():
    """An empty text, an unknown block, absurd usage."""
    odd = reply(
        content=[{"type": "text", "text": ""}, {"type": "text"}, {"type": "server_tool_use"}, {}],
        usage={"input_tokens": -1},
    )
    assert odd == Reply("msg_1", "claude-3-haiku-20240307", (), "tool_calls")


def test_a_reply_by_schema_is_text():
    """The call of our own tool is the reply; what was said beside it is not; the reason is that it is done."""
    blocks = [
        {"type": "text", "text": "Here:"},
        {"type": "tool_use", "id": "1", "name": REPLY_TOOL, "input": {"total": 349}},
    ]
    made = reply(content=blocks)
    assert (made.parts, made.finish_reason) == ((Text('{"total": 349}'),), "stop")
    assert reply(content=blocks, stop_reason="max_tokens").finish_reason == "length"


def test_reading_a_stream():
    """Every event of the fixture: thinking, pings and block ends say nothing."""
    assert read(STREAM) == STORY


@given(st.lists(st.integers(0, len(STREAM)), max_size=8).map(sorted))
def test_the_same_events_for_any_cut(places):
    """Split-invariance; and no end before the end."""
    pieces = [STREAM[a:b] for a, b in zip([0, *places], [*places, len(STREAM)], strict=True)]
    assert read(*pieces) == STORY


def test_a_streamed_reply_by_schema_is_text():
    """Its pieces of JSON are pieces of text; another tool beside it keeps its number."""
    text = (
        event(
            "content_block_start",
            index=0,
            content_block={"type": "tool_use", "id": "1", "name": REPLY_TOOL, "input": {}},
        )
        + event("content_block_delta", index=0, delta={"type": "input_json_delta", "partial_json": '{"total":349}'})
        + event("content_block_start", index=1, content_block={"type": "tool_use", "id": "2", "name": "f", "input": {}})
        + event("message_delta", delta={"stop_reason": "tool_use"})
    )
    assert read(text) == [TextAdded('{"total":349}'), ToolCallStarted(0, "2", "f"), Finished("stop")]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            event("error", error={"type": "overloaded_error", "message": "Overloaded"}),
            Failed("Overloaded", "overloaded_error"),
        ),
        (b"data: <html>\n\n", Failed("the stream holds data that is not a JSON object", is_unreadable=True)),
        (b"data: [1]\n\n", Failed("the stream holds data that is not a JSON object", is_unreadable=True)),
        (
            b"data: " + b"x" * (3 << 20),
            Failed("the stream cannot be read: one event is longer than 2097152 bytes", is_unreadable=True),
        ),
        (event("message_stop"), Ended()),
    ],
)
def test_how_a_stream_stops(text, wanted):
    """The last event, whatever follows."""
    assert read(
        text, event("content_block_delta", delta={"type": "text_delta", "text": "late"}), event("message_stop")
    ) == [wanted]


def test_nothing_after_the_end_not_even_a_failure():
    """An endless event after message_stop changes nothing."""
    assert read(event("message_stop"), b"data: " + b"x" * (3 << 20)) == [Ended()]


def test_odd_events():
    """Unknown kinds, parts of the wrong type, a delta of no known block, text in a block's start: no harm."""
    text = (
        event("brand_new") + event("message_start", message=7) + event("message_delta", delta=7, usage=7)
        + event("content_block_delta", index=[1], delta={"type": "input_json_delta", "partial_json": "{}"})
        + event("content_block_delta", index=1, delta={"type": "citations_delta", "text": "x"})
        + event("content_block_start", index=0, content_block={"type": "text", "text": "Hi"})
    )  # fmt: skip
    assert read(text) == [Started("", ""), TextAdded("Hi")]


def test_usage_in_parts():
    """The input comes first, the output last; a null there does not erase what is known."""
    text = event("message_start", message={"usage": {"input_tokens": 5, "output_tokens": 1}})
    text += event("message_delta", delta={}, usage={"input_tokens": None, "output_tokens": 9})
    assert [one for one in read(text) if isinstance(one, UsageSeen)] == [
        UsageSeen(Usage(5, 1, basis="estimated")),
        UsageSeen(Usage(5, 9)),
    ]

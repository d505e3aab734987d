"""Answers as Anthropic's clients get them: written from events, or forwarded and read on the side."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.anthropic_answers import (
    MessageEncoder,
    MessageRelay,
    inspect_message,
    write_error,
    write_message,
    write_usage,
)
from turnout.core.anthropic_replies import MessageDecoder, read_message
from turnout.core.messages import (
    Continued,
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
from turnout.errors import StreamInterrupted, UpstreamError

STREAM = (Path(__file__).parents[1] / "fixtures/anthropic/stream.sse").read_bytes()


def events(data):
    """(event line, data) of each event."""
    frames = [frame.split("\n") for frame in data.decode().split("\n\n") if frame]
    return [(name.removeprefix("event: "), json.loads(line.removeprefix("data: "))) for name, line in frames]


def written(*given_events):
    encoder = MessageEncoder("req_1")
    return events(b"".join(encoder.encode(event) for event in given_events))


def test_a_text_is_one_block():
    """In the order that the SDK demands."""
    told = written(
        Started("x", "m"), TextAdded("Hej "), TextAdded("Anna"), UsageSeen(Usage(9, 2)), Finished("stop"), Ended()
    )
    assert [name for name, _ in told] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert all(data["type"] == name for name, data in told)
    assert told[0][1]["message"]["id"] == "msg_x"
    assert told[-2][1]["delta"]["stop_reason"] == "end_turn"
    assert told[-2][1]["usage"]["output_tokens"] == 2


def test_text_and_tool_calls_are_blocks_of_their_own():
    """Each is closed before the next is opened."""
    told = written(
        Started("msg_1", "m"),
        TextAdded("Et øjeblik"),
        ToolCallStarted(0, "t0", "f"),
        ToolCallAdded(0, '{"a":'),
        ToolCallStarted(1, "t1", "g"),
        ToolCallAdded(1, "{}"),
        ToolCallAdded(7, "lost"),
        TextAdded("Så"),
        Finished("tool_calls"),
        Ended(),
    )
    blocks = [(name, data["index"]) for name, data in told if name.startswith("content_block")]
    assert [at for name, at in blocks if name == "content_block_start"] == [0, 1, 2, 3]
    assert [at for name, at in blocks if name == "content_block_stop"] == [0, 1, 2, 3]
    assert told[0][1]["message"]["id"] == "msg_1"
    assert told[-2][1]["delta"]["stop_reason"] == "tool_use"


def test_a_stream_begins_and_ends_even_if_the_vendors_did_not_say_so():
    """Content without a start, and an end without content."""
    assert written(TextAdded("Hej"))[0][1]["message"]["id"] == "msg_req_1"
    assert [name for name, _ in written(Ended())] == ["message_start", "message_delta", "message_stop"]
    assert written(Started("", "m"))[0][1]["message"]["id"] == "msg_req_1"


def test_a_seam_is_an_event_that_sdks_pass_over():
    """And a failure is the engine's to tell."""
    ((name, data),) = written(Continued("second", 12))
    assert (name, data["turnout"]) == ("ping", {"continued_by": "second", "after_characters": 12})
    assert written(Failed("x")) == []


def test_what_is_written_is_read_back():
    """By the decoder of the vendor's own streams."""
    decoder = MessageDecoder()
    encoder = MessageEncoder("r")
    script = [
        Started("msg_a", "m"),
        TextAdded("Hej"),
        ToolCallStarted(0, "t", "f"),
        ToolCallAdded(0, "{}"),
        Finished("length"),
        Ended(),
    ]
    read = [event for one in script for event in decoder.feed(encoder.encode(one))]
    assert [event for event in read if not isinstance(event, UsageSeen)] == script


@pytest.mark.parametrize("reason", ["stop", "length", "tool_calls", "content_filter"])
def test_a_whole_answer_is_read_back(reason):
    """Text, a tool call with arguments that are none, usage with its cached part."""
    usage = Usage(20, 5, cache_read_input_tokens=7, cache_write_input_tokens=3)
    reply = Reply("msg_1", "m", (Text("Hej"), ToolCall("t", "f", '{"a":1}')), reason, usage)
    read = read_message(write_message(reply))
    assert read == Reply(reply.id, "m", reply.parts, "tool_calls" if reason == "stop" else reason, usage)


def test_usage_that_is_not_known_is_nothing():
    """The SDK requires numbers."""
    assert write_usage(None) == {"input_tokens": 0, "output_tokens": 0}
    assert write_usage(Usage(20, 5, 7, 3))["input_tokens"] == 10


def test_a_whole_answer_is_inspected():
    """Usage and reason; what cannot be read is no answer."""
    whole = {
        "content": [{"type": "text", "text": "Hej"}],
        "stop_reason": "max_tokens",
        "usage": {"input_tokens": 3, "output_tokens": 1},
    }
    seen = inspect_message(json.dumps(whole).encode())
    assert (seen.finish_reason, seen.usage.input_tokens, seen.output_bytes) == ("length", 3, 0)
    assert isinstance(inspect_message(b"<html>"), UpstreamError)


def test_an_error_in_a_stream_makes_sdks_raise():
    """An event of type error."""
    ((name, data),) = events(write_error(StreamInterrupted("broke off")))
    assert (name, data["type"], data["error"]["code"]) == ("error", "error", "stream_interrupted")


@given(st.lists(st.integers(1, 60), min_size=1, max_size=20))
def test_the_fast_lane_forwards_what_came(sizes):
    """Byte for byte, however it was cut; and knows what it said."""
    relay = MessageRelay()
    out, at, turn = b"", 0, 0
    while at < len(STREAM):
        size = sizes[turn % len(sizes)]
        out += relay.feed(STREAM[at : at + size])
        at, turn = at + size, turn + 1
    assert out == STREAM
    assert (relay.is_ended, relay.has_content, relay.failure) == (True, True, None)
    assert relay.usage.basis == "exact"
    assert relay.feed(b"event: ping\n\n") == b""


def test_thinking_is_content():
    """A client that sees a model think does not wait for nothing."""
    relay = MessageRelay()
    frame = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}\n\n'
    assert relay.feed(frame) == frame
    assert relay.has_content


@pytest.mark.parametrize(
    "bad",
    [
        b"data: <html>\n\n",
        b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"busy"}}\n\n',
        b"data: " + b"x" * 3_000_000,
    ],
)
def test_what_is_no_event_is_not_forwarded(bad):
    """Nor is anything after it; what came before it is."""
    first = b'event: ping\ndata: {"type":"ping"}\n\n'
    relay = MessageRelay()
    assert relay.feed(first + bad) == first
    assert relay.failure is not None
    assert relay.feed(first) == b""


def test_nothing_follows_the_end():
    """Events after message_stop are no part of the answer."""
    relay = MessageRelay()
    assert relay.feed(STREAM + b"event: ping\ndata: {}\n\n") == STREAM


def test_tool_calls_written_in_turns_become_blocks_one_after_the_other():
    """No delta for a block that is closed: the second call is kept until the first is whole."""
    told = written(
        Started("x", "m"),
        ToolCallStarted(0, "a", "f"),
        ToolCallAdded(0, '{"x":'),
        ToolCallStarted(1, "b", "g"),
        ToolCallAdded(1, '{"y":'),
        ToolCallAdded(0, "1}"),
        ToolCallAdded(1, "2}"),
        Finished("tool_calls"),
        Ended(),
    )
    blocks = [(name.removeprefix("content_block_"), data["index"]) for name, data in told if "content_block" in name]
    assert blocks == [
        ("start", 0), ("delta", 0), ("delta", 0), ("stop", 0), ("start", 1), ("delta", 1), ("stop", 1)
    ]  # fmt: skip
    pieces = [data["delta"]["partial_json"] for name, data in told if name == "content_block_delta"]
    assert pieces == ['{"x":', "1}", '{"y":2}']


def test_a_tool_call_is_one_whatever_the_vendor_calls_its_end_and_however_it_names_it():
    """`stop` after a call would keep an agent from running it, and a result needs an id to point to."""
    told = written(Started("x", "m"), ToolCallStarted(0, "", "f"), Finished("stop"), Ended())
    assert told[1][1]["content_block"]["id"] == "toolu_req_1_0"
    assert told[-2][1]["delta"]["stop_reason"] == "tool_use"
    whole = json.loads(write_message(Reply("c1", "m", (ToolCall("", "f", "{}"),), "stop")))
    assert (whole["content"][0]["id"], whole["stop_reason"]) == ("toolu_c1_0", "tool_use")


def test_a_seam_inside_a_text_is_seen_by_sdks():
    """A delta without text holds it, as a ping is passed over."""
    *_, (name, data) = written(Started("x", "m"), TextAdded("Hej "), Continued("second", 4))
    assert (name, data["delta"]["text"], data["turnout"]["continued_by"]) == ("content_block_delta", "", "second")


def frame(data):
    return b"event: %b\ndata: %b\n\n" % (data["type"].encode(), json.dumps(data).encode())


def test_thoughts_are_content_and_are_counted():
    """A thinking model is not silent, and what it thought is on the bill of a stream that breaks."""
    relay = MessageRelay()
    relay.feed(
        frame({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "x" * 40}})
    )
    assert (relay.has_content, relay.output_bytes) == (True, 40)


def test_the_vendors_own_tools_are_content():
    """A search takes longer than a first word may; a count of searches is none."""
    relay = MessageRelay()
    relay.feed(frame({"type": "message_start", "message": {"usage": {"server_tool_use": {"web_search_requests": 0}}}}))
    assert not relay.has_content
    block = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    relay.feed(frame({"type": "content_block_start", "index": 0, "content_block": block}))
    assert relay.has_content

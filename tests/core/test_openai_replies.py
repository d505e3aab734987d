"""OpenAI replies and streams, read and written: forgiving about details, never about errors or the end."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.contracts import Seen
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
from turnout.core.openai_replies import ChunkDecoder, ChunkEncoder, finish_reason, inspect_chat, read_reply, write_reply
from turnout.core.usage import Usage
from turnout.errors import UpstreamFault, UpstreamThrottled

FIXTURES = Path(__file__).parents[1] / "fixtures/compatible"
REPLY = (FIXTURES / "reply.json").read_bytes()
STREAM = (FIXTURES / "stream.sse").read_bytes()
USAGE = Usage(24, 11, cache_read_input_tokens=8, reasoning_output_tokens=2)
TEXT = "Kære Mette, tak for din henvendelse."
STORY = [
    Started("chatcmpl-1", "gpt-4o-mini-2024-07-18"),
    *[TextAdded(word) for word in ("Kære", " Mette", ",", " tak", " for", ' "rengøring"', "\n", ".")],
    ToolCallStarted(0, "call_2", "checkAvailability"),
    ToolCallAdded(0, '{"da'),
    ToolCallAdded(0, 'te":"20'),
    ToolCallAdded(0, '26-11-24"}'),
    Finished("tool_calls"),
    UsageSeen(Usage(24, 31, cache_read_input_tokens=8)),
    Ended(),
]


def event(**body) -> bytes:
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def read(*pieces: bytes):
    decoder = ChunkDecoder()
    return [one for piece in pieces for one in decoder.feed(piece)]


def test_inspecting_an_answer():
    """Usage and the reason; and, where there is no usage, about how much it said."""
    assert inspect_chat(REPLY) == Seen(USAGE, "stop")
    untold = json.dumps({**json.loads(REPLY), "usage": None}).encode()
    assert inspect_chat(untold) == Seen(None, "stop", len(TEXT.encode()))
    assert inspect_chat(json.dumps({**json.loads(REPLY), "error": None}).encode()) == Seen(USAGE, "stop")


def test_what_is_skipped_over_must_be_text_all_the_same():
    """UTF-8 passes; a byte that is none makes the answer one that cannot be read."""
    told = b'{"choices":[{"message":{"content":"%b"}}],"usage":{"prompt_tokens":1,"completion_tokens":2}}'
    assert inspect_chat(told % "rengøring".encode()) == Seen(Usage(1, 2))
    assert isinstance(inspect_chat(told % b"\xff"), UpstreamFault)
    assert isinstance(inspect_chat(told.replace(b'"usage"', b'"error":{"message":"x"},"usage"') % b"a"), UpstreamFault)


@pytest.mark.parametrize("read_it", [inspect_chat, read_reply])
@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (b"<html>502</html>", UpstreamFault, "not a JSON object"),
        (b"[]", UpstreamFault, "not a JSON object"),
        (b"", UpstreamFault, "not a JSON object"),
        (REPLY[:-4], UpstreamFault, "not a JSON object"),
        (b"[" * 100_000, UpstreamFault, "not a JSON object"),
        (b'{"error":{"message":"boom","code":502}}', UpstreamFault, "boom"),
        (b'{"error":{"message":"later","code":429}}', UpstreamThrottled, "later"),
        (b"{}", UpstreamFault, "no message"),
        (b'{"choices":{}}', UpstreamFault, "no message"),
        (b'{"choices":[]}', UpstreamFault, "no message"),
        (b'{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}', UpstreamFault, "no message"),
        (b'{"choices":[7,{"finish_reason":7},{"message":null}]}', UpstreamFault, "no message"),
        (b'{"choices":[{"message":{},"error":{"message":"gone"}}],"usage":{"prompt_tokens":1}}', UpstreamFault, "gone"),
        (
            b'{"choices":[{"message":{},"error":{"message":"off","code":429}}],"usage":{"prompt_tokens":1,"completion_tokens":2}}',
            UpstreamThrottled,
            "off",
        ),
    ],
)
def test_an_answer_that_is_none(read_it, body, kind, words):
    """HTML, cut JSON, an error inside a 200: a failure, with at most 2 KiB kept."""
    failure = read_it(body)
    assert kind is type(failure)
    assert words in failure.message
    assert len(failure.body) <= 2048


def test_odd_answers_are_still_answers():
    """No usage, an unknown reason, choices that are none: nothing is invented."""
    assert inspect_chat(b'{"choices":[7,{"message":{},"finish_reason":7}],"usage":{"prompt_tokens":-1}}') == Seen()
    assert read_reply(b'{"choices":[{"message":{},"finish_reason":"eos"}]}') == Reply("", "", (), "stop")
    odd = b'{"choices":[{"finish_reason":"stop","message":{"content":null,"refusal":"no","tool_calls":[7,{"function":7},{"function":{"name":"f"}}]}}]}'
    assert read_reply(odd) == Reply("", "", (Text("no"), ToolCall("", "f", "")), "stop")


@pytest.mark.parametrize("reason", [None, "", 7])
def test_a_translated_answer_says_why_it_stopped_or_is_none(reason):
    """Untouched it may stay silent about it; written anew, a reason would be our invention (R5)."""
    body = json.dumps({"choices": [{"message": {"content": "Hej"}, "finish_reason": reason}]}).encode()
    assert inspect_chat(body) == Seen(None, "", 3)
    failure = read_reply(body)
    assert isinstance(failure, UpstreamFault)
    assert failure.is_ambiguous
    assert "why it stopped" in failure.message


def test_reading_a_reply():
    """The first choice, whole."""
    assert read_reply(REPLY) == Reply("chatcmpl-1", "gpt-4o-mini-2024-07-18", (Text(TEXT),), "stop", USAGE)


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("function_call", "tool_calls"),
        ("eos", "stop"),
        ("", None),
        (None, None),
        (7, None),
    ],
)
def test_reasons(told, wanted):
    """Known words as they are, unknown ones stop, no word is none."""
    assert wanted == finish_reason(told)


def test_reading_a_stream():
    """Every event of the fixture."""
    assert read(STREAM) == STORY


@given(st.lists(st.integers(0, len(STREAM)), max_size=8).map(sorted))
def test_the_same_events_for_any_cut(places):
    """Split-invariance; and no end before the end."""
    pieces = [STREAM[a:b] for a, b in zip([0, *places], [*places, len(STREAM)], strict=True)]
    assert read(*pieces) == STORY
    assert Ended() not in read(*pieces[:-1]) or pieces[-1] in {b"", b"\n"}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (event(error={"message": "boom", "type": "server_error"}), Failed("boom", "server_error")),
        (event(error={"message": "boom", "code": 429}), Failed("boom", "429")),
        (event(object="error", message="boom"), Failed("boom", "")),
        (b'event: error\ndata: {"message":"boom"}\n\n', Failed("boom", "")),
        (b"data: <html>\n\n", Failed("the stream holds data that is not a JSON object", is_unreadable=True)),
        (b"data: 7\n\n", Failed("the stream holds data that is not a JSON object", is_unreadable=True)),
        (
            b"data: " + b"x" * (3 << 20),
            Failed("the stream cannot be read: one event is longer than 2097152 bytes", is_unreadable=True),
        ),
        (b"data: [DONE]\n\n", Ended()),
    ],
)
def test_how_a_stream_stops(text, wanted):
    """An error, unreadable data, the end: the last event, whatever follows."""
    assert read(text, event(choices=[]), b"data: [DONE]\n\n") == [wanted]


def test_nothing_after_the_end_not_even_a_failure():
    """An endless event after [DONE] changes nothing."""
    assert read(b"data: [DONE]\n\ndata: " + b"x" * (3 << 20)) == [Ended()]


def test_odd_chunks():
    """A tool call without an index, or of no shape; a delta that is none; deltas of two calls interleaved."""
    text = event(
        choices=[{"delta": {"tool_calls": [7, {"function": 7}, {"function": {"name": "f", "arguments": "{"}}]}}]
    )
    text += event(choices=[{"delta": 7}]) + event(choices=7)
    text += event(
        choices=[
            {
                "delta": {
                    "tool_calls": [
                        {"index": 3, "id": "b", "function": {"name": "g"}},
                        {"index": 0, "function": {"arguments": "}"}},
                    ]
                }
            }
        ]
    )
    assert read(text) == [
        Started("", ""), ToolCallStarted(0, "", "f"), ToolCallAdded(0, "{"), ToolCallStarted(1, "b", "g"), ToolCallAdded(0, "}"),
    ]  # fmt: skip


def test_writing_a_reply():
    """Text, tool calls, usage with its parts; and reading it gives it back."""
    reply = Reply("r", "m", (Text("a"), ToolCall("c", "f", "{}")), "tool_calls", USAGE)
    body = json.loads(write_reply(reply, 1763700000))
    assert (body["object"], body["created"], body["usage"]["total_tokens"]) == ("chat.completion", 1763700000, 35)
    assert body["choices"][0]["message"]["content"] == "a"
    assert read_reply(write_reply(reply, 0)) == reply


@pytest.mark.parametrize(
    ("parts", "content"), [((), ""), ((Text("a"), Text("b")), "ab"), ((ToolCall("c", "f", "{}"),), None)]
)
def test_the_content_of_a_written_reply(parts, content):
    """Text is one string; a reply that only calls tools has null; no usage, no field."""
    body = json.loads(write_reply(Reply("r", "m", parts, "stop"), 0))
    assert body["choices"][0]["message"]["content"] == content
    assert "usage" not in body


@pytest.mark.parametrize("wants_usage", [True, False])
def test_writing_a_stream(wants_usage):
    """Written and read again, the story is the same; usage only for who asked."""
    encoder = ChunkEncoder(wants_usage=wants_usage, request_id="1", created=5)
    text = b"".join(encoder.encode(one) for one in STORY)
    assert read(text) == [one for one in STORY if wants_usage or not isinstance(one, UsageSeen)]
    first = json.loads(text[6 : text.index(b"\n")])
    assert (first["id"], first["object"], first["created"]) == ("chatcmpl-1", "chat.completion.chunk", 5)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}


def test_a_stream_without_usage_or_names():
    """Our request's id stands in for the vendor's; a failure is the engine's to tell; no usage, no chunk for it."""
    encoder = ChunkEncoder(wants_usage=True, request_id="req_7", created=5)
    assert b'"id":"chatcmpl-req_7"' in encoder.encode(Started("", ""))
    assert encoder.encode(Failed("boom")) == b""
    assert encoder.encode(UsageSeen(Usage(3, 1, basis="estimated"))) == b""
    assert b'"finish_reason":"stop"' in encoder.encode(Finished("stop"))  # what was counted before it is no answer's
    assert encoder.encode(Ended()) == b"data: [DONE]\n\n"

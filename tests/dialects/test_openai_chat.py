"""OpenAI's chat completions from the client's side: what decides a route is read, the rest stays, errors say which field."""

import json
from pathlib import Path

import httpx2
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.contracts import Call, Seen
from turnout.core.messages import Ended, Reply, Started, Text, TextAdded, UsageSeen
from turnout.core.pieces import LARGE_BYTES
from turnout.core.usage import Usage
from turnout.dialects.openai_chat import DIALECT, IMAGE_TOKENS
from turnout.errors import InvalidRequest, RateLimited, StreamInterrupted

FIXTURES = Path(__file__).parents[1] / "fixtures/compatible"
HI = [{"role": "user", "content": "hi"}]


def decode(**body) -> Call:
    return DIALECT.decode(json.dumps({"model": "m", "messages": HI, **body}).encode())


def test_the_whole_fixture():
    """Name, user, stream, usage wish, needs, tools, bounds; unknown members are there, untouched."""
    body = (FIXTURES / "request.json").read_bytes()
    call = DIALECT.decode(body)
    assert (call.kind, call.dialect, call.name, call.user, call.task) == (
        "chat",
        "openai_chat",
        "email-draft",
        "u42",
        "",
    )
    assert (call.stream, call.wants_usage, call.tools, call.max_output_tokens) == (True, True, 1, 180)
    assert call.needs == {"stream", "tools", "vision"}
    assert list(call.fields) == list(json.loads(body))
    assert b"2.5" in bytes(call.fields["vendor_extra"])


def test_a_bare_request():
    """The smallest there is: no name yet (a header may bring the task), nothing asked for."""
    body = b'{"messages":[{"role":"user","content":"hi"}]}'
    call = DIALECT.decode(body)
    assert (call.name, call.task, call.user, call.stream, call.needs, call.tools) == ("", "", "", False, frozenset(), 0)
    assert call.max_output_tokens is None
    assert call.input_tokens == 12


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ({"metadata": {"task": "email-draft", "x": 1}}, {"task": "email-draft"}),
        ({"metadata": None}, {"task": ""}),
        ({"metadata": {"task": None}}, {"task": ""}),
        ({"user": None}, {"user": ""}),
        ({"stream": False, "stream_options": {"include_usage": True}}, {"stream": False, "wants_usage": False}),
        ({"stream": True}, {"stream": True, "wants_usage": False, "needs": {"stream"}}),
        ({"stream": True, "stream_options": None}, {"wants_usage": False}),
        ({"stream": True, "stream_options": {"include_usage": None}}, {"wants_usage": False}),
        ({"stream": True, "stream_options": {"include_usage": True}}, {"wants_usage": True}),
        ({"tools": []}, {"tools": 0, "needs": set()}),
        ({"tools": None}, {"tools": 0}),
        ({"tools": [{}, {}]}, {"tools": 2, "needs": {"tools"}}),
        ({"response_format": {"type": "text"}}, {"needs": set()}),
        ({"response_format": None}, {"needs": set()}),
        ({"response_format": {"type": "json_object"}}, {"needs": {"json"}}),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, {"needs": {"json"}}),
        ({"max_tokens": 5}, {"max_output_tokens": 5}),
        ({"max_tokens": 5, "max_completion_tokens": 7}, {"max_output_tokens": 7}),
        ({"model": ""}, {"name": ""}),
        ({"model": None}, {"name": ""}),
    ],
)
def test_what_is_read(body, wanted):
    """Each member that matters, with its nulls."""
    call = decode(**body)
    assert wanted == {name: getattr(call, name) for name in wanted}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"model": 7}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": {}}, "messages"),
        ({"stream": "yes"}, "stream"),
        ({"stream": True, "stream_options": 7}, "stream_options"),
        ({"stream": True, "stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ({"user": 7}, "user"),
        ({"metadata": {"task": 7}}, "metadata.task"),
        ({"tools": {}}, "tools"),
        ({"response_format": {}}, "response_format"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"max_completion_tokens": 1.5}, "max_completion_tokens"),
    ],
)
def test_what_is_wrong_is_named(body, param):
    """The field at fault, down to the place inside it."""
    with pytest.raises(InvalidRequest) as refused:
        decode(**body)
    assert param == refused.value.param
    assert param.partition(".")[0] in refused.value.message


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"hi", b'{"model":"m"}', b'{"messages":[ ]}', b'{"messages":[{"content":"\xff"}]}']
)
def test_what_is_no_request(body):
    """No JSON object, no messages, no UTF-8."""
    with pytest.raises(InvalidRequest):
        DIALECT.decode(body)


@pytest.mark.parametrize(
    ("members", "param"),
    [
        (b'"model":"a","model":"b"', "model"),
        (b'"model":"a","mod\\u0065l":"b"', "model"),
        (b'"stream":true,"stream":false', "stream"),
        (b'"max_tokens":1,"max_tokens":1000', "max_tokens"),
        (b'"messages":[]', "messages"),
        (b'"metadata":{"task":"a","task":"b"}', "metadata.task"),
        (
            b'"stream":true,"stream_options":{"include_usage":false,"include_usage":true}',
            "stream_options.include_usage",
        ),
        (b'"response_format":{"type":"text","type":"json_object"}', "response_format.type"),
    ],
)
@pytest.mark.parametrize("space", [b"", b" ", b"\n   "])
def test_what_decides_a_route_is_given_once(members, param, space):
    """What we read is what the vendor reads; another parser may take the first of two (T49)."""
    body = b'{"messages":[{"role":"user","content":"hi"}],' + members.replace(b":", b":" + space) + b"}"
    with pytest.raises(InvalidRequest, match="given twice") as refused:
        DIALECT.decode(body)
    assert param == refused.value.param


def image(url: object) -> list[object]:
    return [{"role": "user", "content": [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": url}]}]


def test_an_image_is_an_ability_and_a_thousand_tokens():
    """The base64 is not words: it does not fill the window."""
    data = "data:image/png;base64," + "A" * 400_000
    for url in ({"url": data}, data, {"url": data[:1000]}):
        call = decode(messages=image(url))
        assert call.needs == {"vision"}
        assert IMAGE_TOKENS < call.input_tokens < IMAGE_TOKENS + 60


@pytest.mark.parametrize("length", [10, LARGE_BYTES])
def test_a_long_request_is_read_as_a_short_one(length):
    """From the buffer that it came into: the same needs, and the same refusals."""
    long = "[" + "x" * length
    wanted = [
        ({"messages": [{"role": "user", "content": long}]}, frozenset()),
        ({"messages": [*HI, *image(None)], "more": long}, frozenset()),
        ({"messages": image({"url": long})}, {"vision"}),
        ({"messages": [*HI, *image(long)]}, {"vision"}),
    ]
    for members, needs in wanted:
        encoded = json.dumps({"model": "m", **members}).encode()
        call = DIALECT.decode(bytearray(encoded))
        assert (needs, len(encoded)) == (call.needs, call.size)
        assert members["messages"] == json.loads(bytes(call.fields["messages"]))
    for messages in ([], "hi", {"a": 1}):
        with pytest.raises(InvalidRequest) as refused:
            DIALECT.decode(bytearray(json.dumps({"messages": messages, "more": long}).encode()))
        assert "messages" == refused.value.param


@pytest.mark.parametrize(
    "messages",
    [
        image(None),
        [{"role": "user", "content": 'the "image_url" [field]'}],
        [{"role": "user", "content": [{"type": "text", "text": "[1]"}]}],
        [*HI, {"role": "user"}],
    ],
)
def test_words_about_images_are_none(messages):
    """An exact look: a text that says image_url asks for nothing."""
    messages = [*messages, {"role": "user", "content": json.dumps({"image_url": []})}]
    assert decode(messages=messages).needs == frozenset()


def test_a_part_named_image_url_beside_a_plain_message():
    """Messages with and without parts are both looked at; wrong parts are named."""
    assert decode(messages=[*HI, *image({"url": "https://e.com/a.png"})]).needs == {"vision"}
    wrong = [
        ([{"type": "image_url", "image_url": 7}], "messages[1].content[0].image_url"),
        ([{"type": "text"}, {"type": 7, "image_url": "[]"}], "messages[1].content[1].type"),
        ({"image_url": []}, "messages[1].content"),
    ]
    for content, param in wrong:
        with pytest.raises(InvalidRequest) as refused:
            decode(messages=[*HI, {"role": "user", "content": content}])
        assert param == refused.value.param


def test_translation_goes_through_core_messages():
    """The shared reader and writers, with the call's wishes."""
    call = decode(stream=True, stream_options={"include_usage": True}, n=1)
    assert DIALECT.to_messages(call).messages[0].parts == (Text("hi"),)
    assert json.loads(DIALECT.encode_reply(Reply("r", "m", (Text("a"),), "stop"), call, 5))["created"] == 5
    encoder = DIALECT.encoder(call, "req_1", 5)
    story = [Started("", ""), TextAdded("a"), UsageSeen(Usage(1, 2)), Ended()]
    assert b"".join(map(encoder.encode, story)).count(b"data: ") == 4
    assert DIALECT.inspect((FIXTURES / "reply.json").read_bytes()) == Seen(
        Usage(24, 11, cache_read_input_tokens=8, reasoning_output_tokens=2), "stop"
    )


@pytest.mark.parametrize(("options", "dropped"), [({}, 1), ({"stream_options": {"include_usage": True}}, 0)])
def test_the_relay_knows_whether_usage_was_asked_for(options, dropped):
    """Our own wish for usage is not the client's."""
    stream = (FIXTURES / "stream.sse").read_bytes()
    out = DIALECT.relay(decode(stream=True, **options)).feed(stream)
    assert stream.count(b"\n\n") - dropped == out.count(b"\n\n")


class Canned(httpx2.BaseTransport):
    """Answers every request of the SDK with the same stream, in this process."""

    def __init__(self, body: bytes) -> None:
        self.body = body

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=self.body, request=request)


@pytest.mark.parametrize(
    "error", [StreamInterrupted("the provider's stream broke\noff"), RateLimited("later", param="x")]
)
def test_an_error_event_makes_the_official_sdk_raise(error):
    """What was sent is read, then APIError: never a normal end."""
    event = DIALECT.encode_error_event(error)
    assert b"[DONE]" not in event
    assert event.endswith(b"\n\n")
    chunk = b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
    with (
        httpx2.Client(transport=Canned(chunk + event)) as http,
        openai.OpenAI(api_key="x", base_url="http://t", http_client=http) as client,
    ):
        stream = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}], stream=True)
        assert next(stream).choices[0].delta.content == "a"
        with pytest.raises(openai.APIError) as raised:
            next(stream)
    assert raised.value.message == error.message
    assert (raised.value.code, raised.value.param) == (error.code, error.param)


@given(st.dictionaries(st.text(max_size=6) | st.sampled_from(("model", "stream", "tools", "user", "messages", "metadata")), st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=5,
)))  # fmt: skip
def test_any_object_is_a_call_or_an_invalid_request(body):
    """Nothing else comes out, and no member is lost."""
    try:
        call = DIALECT.decode(json.dumps(body).encode())
    except InvalidRequest as refused:
        call = refused
    assert list(body) == list(call.fields) if isinstance(call, Call) else call.message

"""OpenAI requests ↔ core messages: what is read is what was written, and what cannot be translated is refused by name."""

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.messages import ChatRequest, Image, Message, Text, Tool, ToolCall, ToolResult
from turnout.core.openai_fields import split
from turnout.core.openai_requests import read_chat, write_chat
from turnout.errors import InvalidRequest

FIXTURE = (Path(__file__).parents[1] / "fixtures/compatible/request.json").read_bytes()
HI = [{"role": "user", "content": "hi"}]


def read(**body) -> ChatRequest:
    return read_chat(split(json.dumps({"messages": HI, **body}).encode()))


def test_the_whole_fixture():
    """System, text, image, tool call, tool result, tools, sampling, stop, user."""
    request = read_chat(split(FIXTURE))
    schema = request.tools[0].schema
    assert request == ChatRequest(
        messages=(
            Message("system", (Text("Svar på dansk."),)),
            Message(
                "user",
                (Text("Hvad koster rengøring af dette kontor?"), Image(media_type="image/png", data="iVBORw0KGgo=")),
            ),
            Message("assistant", (ToolCall("call_1", "checkAvailability", '{"date":"2026-11-24"}'),)),
            Message("tool", (ToolResult("call_1", "free from 09:00"),)),
            Message("user", (Text("Fint. Skriv et tilbud."),)),
        ),
        tools=(Tool("checkAvailability", "Is a time free?", schema),),
        tool_choice="auto",
        max_tokens=180,
        temperature=0.7,
        stop=("SLUT",),
        user="u42",
        stream=True,
    )
    assert json.loads(bytes(schema))["required"] == ["date"]


def test_other_spellings():
    """developer is system; parts for a tool's text; a refusal is text; an image as a bare URL; max_completion_tokens wins."""
    request = read(
        messages=[
            {"role": "developer", "content": [{"type": "text", "text": "be brief"}]},
            {"role": "user", "content": [{"type": "image_url", "image_url": "https://example.com/a.png"}]},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}], "refusal": "never"},
            {"role": "assistant", "content": ""},
            {
                "role": "tool",
                "tool_call_id": "c",
                "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
            },
        ],
        max_tokens=1,
        max_completion_tokens=2,
        stop="x",
        parallel_tool_calls=False,
        top_p=0.5,
        tools=[{"type": "function", "function": {"name": "f"}}],
    )
    assert [message.parts for message in request.messages] == [
        (Text("be brief"),),
        (Image(url="https://example.com/a.png"),),
        (Text("no"), Text("never")),
        (),
        (ToolResult("c", "ab"),),
    ]
    assert (request.messages[0].role, request.max_tokens, request.stop, request.top_p) == ("system", 2, ("x",), 0.5)
    assert request.parallel_tool_calls is False
    assert json.loads(bytes(request.tools[0].schema))["type"] == "object"


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        (None, ""),
        ("none", "none"),
        ("required", "required"),
        ({"type": "function", "function": {"name": "f"}}, "function:f"),
    ],
)
def test_tool_choice(choice, wanted):
    """A word, or one function."""
    assert read(tool_choice=choice).tool_choice == wanted


@pytest.mark.parametrize(
    ("form", "wanted"),
    [
        (None, (False, None)),
        ({"type": "text"}, (False, None)),
        ({"type": "json_object"}, (True, None)),
        ({"type": "json_schema"}, (True, None)),
        (
            {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}},
            (True, {"type": "object"}),
        ),
    ],
)
def test_response_format(form, wanted):
    """Text, any JSON, JSON by a schema."""
    request = read(response_format=form)
    schema = request.json_schema
    assert (request.wants_json, schema and json.loads(bytes(schema))) == wanted


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"logit_bias": {"7": 1}}, "logit_bias"),
        ({"audio": {"voice": "x"}}, "audio"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"functions": [{}]}, "functions"),
        ({"function_call": "auto"}, "function_call"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"tools": [{"type": "custom"}]}, "tools[0]"),
        ({"tools": [{"type": "function"}]}, "tools[0]"),
        ({"tool_choice": "any"}, "tool_choice"),
        ({"tool_choice": {"type": "allowed_tools"}}, "tool_choice"),
        ({"messages": [{"role": "function", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///etc"}}]}]}, "messages[0].content[0].image_url.url"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png,x"}}]}]}, "messages[0].content[0].image_url.url"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"messages": [{"content": "x"}]}, "messages[0]"),
        ({"temperature": "hot"}, "temperature"),
        ({"stop": 7}, "stop"),
        ({"user": 7}, "user"),
    ],
)  # fmt: skip
def test_what_cannot_be_translated_is_refused_by_name(body, param):
    """An answer other than what was asked for is worse than none."""
    with pytest.raises(InvalidRequest) as refused:
        read(**body)
    assert param == refused.value.param
    assert param in refused.value.message


@pytest.mark.parametrize(
    "body",
    [{"n": 1}, {"n": None}, {"logprobs": False}, {"logit_bias": {}}, {"modalities": ["text"]}, {"functions": []}, {"seed": 7, "store": True, "x": 1}],
)  # fmt: skip
def test_what_asks_for_nothing_is_harmless(body):
    """Defaults spelled out, and fields that change no answer, are dropped."""
    assert read(**body) == read()


def test_messages_must_be_there():
    """Also where a dialect did not look; and what msgspec cannot decode is refused, not raised through."""
    with pytest.raises(InvalidRequest, match="the request"):
        read_chat(split(b"{}"))
    with pytest.raises(InvalidRequest, match="n"):
        read_chat(split(b'{"messages":[],"n":1e999}'))
    with pytest.raises(InvalidRequest, match="not valid JSON"):
        read_chat({"messages": msgspec.Raw(b'[{"role":"user","content":"\xff"}]')})


def test_writing_leaves_out_what_was_not_said():
    """No nulls, no defaults; JSON wishes and one named tool in OpenAI's words."""
    assert list(write_chat(ChatRequest((Message("user", (Text("hi"),)),)))) == ["messages"]
    written = write_chat(ChatRequest((), tools=(Tool("f"),), tool_choice="function:f", wants_json=True))
    assert bytes(written["messages"]) == b"[]"
    assert json.loads(bytes(written["tool_choice"])) == {"type": "function", "function": {"name": "f"}}
    assert json.loads(bytes(written["response_format"])) == {"type": "json_object"}
    written = write_chat(ChatRequest((), json_schema=msgspec.Raw(b"{}"), wants_json=True))
    assert json.loads(bytes(written["response_format"]))["json_schema"] == {"name": "reply", "schema": {}}


WORDS = st.text(min_size=1, max_size=5)
NAMES = st.text("abc_", min_size=1, max_size=5)
IMAGES = st.builds(Image, url=WORDS.map("https://e.com/".__add__)) | st.just(Image(media_type="image/png", data="aGk="))
TURNS = st.one_of(
    st.builds(Message, st.just("system"), st.tuples(st.builds(Text, WORDS))),
    st.builds(Message, st.just("user"), st.lists(st.builds(Text, WORDS) | IMAGES, max_size=3).map(tuple)),
    st.builds(
        lambda texts, calls: Message("assistant", (*texts, *calls)),
        st.lists(st.builds(Text, WORDS), max_size=2),
        st.lists(st.builds(ToolCall, NAMES, NAMES, WORDS), max_size=2),
    ),
    st.builds(Message, st.just("tool"), st.tuples(st.builds(ToolResult, NAMES, st.text(max_size=5)))),
)
REQUESTS = st.builds(
    ChatRequest,
    st.lists(TURNS, max_size=4).map(tuple),
    st.lists(st.builds(Tool, NAMES, st.text(max_size=5), st.just(msgspec.Raw(b'{"type":"object"}'))), max_size=2).map(
        tuple
    ),
    st.sampled_from(("", "auto", "none", "required", "function:f")),
    st.none() | st.booleans(),
    st.none() | st.integers(1, 9),
    st.none() | st.floats(0, 2),
    st.none() | st.floats(0, 1),
    st.lists(WORDS, max_size=2).map(tuple),
    st.none(),
    st.booleans(),
    st.text(max_size=5),
    st.booleans(),
)


@given(REQUESTS)
def test_reading_what_was_written_gives_it_back(request):
    """The two directions agree on everything that core messages can say."""
    fields = write_chat(request)
    assert request == read_chat(split(msgspec.json.encode(fields)))

"""An Anthropic request → core messages: what its clients say, for vendors of other formats."""

import json

import msgspec
import pytest

from turnout.core.anthropic_requests import read_messages, write_messages
from turnout.core.messages import ChatRequest, Image, Message, Text, ToolCall, ToolResult
from turnout.errors import InvalidRequest

TURNS = [{"role": "user", "content": "hej"}]
HI = Message("user", (Text("hej"),))


def read(**members):
    return read_messages(
        {name: msgspec.Raw(json.dumps(value).encode()) for name, value in {"messages": TURNS, **members}.items()}
    )


def test_everything_that_has_a_place_elsewhere_is_taken():
    """And what has none, but changes no answer, is dropped."""
    request = read(
        system=[{"type": "text", "text": "Vær kort."}, {"type": "text", "text": "Dansk."}],
        tools=[
            {"name": "f", "description": "gør f", "input_schema": {"type": "object"}},
            {"name": "g", "type": "custom"},
        ],
        tool_choice={"type": "tool", "name": "f", "disable_parallel_tool_use": True},
        max_tokens=9,
        temperature=0.5,
        top_p=0.9,
        top_k=5,
        stop_sequences=["SLUT"],
        metadata={"user_id": "u1"},
        thinking={"type": "enabled", "budget_tokens": 1024},
        stream=True,
    )
    assert request.messages == (Message("system", (Text("Vær kort."), Text("Dansk."))), HI)
    assert [(tool.name, tool.description) for tool in request.tools] == [("f", "gør f"), ("g", "")]
    assert bytes(request.tools[0].schema) == b'{"type": "object"}'
    assert (request.tool_choice, request.parallel_tool_calls, request.max_tokens) == ("function:f", False, 9)
    assert (request.temperature, request.top_p, request.stop, request.user, request.stream) == (
        0.5,
        0.9,
        ("SLUT",),
        "u1",
        True,
    )


def test_the_least_request():
    """One question."""
    assert read(metadata=None) == ChatRequest((HI,))
    assert read(system="Kort.").messages[0] == Message("system", (Text("Kort."),))
    assert read(metadata={}).user == ""


def test_blocks_are_parts():
    """Images by URL or in the request, tool calls, their results before the user's own words; thoughts are forgotten."""
    turns = [
        {
            "role": "user",
            "content": [
                {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "text", "text": "Jeg ser."},
                {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": "kl. 10"},
                {
                    "type": "tool_result",
                    "tool_use_id": "t2",
                    "content": [{"type": "text", "text": "nej"}],
                    "is_error": True,
                },
                {"type": "text", "text": "Og?"},
            ],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t3"}]},
        {"role": "assistant", "content": []},
    ]
    assert read(messages=turns).messages == (
        Message("user", (Image(url="https://x/y.png"), Image(media_type="image/png", data="AA=="))),
        Message("assistant", (Text("Jeg ser."), ToolCall("t1", "f", '{"a": 1}'))),
        Message("tool", (ToolResult("t1", "kl. 10"),)),
        Message("tool", (ToolResult("t2", "nej", is_error=True),)),
        Message("user", (Text("Og?"),)),
        Message("tool", (ToolResult("t3", ""),)),
        Message("assistant", ()),
    )


@pytest.mark.parametrize(
    ("choice", "told"),
    [({"type": "auto"}, "auto"), ({"type": "any"}, "required"), ({"type": "none"}, "none")],
)
def test_choices_have_other_words_elsewhere(choice, told):
    """And one says nothing about calls side by side."""
    request = read(tool_choice=choice)
    assert (request.tool_choice, request.parallel_tool_calls) == (told, None)


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"messages": [{"role": "system", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "document"}]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"tools": [{"name": "bash", "type": "bash_20250124"}]}, "tools[0]"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice"),
        ({"max_tokens": "many"}, "max_tokens"),
    ],
)
def test_what_cannot_be_said_elsewhere_is_refused_with_its_name(members, param):
    """The field at fault, and why."""
    with pytest.raises(InvalidRequest) as caught:
        read(**members)
    assert caught.value.param == param


def test_a_request_without_messages_is_none():
    """The field is missing: there is nothing to point at."""
    with pytest.raises(InvalidRequest, match="messages"):
        read_messages({})


def test_what_is_read_is_written_again():
    """To a vendor of this very format, by way of core messages."""
    request = read(
        system="Kort.", tools=[{"name": "f", "input_schema": {"type": "object", "properties": {}}}], max_tokens=9
    )
    body = json.loads(write_messages(request, "claude", None))
    assert body["messages"] == [{"role": "user", "content": [{"type": "text", "text": "hej"}]}]
    assert body["tools"] == [{"name": "f", "input_schema": {"type": "object", "properties": {}}}]


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"mcp_servers": [{"type": "url"}]}, "mcp_servers"),
        ({"container": "c"}, "container"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image", "source": {"type": "file", "file_id": "f"}}]}
                ]
            },
            "messages[0].content[0]",
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image"}]}],
                    }
                ]
            },
            "messages[0].content[0].content[0]",
        ),
    ],
)
def test_what_would_be_lost_on_the_way_is_refused(members, param):
    """An answer without the picture would be wrong, and nobody would know why."""
    body = {"messages": [{"role": "user", "content": "x"}], **members}
    with pytest.raises(InvalidRequest) as caught:
        read_messages({member: msgspec.Raw(json.dumps(value).encode()) for member, value in body.items()})
    assert caught.value.param == param


@pytest.mark.parametrize("name", ["output_config", "output_format"])
def test_a_schema_for_the_answer_goes_on(name):
    """The SDK's `parse` asks so, in two spellings."""
    form = {"type": "json_schema", "schema": {"type": "object"}}
    body = {"messages": [{"role": "user", "content": "x"}], name: {"format": form} if name == "output_config" else form}
    request = read_messages({member: msgspec.Raw(json.dumps(value).encode()) for member, value in body.items()})
    assert (bytes(request.json_schema), request.wants_json) == (b'{"type": "object"}', True)

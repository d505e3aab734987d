"""Core messages → an Anthropic request: alternating turns, blocks, tools, a bound on the output."""

import json
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.anthropic_requests import DEFAULT_MAX_TOKENS, REPLY_TOOL, write_messages
from turnout.core.messages import ChatRequest, Image, Message, Text, Tool, ToolCall, ToolResult
from turnout.core.openai_fields import split
from turnout.core.openai_requests import read_chat

FIXTURE = (Path(__file__).parents[1] / "fixtures/anthropic/request.json").read_bytes()
HI = (Message("user", (Text("hi"),)),)
TOOL = Tool("f", "does f", msgspec.Raw(b'{"type":"object","properties":{"a":{}}}'))


def written(request: ChatRequest, bound: int | None = None):
    return json.loads(write_messages(request, "claude-3-haiku-20240307", bound))


def test_the_whole_fixture():
    """System apart, image by URL, two tool results in one user turn with what the user said next, a forced single tool."""
    body = written(read_chat(split(FIXTURE)))
    schema = body["tools"][0].pop("input_schema")
    assert schema["required"] == ["date"]
    assert body == {
        "model": "claude-3-haiku-20240307",
        "max_tokens": DEFAULT_MAX_TOKENS,
        "messages": [
            {"role": "user", "content": [
                {"type": "text", "text": "Hvad koster rengøring af dette kontor?"},
                {"type": "image", "source": {"type": "url", "url": "https://example.com/kontor.png"}},
            ]},
            {"role": "assistant", "content": [
                {"type": "text", "text": "Et øjeblik."},
                {"type": "tool_use", "id": "toolu_1", "name": "checkAvailability", "input": {"date": "2026-11-24"}},
                {"type": "tool_use", "id": "toolu_2", "name": "getPricing", "input": {}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": "free from 09:00"},
                {"type": "tool_result", "tool_use_id": "toolu_2", "content": "349 kr."},
                {"type": "text", "text": "Fint. Skriv et tilbud."},
            ]},
        ],
        "system": [{"type": "text", "text": "Svar på dansk."}],
        "tools": [{"name": "checkAvailability", "description": "Is a time free?"}],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
        "temperature": 0.7,
        "stop_sequences": ["SLUT"],
        "metadata": {"user_id": "u42"},
        "stream": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "bound", "wanted"), [(7, 100, 7), (None, 100, 100), (None, None, DEFAULT_MAX_TOKENS)]
)
def test_max_tokens(asked, bound, wanted):
    """It is required there: the client's, else the model's, else one that every model takes."""
    assert written(ChatRequest(HI, max_tokens=asked), bound)["max_tokens"] == wanted


def test_blocks():
    """A picture's data, a tool's error, arguments that are no object, empty texts and turns."""
    messages = (
        Message("user", (Image(media_type="image/png", data="aGk="), Text(""))),
        Message("user", (Text(""),)),
        Message("assistant", (ToolCall("1", "f", ""), ToolCall("2", "f", "[1]"), ToolCall("3", "f", "{oops"))),
        Message("tool", (ToolResult("1", "boom", is_error=True),)),
    )
    turns = written(ChatRequest(messages))["messages"]
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    assert turns[0]["content"] == [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
    ]
    assert [block["input"] for block in turns[1]["content"]] == [{}, {"arguments": "[1]"}, {"arguments": "{oops"}]
    assert turns[2]["content"] == [{"type": "tool_result", "tool_use_id": "1", "content": "boom", "is_error": True}]


def test_sampling_bounds():
    """OpenAI's temperature goes to 2, theirs to 1."""
    body = written(ChatRequest(HI, temperature=1.7, top_p=0.5))
    assert (body["temperature"], body["top_p"]) == (1.0, 0.5)
    assert "temperature" not in written(ChatRequest(HI))


@pytest.mark.parametrize(
    ("choice", "parallel", "wanted"),
    [
        ("", None, None),
        ("auto", None, {"type": "auto"}),
        ("none", None, {"type": "none"}),
        ("required", None, {"type": "any"}),
        ("function:f", None, {"type": "tool", "name": "f"}),
        ("", False, {"type": "auto", "disable_parallel_tool_use": True}),
        ("", True, None),
        ("none", False, {"type": "none"}),
    ],
)
def test_tool_choice(choice, parallel, wanted):
    """Each of OpenAI's words in Anthropic's."""
    body = written(ChatRequest(HI, tools=(TOOL,), tool_choice=choice, parallel_tool_calls=parallel))
    assert body.get("tool_choice") == wanted
    assert body["tools"] == [
        {"name": "f", "description": "does f", "input_schema": {"type": "object", "properties": {"a": {}}}}
    ]


def test_a_choice_without_tools_is_nothing():
    """It would be refused there; an empty schema is given its type."""
    body = written(ChatRequest(HI, tool_choice="auto", parallel_tool_calls=False))
    assert "tools" not in body
    assert "tool_choice" not in body
    assert written(ChatRequest(HI, tools=(Tool("f"),)))["tools"][0]["input_schema"] == {
        "type": "object",
        "properties": {},
    }


SCHEMA = msgspec.Raw(b'{"type":"object","properties":{"total":{"type":"number"}}}')


@pytest.mark.parametrize(
    ("tools", "choice", "names", "wanted"),
    [
        ((), "", [REPLY_TOOL], {"type": "tool", "name": REPLY_TOOL}),
        ((TOOL,), "", ["f", REPLY_TOOL], {"type": "any"}),
        ((TOOL,), "none", [REPLY_TOOL], {"type": "tool", "name": REPLY_TOOL}),
        ((TOOL,), "function:f", ["f"], {"type": "tool", "name": "f"}),
    ],
)
def test_a_json_schema_is_a_tool_that_must_be_called(tools, choice, names, wanted):
    """It works with every model that has tools; the client's own tools may still be called instead."""
    body = written(ChatRequest(HI, tools=tools, tool_choice=choice, json_schema=SCHEMA, wants_json=True))
    assert [tool["name"] for tool in body["tools"]] == names
    assert body["tool_choice"] == wanted
    assert "system" not in body


def test_json_without_a_schema_is_asked_for_in_words():
    """There is no switch for it there."""
    body = written(ChatRequest((Message("system", (Text("Be brief."),)), *HI), wants_json=True))
    assert [block["text"] for block in body["system"]] == ["Be brief.", "Reply with one JSON object and nothing else."]


TURNS = st.builds(
    Message,
    st.sampled_from(("system", "user", "assistant", "tool")),
    st.lists(
        st.builds(Text, st.text(max_size=3))
        | st.builds(ToolCall, st.just("1"), st.just("f"), st.text('{}"a:1', max_size=6)),
        max_size=3,
    ).map(tuple),
)


@given(st.lists(TURNS, max_size=8).map(tuple))
def test_turns_always_alternate_and_are_never_empty(messages):
    """What the vendor refuses is never written, whatever the client's order."""
    turns = written(ChatRequest(messages))["messages"]
    roles = [turn["role"] for turn in turns]
    assert all(a != b for a, b in pairwise(roles))
    assert all(turn["content"] for turn in turns)
    assert all(isinstance(block.get("input", {}), dict) for turn in turns for block in turn["content"])

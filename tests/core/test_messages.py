"""core/messages.py: what is said, free of any vendor's format."""

from __future__ import annotations

import msgspec
import pytest

from turnout.core.messages import ChatRequest, Image, Message, Part, Text, Tool, ToolCall, ToolResult


@pytest.mark.parametrize(
    "part",
    [Text("hi"), Image(url="https://x/y.png"), ToolCall("c1", "f", '{"a": 1}'), ToolResult("c1", "42", is_error=True)],
)
def test_a_part_knows_its_kind(part):
    """Tagged: written and read again, it is the same kind of part."""
    assert part == msgspec.json.decode(msgspec.json.encode(part), type=Part)


def test_a_request_says_nothing_of_itself():
    """What the client did not ask for is not asked of the vendor."""
    request = ChatRequest((Message("user", (Text("hi"),)),))
    assert (
        request.tools,
        request.tool_choice,
        request.parallel_tool_calls,
        request.max_tokens,
        request.temperature,
        request.top_p,
        request.stop,
        request.json_schema,
        request.wants_json,
        request.user,
        request.stream,
    ) == ((), "", None, None, None, None, (), None, False, "", False)


def test_a_tool_without_a_schema_takes_anything():
    """An empty JSON Schema."""
    assert bytes(Tool("f").schema) == b"{}"


def test_what_was_said_does_not_change():
    """Frozen: a retry sends what the first attempt sent."""
    message = Message("user", (Text("hi"),))
    with pytest.raises(AttributeError):
        message.role = "system"  # type: ignore[misc]

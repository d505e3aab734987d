"""Names what is said: a chat request, a reply and the events of a stream, free of any vendor's wire format.

Used only between different formats (OpenAI client, Anthropic vendor). Where both sides speak the same format the bytes
go through untouched and nothing here is built.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from turnout.core.usage import Usage

Role = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


class Text(msgspec.Struct, frozen=True, tag=True):
    """Words."""

    text: str


class Image(msgspec.Struct, frozen=True, tag=True):
    """A picture: an https URL that only the vendor may fetch, or base64 `data` of `media_type`. Never looked into."""

    url: str = ""
    media_type: str = ""
    data: str = ""


class ToolCall(msgspec.Struct, frozen=True, tag=True):
    """The model asks for a tool. arguments: JSON text, as the model wrote it."""

    id: str
    name: str
    arguments: str


class ToolResult(msgspec.Struct, frozen=True, tag=True):
    """What a tool answered to the call `id`."""

    id: str
    text: str
    is_error: bool = False


Part = Text | Image | ToolCall | ToolResult


class Message(msgspec.Struct, frozen=True):
    """One turn."""

    role: Role
    parts: tuple[Part, ...]


class Tool(msgspec.Struct, frozen=True):
    """A function that the model may call. schema: JSON Schema of its arguments, untouched bytes."""

    name: str
    description: str = ""
    schema: msgspec.Raw = msgspec.Raw(b"{}")


class ChatRequest(msgspec.Struct, frozen=True):
    """What a client asked. tool_choice: "", "auto", "none", "required", or "function:NAME"."""

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: str = ""
    parallel_tool_calls: bool | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    json_schema: msgspec.Raw | None = None
    wants_json: bool = False
    user: str = ""
    stream: bool = False


class Reply(msgspec.Struct, frozen=True):
    """A whole answer."""

    id: str
    model: str
    parts: tuple[Text | ToolCall, ...]
    finish_reason: FinishReason
    usage: Usage | None = None


# ── events of a stream, past tense ──


class Started(msgspec.Struct, frozen=True):
    """The vendor began to answer. Not content."""

    id: str
    model: str


class TextAdded(msgspec.Struct, frozen=True):
    """More words."""

    text: str


class ToolCallStarted(msgspec.Struct, frozen=True):
    """A tool call opened. index: its place among the tool calls of this answer, from 0."""

    index: int
    id: str
    name: str


class ToolCallAdded(msgspec.Struct, frozen=True):
    """More of a tool call's arguments (a piece of JSON text)."""

    index: int
    arguments: str


class UsageSeen(msgspec.Struct, frozen=True):
    """The vendor told its count; a later one replaces an earlier one."""

    usage: Usage


class Finished(msgspec.Struct, frozen=True):
    """The vendor said why it stopped."""

    reason: FinishReason


class Ended(msgspec.Struct, frozen=True):
    """The vendor's terminal event: without it a stream was cut."""


class Continued(msgspec.Struct, frozen=True):
    """Another model goes on from here, as the one before broke off. after_characters: of text so far."""

    model: str
    after_characters: int


class Failed(msgspec.Struct, frozen=True):
    """An error event inside the stream. message: what the vendor said. kind: the vendor's error type.

    is_unreadable: the vendor said nothing of the kind; message: why its stream cannot be read, in our words.
    """

    message: str
    kind: str = ""
    is_unreadable: bool = False


Event = Started | TextAdded | ToolCallStarted | ToolCallAdded | UsageSeen | Finished | Ended | Failed | Continued

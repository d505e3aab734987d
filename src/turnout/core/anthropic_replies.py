"""Reads Anthropic Messages replies and streams into core messages and events. Nothing here raises.

Thinking, citations and server tools have no place in a chat reply of ours and are left out. A call of REPLY_TOOL is the
reply itself, asked for by schema (core/anthropic_requests.py): its arguments are the text, its stop reason is `stop`.
`message_stop` is the terminal event. Source: Anthropic's pages on the Message object, on streaming and on stop reasons.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from turnout.core.anthropic_requests import REPLY_TOOL
from turnout.core.messages import (
    Ended,
    Event,
    Failed,
    Finished,
    FinishReason,
    Reply,
    Started,
    Text,
    TextAdded,
    ToolCall,
    ToolCallAdded,
    ToolCallStarted,
    UsageSeen,
)
from turnout.core.openai_replies import UNENDED, read_object
from turnout.core.sse import SseParser
from turnout.core.usage import read_anthropic
from turnout.core.vendor_errors import TRACE_BYTES, told_by
from turnout.errors import UpstreamError, UpstreamFault

_REASONS: Final[Mapping[str, FinishReason]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


class _Block(msgspec.Struct):
    type: str = ""
    text: str | None = None
    id: str = ""
    name: str = ""
    input: msgspec.Raw = msgspec.Raw(b"{}")


class _Content(msgspec.Struct):
    content: list[_Block]


_CONTENT = msgspec.json.Decoder(_Content)


def read_message(body: bytes) -> Reply | UpstreamError:
    """Read a whole answer. O(bytes)."""
    raw = read_object(body)
    if isinstance(raw, UpstreamError):
        return raw
    try:
        blocks = _CONTENT.decode(body).content
    except ValueError:
        return UpstreamFault("the provider's answer has no `content`", is_ambiguous=True, body=body[:TRACE_BYTES])
    parts: list[Text | ToolCall] = []
    replies: list[Text | ToolCall] = []
    for block in blocks:
        if block.type == "text" and block.text:
            parts.append(Text(block.text))
        elif block.type == "tool_use" and block.name == REPLY_TOOL:
            replies.append(Text(bytes(block.input).decode()))
        elif block.type == "tool_use":
            parts.append(ToolCall(block.id, block.name, bytes(block.input).decode()))
    told = _text(raw.get("stop_reason"))
    if not told:
        return UpstreamFault(UNENDED, is_ambiguous=True, body=body[:TRACE_BYTES])
    reason = _REASONS.get(told, "stop")
    if replies and reason == "tool_calls":
        reason = "stop"
    usage = read_anthropic(raw.get("usage"))
    return Reply(_text(raw.get("id")), _text(raw.get("model")), tuple(replies or parts), reason, usage)


class MessageDecoder:
    """An Anthropic stream → events (a Decoder). Cost: O(bytes)."""

    __slots__ = ("_has_reply", "_is_over", "_parser", "_tools", "_usage")

    def __init__(self) -> None:
        self._parser = SseParser()
        self._is_over = False
        self._has_reply = False
        self._tools: dict[int, int] = {}
        """The block's index → the tool call's; -1 for a call of REPLY_TOOL."""
        self._usage: dict[str, Any] = {}

    def feed(self, data: bytes) -> Sequence[Event]:
        """Take the next bytes; return the events that became whole. After Ended or Failed: none."""
        events: list[Event] = []
        for _, payload in self._parser.feed(data):
            if not self._is_over:
                self._read(payload, events)
        if self._parser.failure and not self._is_over:
            self._is_over = True
            events.append(Failed(f"the stream cannot be read: {self._parser.failure}", is_unreadable=True))
        return events

    def _read(self, payload: bytes, events: list[Event]) -> None:
        try:
            event = msgspec.json.decode(payload)
        except (ValueError, RecursionError):
            event = None
        if not isinstance(event, dict):
            self._is_over = True
            events.append(Failed("the stream holds data that is not a JSON object", is_unreadable=True))
            return
        told_index = event.get("index")
        index = told_index if isinstance(told_index, int) else 0
        match event.get("type"):
            case "message_start":
                message = _dict(event.get("message"))
                events.append(Started(_text(message.get("id")), _text(message.get("model"))))
                self._count(message.get("usage"), events, is_final=False)
            case "content_block_start":
                self._open(index, _dict(event.get("content_block")), events)
            case "content_block_delta":
                self._extend(index, _dict(event.get("delta")), events)
            case "message_delta":
                reason = _text(_dict(event.get("delta")).get("stop_reason"))
                if reason:
                    told = _REASONS.get(reason, "stop")
                    events.append(Finished("stop" if self._has_reply and told == "tool_calls" else told))
                self._count(event.get("usage"), events, is_final=True)
            case "message_stop":
                self._is_over = True
                events.append(Ended())
            case "error":
                self._is_over = True
                said = told_by(event)
                events.append(Failed(said.message, said.kind))
            case _:
                pass  # ping, content_block_stop, and what comes after this was written

    def _open(self, index: int, block: dict[str, Any], events: list[Event]) -> None:
        if block.get("type") == "text" and _text(block.get("text")):
            events.append(TextAdded(block["text"]))
        elif block.get("type") == "tool_use":
            if block.get("name") == REPLY_TOOL:
                self._has_reply = True
                self._tools[index] = -1
                return
            place = sum(1 for known in self._tools.values() if known >= 0)
            self._tools[index] = place
            events.append(ToolCallStarted(place, _text(block.get("id")), _text(block.get("name"))))

    def _extend(self, index: int, delta: dict[str, Any], events: list[Event]) -> None:
        text, arguments = _text(delta.get("text")), _text(delta.get("partial_json"))
        if text and delta.get("type") == "text_delta":
            events.append(TextAdded(text))
        elif arguments and index in self._tools:
            place = self._tools[index]
            events.append(TextAdded(arguments) if place < 0 else ToolCallAdded(place, arguments))

    def _count(self, raw: object, events: list[Event], *, is_final: bool) -> None:
        """Usage comes in two parts: the input with message_start, the output (cumulative) with message_delta.

        The first says that a token has come out, which is no count of the answer: an estimate, until the second comes.
        """
        self._usage.update((name, value) for name, value in _dict(raw).items() if value is not None)
        usage = read_anthropic(self._usage)
        if usage is not None and raw:
            events.append(UsageSeen(usage if is_final else msgspec.structs.replace(usage, basis="estimated")))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}

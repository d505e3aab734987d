"""Writes answers as Anthropic's Messages API gives them, and forwards and taps those that come in that format already.

Events are written in the order that its SDK demands: message_start, then blocks one after the other (start, deltas,
stop), then message_delta with the stop reason and the usage, then message_stop. Usage is known at the end only, so
message_start says 0. Other vendors may write at several tool calls in turns: the first goes through as it comes, the others
are kept until it is over. Some say `stop` after a tool call, or give it no id: here it is `tool_use`, and has one.
Source: Anthropic's pages on the Message object and on streaming.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from turnout.core.anthropic_replies import MessageDecoder, read_message
from turnout.core.anthropic_requests import tool_input
from turnout.core.contracts import Seen
from turnout.core.messages import (
    Continued,
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
from turnout.core.sse import Framer
from turnout.core.translation import Translation
from turnout.core.usage import Usage
from turnout.errors import GatewayError, UpstreamError

_STOP_REASONS: Final[Mapping[FinishReason, str]] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})

_THINKING = re.compile(rb'"thinking":\s*"((?:[^"\\]|\\.)*+)"')
_VENDORS_TOOL = re.compile(rb'"content_block":\s*\{[^{}]*"type":\s*"(?:server|mcp)_tool_use"')
"""The vendor's own tools: their calls are no events of ours, but the vendor is at work, and is paid for it."""


def _tool_use(id_: str, name: str, given: object, answer: str, index: int) -> dict[str, Any]:
    return {"type": "tool_use", "id": id_ or f"toolu_{answer}_{index}", "name": name, "input": given}


def write_usage(usage: Usage | None) -> dict[str, int]:
    """Return the `usage` object. Its input_tokens are those that no cache had a part in; 0 where nothing is known."""
    if usage is None:
        return {"input_tokens": 0, "output_tokens": 0}
    read, written = usage.cache_read_input_tokens, usage.cache_write_input_tokens
    return {
        "input_tokens": usage.input_tokens - read - written,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": written,
        "output_tokens": usage.output_tokens,
    }


def _message(id_: str, model: str) -> dict[str, Any]:
    name = id_ if id_.startswith("msg_") else f"msg_{id_}"
    return {"id": name, "type": "message", "role": "assistant", "model": model}


def write_message(reply: Reply) -> bytes:
    """Return a whole answer. O(bytes)."""
    blocks = [
        {"type": "text", "text": part.text}
        if isinstance(part, Text)
        else _tool_use(part.id, part.name, tool_input(part.arguments), reply.id, index)
        for index, part in enumerate(reply.parts)
    ]
    asks = any(isinstance(part, ToolCall) for part in reply.parts)
    return msgspec.json.encode(
        {
            **_message(reply.id, reply.model),
            "content": blocks,
            "stop_reason": _stop_reason(reply.finish_reason, asks=asks),
            "stop_sequence": None,
            "usage": write_usage(reply.usage),
        }
    )


def _stop_reason(reason: FinishReason, *, asks: bool) -> str:
    """asks: whether a tool is called; a client looks here to learn it."""
    return _STOP_REASONS["tool_calls" if asks and reason == "stop" else reason]


def inspect_message(body: bytes) -> Seen | UpstreamError:
    """Read a whole answer that is forwarded as it is. O(bytes), never raises."""
    reply = read_message(body)
    if isinstance(reply, UpstreamError):
        return reply
    return Seen(reply.usage, reply.finish_reason, 0 if reply.usage else len(body))


def write_error(error: GatewayError) -> bytes:
    """Return the event that makes Anthropic's SDKs raise inside a stream."""
    told = {"type": "api_error", "message": error.message, "code": error.code}
    return _event("error", {"error": told})


class MessageEncoder:
    """Events → an Anthropic stream (an Encoder)."""

    __slots__ = ("_block", "_blocks", "_id", "_is_started", "_places", "_reason", "_usage", "_waiting")

    def __init__(self, request_id: str) -> None:
        self._id = request_id
        self._is_started = False
        self._block = ""  # the type of the block that is open, "" if none is
        self._blocks = 0
        self._places: dict[int, int] = {}
        """A tool call's index → its block's."""
        self._waiting: dict[int, tuple[dict[str, Any], list[str]]] = {}
        """Tool calls that began while another was open, each with its arguments so far."""
        self._reason: FinishReason = "stop"
        self._usage: Usage | None = None

    def encode(self, event: Event) -> bytes:
        """Return the client's bytes for one event, b"" if it has no place here (errors are the engine's to tell)."""
        match event:
            case Started(id_, model):
                return self._start(id_ or self._id, model)
            case TextAdded(text):
                opened = b"" if self._block == "text" else self._rest() + self._open({"type": "text", "text": ""})
                return opened + self._text(text)
            case ToolCallStarted(index, id_, name):
                block = _tool_use(id_, name, {}, self._id, index)
                if self._block == "tool_use":
                    self._waiting[index] = (block, [])
                    return b""
                return self._open_tool(index, block)
            case ToolCallAdded(index, arguments) if index in self._waiting:
                self._waiting[index][1].append(arguments)
            case ToolCallAdded(index, arguments) if index in self._places:
                return self._arguments(index, arguments)
            case Finished(reason):
                self._reason = reason
            case UsageSeen(usage):
                self._usage = usage
            case Continued(model, after):
                seam = {"turnout": {"continued_by": model, "after_characters": after}}
                # SDKs pass over a ping, but show what an event holds besides.
                return self._text("", seam) if self._block == "text" else _event("ping", seam)
            case Ended():
                rest = self._rest()
                stopped = _stop_reason(self._reason, asks=bool(self._places))
                told = {"delta": {"stop_reason": stopped, "stop_sequence": None}, "usage": write_usage(self._usage)}
                return rest + self._begun() + self._close() + _event("message_delta", told) + _event("message_stop", {})
            case _:
                pass
        return b""

    def _start(self, id_: str, model: str) -> bytes:
        self._is_started = True
        message = {**_message(id_, model), "content": [], "stop_reason": None, "stop_sequence": None}
        return _event("message_start", {"message": {**message, "usage": write_usage(None)}})

    def _begun(self) -> bytes:
        return b"" if self._is_started else self._start(self._id, "")

    def _open(self, block: dict[str, Any]) -> bytes:
        before = self._begun() + self._close()
        self._block = block["type"]
        self._blocks += 1
        return before + _event("content_block_start", {"index": self._blocks - 1, "content_block": block})

    def _open_tool(self, index: int, block: dict[str, Any]) -> bytes:
        self._places[index] = self._blocks
        return self._open(block)

    def _rest(self) -> bytes:
        """The tool calls that waited."""
        out = b""
        for index, (block, arguments) in self._waiting.items():
            out += self._open_tool(index, block) + self._arguments(index, "".join(arguments))
        self._waiting.clear()
        return out

    def _close(self) -> bytes:
        if not self._block:
            return b""
        self._block = ""
        return _event("content_block_stop", {"index": self._blocks - 1})

    def _text(self, text: str, more: Mapping[str, Any] = _NOTHING) -> bytes:
        delta = {"type": "text_delta", "text": text}
        return _event("content_block_delta", {"index": self._blocks - 1, "delta": delta, **more})

    def _arguments(self, index: int, piece: str) -> bytes:
        delta = {"type": "input_json_delta", "partial_json": piece}
        return _event("content_block_delta", {"index": self._places[index], "delta": delta})


def _event(kind: str, members: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), msgspec.json.encode({"type": kind, **members}))


class MessageRelay(Translation):
    """A Relay (core/contracts.py) for a stream in this very format: its frames as they came, read on the side.

    Cost: one JSON decode an event, about 4 µs. A frame that cannot be read, or an error, is not forwarded, and nothing
    after it is.
    """

    __slots__ = ("_framer",)

    def __init__(self) -> None:
        super().__init__(MessageDecoder(), MessageEncoder(""))
        self._framer = Framer()

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; return the frames that may go to the client now."""
        if self.is_ended or self.failure is not None:
            return b""
        out = b""
        for frame in self._framer.feed(data):
            for event in self._decoder.feed(frame):
                self._note(event)
            if self.failure is not None:
                return out
            if b'"thinking_delta"' in frame and (thought := _THINKING.search(frame)) is not None:
                self.has_content = True
                self.output_bytes += len(thought[1])
            elif not self.has_content:
                self.has_content = _VENDORS_TOOL.search(frame) is not None
            out += frame
            if self.is_ended:
                break
        if self._framer.failure and not self.is_ended:
            self._note(Failed(f"the stream cannot be read: {self._framer.failure}", is_unreadable=True))
        return out

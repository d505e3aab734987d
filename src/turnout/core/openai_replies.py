"""Reads OpenAI chat replies and streams, and writes them: whole answers, and chunks from events.

Reading what is forwarded (`inspect_chat`) takes only what the books need; reading what is translated (`read_reply`,
`ChunkDecoder`) takes all. Vendors differ in details, so reading forgives what it does not need; but data that is no JSON
object, or an `error`, is a failure and never a reply. Nothing that reads raises.
Source: OpenAI's reference of the chat completion object and its chunk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

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
from turnout.core.openai_relay import DONE, content_bytes, stream_error
from turnout.core.sse import SseParser
from turnout.core.usage import Usage, read_openai
from turnout.core.vendor_errors import TRACE_BYTES, told_by
from turnout.errors import UpstreamError, UpstreamFault

_REASONS: Final[Mapping[str, FinishReason]] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}

UNENDED = "the provider's answer does not say why it stopped"
"""Forwarded untouched, such an answer says no more than the vendor did; translated, its end would be our invention."""


def finish_reason(told: object) -> FinishReason | None:
    """Return a vendor's finish_reason as one of ours: an unknown word is `stop`, no word is None."""
    return _REASONS.get(told, "stop") if isinstance(told, str) and told else None


def read_object(body: bytes) -> dict[str, Any] | UpstreamError:
    """Return a 200 answer's JSON object, or what is wrong with it. O(bytes), never raises."""
    try:
        raw = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        raw = None
    if not isinstance(raw, dict):
        text = "the provider's answer is not a JSON object"
        return UpstreamFault(text, is_ambiguous=True, body=body[:TRACE_BYTES])
    if raw.get("error"):
        return stream_error(raw, body)
    return raw


class _Message(msgspec.Struct):
    """An object; what it holds is skipped over."""


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None
    error: msgspec.Raw = msgspec.Raw(b"null")


class _Whole(msgspec.Struct):
    """A sound answer, as far as the books need it; its text is skipped over, not read."""

    choices: list[_Choice]
    usage: dict[str, Any] | None = None
    error: msgspec.Raw = msgspec.Raw(b"null")


_NULL = msgspec.Raw(b"null")
_WHOLE = msgspec.json.Decoder(_Whole)


def _is_utf8(body: bytes) -> bool:
    """Skipping over a text does not check it (core/openai_fields.py), and what is forwarded must be JSON."""
    if body.isascii():
        return True
    try:
        str(body, "utf-8")
    except UnicodeDecodeError:
        return False
    return True


def inspect_chat(body: bytes) -> Seen | UpstreamError:
    """Read a whole chat answer that is forwarded as it is. O(bytes), never raises.

    A sound answer with a usage costs 1.5 µs and 0.2 µs a kilobyte; anything else is looked at more closely.
    """
    try:
        whole = _WHOLE.decode(body)
    except (ValueError, RecursionError):
        return _inspect_closely(body)
    usage = read_openai(whole.usage)
    if usage is None or whole.error != _NULL or not _is_utf8(body):
        return _inspect_closely(body)
    seen = Seen(usage=usage)
    for choice in whole.choices:
        if choice.error != _NULL:
            return _inspect_closely(body)
        seen.finish_reason = choice.finish_reason or seen.finish_reason
    return seen if whole.choices else _inspect_closely(body)


def _inspect_closely(body: bytes) -> Seen | UpstreamError:
    choices = read_choices(body)
    if isinstance(choices, UpstreamError):
        return choices
    raw, answers = choices
    seen = Seen(usage=read_openai(raw.get("usage")))
    for choice in answers:
        seen.output_bytes += content_bytes(choice["message"])
        reason = choice.get("finish_reason")
        seen.finish_reason = reason if isinstance(reason, str) else seen.finish_reason
    return seen


def read_choices(body: bytes) -> tuple[dict[str, Any], list[dict[str, Any]]] | UpstreamError:
    """Return a whole answer and those of its choices that hold a message, or what is wrong with it.

    An answer without a message is none, whatever its status said; nor is one in which a choice holds an `error`
    (OpenRouter's way to tell that the host behind it failed). O(bytes), never raises.
    """
    raw = read_object(body)
    if isinstance(raw, UpstreamError):
        return raw
    choices = _dicts(raw.get("choices"))
    for choice in choices:
        if choice.get("error"):
            return stream_error(choice, body)
    answers = [choice for choice in choices if isinstance(choice.get("message"), dict)]
    if not answers:
        text = "the provider's answer holds no message in its `choices`"
        return UpstreamFault(text, is_ambiguous=True, body=body[:TRACE_BYTES])
    return raw, answers


def read_reply(body: bytes) -> Reply | UpstreamError:
    """Read a whole chat answer for translation: its first choice. O(bytes), never raises."""
    choices = read_choices(body)
    if isinstance(choices, UpstreamError):
        return choices
    raw, (choice, *_) = choices
    message = choice["message"]
    reason = finish_reason(choice.get("finish_reason"))
    if reason is None:
        return UpstreamFault(UNENDED, is_ambiguous=True, body=body[:TRACE_BYTES])
    parts: list[Text | ToolCall] = [Text(text) for name in ("content", "refusal") if (text := _text(message.get(name)))]
    for call in _dicts(message.get("tool_calls")):
        function = call.get("function")
        if isinstance(function, dict):
            parts.append(ToolCall(_text(call.get("id")), _text(function.get("name")), _text(function.get("arguments"))))
    return Reply(_text(raw.get("id")), _text(raw.get("model")), tuple(parts), reason, read_openai(raw.get("usage")))


class ChunkDecoder:
    """An OpenAI stream → events (a Decoder). Cost: O(bytes)."""

    __slots__ = ("_is_over", "_is_started", "_parser", "_tools")

    def __init__(self) -> None:
        self._parser = SseParser()
        self._is_started = False
        self._is_over = False
        self._tools: dict[int, int] = {}

    def feed(self, data: bytes) -> Sequence[Event]:
        """Take the next bytes; return the events that became whole. After Ended or Failed: none."""
        events: list[Event] = []
        for kind, payload in self._parser.feed(data):
            if not self._is_over:
                self._read(kind, payload, events)
        if self._parser.failure and not self._is_over:
            self._is_over = True
            events.append(Failed(f"the stream cannot be read: {self._parser.failure}", is_unreadable=True))
        return events

    def _read(self, kind: bytes, payload: bytes, events: list[Event]) -> None:
        if payload.strip() == DONE:
            self._is_over = True
            events.append(Ended())
            return
        try:
            chunk = msgspec.json.decode(payload)
        except (ValueError, RecursionError):
            chunk = None
        if not isinstance(chunk, dict):
            self._is_over = True
            events.append(Failed("the stream holds data that is not a JSON object", is_unreadable=True))
            return
        if chunk.get("error") or chunk.get("object") == "error" or kind == b"error":
            self._is_over = True
            told = told_by(chunk)
            events.append(Failed(told.message, told.kind or told.code))
            return
        if not self._is_started:
            self._is_started = True
            events.append(Started(_text(chunk.get("id")), _text(chunk.get("model"))))
        choice = _first(chunk.get("choices"))
        delta = choice.get("delta")
        if isinstance(delta, dict):
            self._read_delta(delta, events)
        reason = finish_reason(choice.get("finish_reason"))
        if reason is not None:
            events.append(Finished(reason))
        usage = read_openai(chunk.get("usage"))
        if usage is not None:
            events.append(UsageSeen(usage))

    def _read_delta(self, delta: dict[str, Any], events: list[Event]) -> None:
        events += [TextAdded(text) for name in ("content", "refusal") if (text := _text(delta.get(name)))]
        for call in _dicts(delta.get("tool_calls")):
            function = call.get("function")
            if not isinstance(function, dict):
                continue
            told = call.get("index")
            place = told if isinstance(told, int) else 0
            if place not in self._tools:
                self._tools[place] = len(self._tools)
                events.append(ToolCallStarted(self._tools[place], _text(call.get("id")), _text(function.get("name"))))
            if arguments := _text(function.get("arguments")):
                events.append(ToolCallAdded(self._tools[place], arguments))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _dicts(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _first(value: object) -> dict[str, Any]:
    return next(iter(_dicts(value)), {})


# ── the other way ──


def write_usage(usage: Usage) -> dict[str, Any]:
    """Return `usage` as OpenAI writes it."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read_input_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_output_tokens},
    }


def write_reply(reply: Reply, created: int) -> bytes:
    """Return a whole chat answer. created: Unix seconds. O(bytes)."""
    text = "".join(part.text for part in reply.parts if isinstance(part, Text))
    calls = [
        {"id": part.id, "type": "function", "function": {"name": part.name, "arguments": part.arguments}}
        for part in reply.parts
        if isinstance(part, ToolCall)
    ]
    message: dict[str, Any] = {"role": "assistant", "content": text if text or not calls else None}
    if calls:
        message["tool_calls"] = calls
    body: dict[str, Any] = {
        "id": reply.id,
        "object": "chat.completion",
        "created": created,
        "model": reply.model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": reply.finish_reason}],
    }
    if reply.usage is not None:
        body["usage"] = write_usage(reply.usage)
    return msgspec.json.encode(body)


class ChunkEncoder:
    """Events → an OpenAI stream (an Encoder). Usage goes out in its own chunk before the end, if it was asked for."""

    __slots__ = ("_created", "_id", "_model", "_usage", "_wants_usage")

    def __init__(self, *, wants_usage: bool, request_id: str, created: int) -> None:
        self._wants_usage = wants_usage
        self._id = f"chatcmpl-{request_id}"
        self._model = ""
        self._created = created
        self._usage: Usage | None = None

    def encode(self, event: Event) -> bytes:
        """Return the client's bytes for one event, b"" if it has no place here (errors are the engine's to tell)."""
        match event:
            case Started(id_, model):
                self._id, self._model = id_ or self._id, model
                return self._chunk({"role": "assistant", "content": ""})
            case TextAdded(text):
                return self._chunk({"content": text})
            case ToolCallStarted(index, id_, name):
                function = {"name": name, "arguments": ""}
                return self._chunk(
                    {"tool_calls": [{"index": index, "id": id_, "type": "function", "function": function}]}
                )
            case ToolCallAdded(index, arguments):
                return self._chunk({"tool_calls": [{"index": index, "function": {"arguments": arguments}}]})
            case Finished(reason):
                self._usage = None  # a count that came before the end is not the answer's
                return self._chunk({}, reason)
            case UsageSeen(usage):
                self._usage = usage
                return b""
            case Continued(model, after):
                told = {"continued_by": model, "after_characters": after}
                return self._event([{"index": 0, "delta": {}, "finish_reason": None}], {"turnout": told})
            case Ended():
                last = b""
                if self._wants_usage and self._usage is not None:
                    last = self._event([], {"usage": write_usage(self._usage)})
                return last + b"data: [DONE]\n\n"
            case _:
                return b""

    def _chunk(self, delta: dict[str, Any], reason: str | None = None) -> bytes:
        return self._event([{"index": 0, "delta": delta, "finish_reason": reason}], {})

    def _event(self, choices: list[dict[str, Any]], more: dict[str, Any]) -> bytes:
        body = {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._model,
            "choices": choices,
            **more,
        }
        return b"data: " + msgspec.json.encode(body) + b"\n\n"

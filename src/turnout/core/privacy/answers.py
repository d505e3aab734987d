"""Puts back what was taken out of a request, in the stream that answers it: OpenAI's chunks and Anthropic's events.

A placeholder may come in pieces, over several events. So the end of a text that may be the beginning of one is held back
until the next piece of the same text (of the same choice, tool call or block) says what it is; when that text is over, what
is held goes out as an event of its own. An event without a sign that could begin a placeholder goes on as it came.
Works on whatever pieces the bytes come in; what is no event of these formats passes untouched. Never raises.
Cost: below 1 µs for an event without such a sign, 6 to 10 µs for one that is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import msgspec

from turnout.core.privacy.masking import Mask, loose_end
from turnout.core.sse import EVENT_LIMIT_BYTES, Framer, parse

_SIGNS = (b"<", b"&", b"u0026", b"u003", b'\\\\"')
"""Without any of these in an event, nothing in it is a placeholder or begins one."""

_CHAT_TEXTS = ("content", "reasoning", "reasoning_content", "refusal")
_BLOCK_TEXTS = ("text", "thinking", "partial_json")

_Of: TypeAlias = tuple[str, int]
"""What a text is a part of: ("choice", 0), ("block", 2)."""

_Key: TypeAlias = tuple[_Of, str, int]
"""Which text: what it is a part of, its member's name, the number of its tool call."""


class _Held:
    """The end of a text, and how to say it: as an event like the one that it came with."""

    __slots__ = ("_event", "_head", "text")

    def __init__(self, text: bytes, head: bytes, chunk: dict[str, Any], key: _Key, slot: dict[str, Any]) -> None:
        self.text = text
        self._head = head
        (_, index), name, call = key
        said: dict[str, Any] = {name: text.decode()}
        if key[0][0] == "block":
            self._event = {**chunk, "delta": {"type": slot.get("type"), **said}}
            return
        if name == "arguments":
            said = {"tool_calls": [{"index": call, "function": said}]}
        choices = [{"index": index, "delta": said, "finish_reason": None}]
        self._event = {**chunk, "choices": choices}
        self._event.pop("usage", None)

    def frame(self) -> bytes:
        """The event that says it."""
        return _frame(self._head, self._event)


class StreamRestorer:
    """Bytes of a masked stream in, bytes for the client out. mask: of the request."""

    __slots__ = ("_framer", "_held", "_mask")

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._framer = Framer(2 * EVENT_LIMIT_BYTES)  # a translated event may be a little longer than the vendor's
        self._held: dict[_Key, _Held] = {}

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; return what may go to the client now."""
        return b"".join([self._take(frame) for frame in self._framer.feed(data)])

    def finish(self) -> bytes:
        """Return what is still held: nothing more comes."""
        out = b"".join([held.frame() for held in self._held.values()])
        self._held.clear()
        return out

    def _take(self, frame: bytes) -> bytes:
        if not self._held and not any(sign in frame for sign in _SIGNS):
            return frame
        frame = self._mask.show(frame)
        event = parse(frame)
        if event is None:  # a comment
            return frame
        try:
            chunk = msgspec.json.decode(event[1])
        except (ValueError, RecursionError):
            chunk = None
        if not isinstance(chunk, dict):
            return self.finish() + frame
        head = b"event: %b\n" % event[0] if event[0] else b""
        over = _over(chunk)
        is_changed = False
        for key, slot in _texts(chunk):
            name = key[1]
            text = slot[name].encode()
            held = self._held.pop(key, None)
            if held is not None:
                text = self._mask.show(held.text + text)
                is_changed = True
            loose = 0 if over is None or key[0] in over else loose_end(text)
            if loose:
                is_changed = True
                self._held[key] = _Held(text[-loose:], head, chunk, key, slot)
                text = text[:-loose]
            slot[name] = text.decode()
        before = self.finish() if over is None else self._said(over)
        return before + (_frame(head, chunk) if is_changed else frame)

    def _said(self, over: frozenset[_Of]) -> bytes:
        """Return what is held of texts that are over."""
        return b"".join([self._held.pop(key).frame() for key in tuple(self._held) if key[0] in over])


def _frame(head: bytes, chunk: dict[str, Any]) -> bytes:
    return head + b"data: " + msgspec.json.encode(chunk) + b"\n\n"


def _over(chunk: dict[str, Any]) -> frozenset[_Of] | None:
    """Return what gets no more text after this event, None for everything."""
    kind = chunk.get("type")
    if chunk.get("error") or kind in ("message_delta", "message_stop", "error"):
        return None
    if kind == "content_block_stop":
        return frozenset({("block", _number(chunk.get("index")))})
    return frozenset(
        ("choice", _number(choice.get("index")))
        for choice in _dicts(chunk.get("choices"))
        if choice.get("finish_reason")
    )


def _texts(chunk: dict[str, Any]) -> Iterator[tuple[_Key, dict[str, Any]]]:
    """Yield each piece of text in an event: which it is, and the object that holds it under the key's name."""
    delta = chunk.get("delta")
    if isinstance(delta, dict):
        block = ("block", _number(chunk.get("index")))
        yield from (((block, name, 0), delta) for name in _BLOCK_TEXTS if isinstance(delta.get(name), str))
    for choice in _dicts(chunk.get("choices")):
        of = ("choice", _number(choice.get("index")))
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            continue
        yield from (((of, name, 0), delta) for name in _CHAT_TEXTS if isinstance(delta.get(name), str))
        for call in _dicts(delta.get("tool_calls")):
            function = call.get("function")
            if isinstance(function, dict) and isinstance(function.get("arguments"), str):
                yield (of, "arguments", _number(call.get("index"))), function


def _dicts(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0

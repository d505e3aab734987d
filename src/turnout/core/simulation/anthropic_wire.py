"""Writes answers as Anthropic's Messages API does, whole and streamed.

Source: Anthropic API reference (messages, streaming messages), checked 2026-11.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from turnout.core.simulation.answers import Answer
from turnout.core.simulation.asks import Ask, tokens_of
from turnout.core.simulation.draft import Piece, Role
from turnout.core.simulation.usage_forms import Usage

_STOP_REASONS: Final = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}

_json = msgspec.json.Encoder().encode


def whole(ask: Ask, answer: Answer, name: str, usages: Sequence[Usage]) -> bytes:
    """Return a message. name: hex that ids are made of. A cut tool call has an empty input, as JSON must be whole."""
    block: dict[str, object] = {"type": "text", "text": answer.text}
    if answer.tool:
        is_cut = answer.finish == "length"
        block = {**_tool_block(answer, name), "input": {} if is_cut else msgspec.Raw(answer.text.encode())}
    reply = {**_message(ask, name), "content": [block], "stop_reason": _STOP_REASONS[answer.finish]}
    return _json(reply)[:-1] + b"".join(b',"usage":' + _json(usage) for usage in usages) + b"}"


def stream(ask: Ask, answer: Answer, name: str, usages: Sequence[Usage]) -> list[Piece]:
    """Return a message as the events of a stream. Input is counted at the start, output at the end. O(text)."""
    first = [{**usage, "output_tokens": 1} for usage in usages[:1]]
    start = {**_message(ask, name), "content": [], "stop_reason": None}
    opened: dict[str, object] = {
        "type": "message_start",
        "message": {**start, **({"usage": first[0]} if first else {})},
    }
    block: dict[str, object] = {"type": "text", "text": ""}
    if answer.tool:
        block = {**_tool_block(answer, name), "input": {}}
    kind, member = ("input_json_delta", "partial_json") if answer.tool else ("text_delta", "text")
    pieces = [
        _piece(opened, "open", is_usage=bool(first)),
        _piece({"type": "content_block_start", "index": 0, "content_block": block}, "open"),
        _piece({"type": "ping"}, "open"),
    ]
    pieces.extend(
        _piece(
            {"type": "content_block_delta", "index": 0, "delta": {"type": kind, member: text}},
            "content",
            tokens=tokens_of(len(text)),
        )
        for text in answer.pieces()
    )
    pieces.append(_piece({"type": "content_block_stop", "index": 0}, "finish"))
    delta = {"stop_reason": _STOP_REASONS[answer.finish], "stop_sequence": None}
    last = [{"usage": {"output_tokens": usage["output_tokens"]}} for usage in usages] or [{}]
    pieces.extend(
        _piece({"type": "message_delta", "delta": delta, **usage}, "usage", is_usage=bool(usage)) for usage in last
    )
    pieces.append(_piece({"type": "message_stop"}, "end"))
    return pieces


def event(data: dict[str, object]) -> bytes:
    """Return one server-sent event, named by the type of its data."""
    return b"event: " + str(data["type"]).encode() + b"\ndata: " + _json(data) + b"\n\n"


def _piece(data: dict[str, object], role: Role, *, tokens: int = 0, is_usage: bool = False) -> Piece:
    return Piece(event(data), role, tokens=tokens, is_usage=is_usage)


def _message(ask: Ask, name: str) -> dict[str, object]:
    return {"id": f"msg_sim_{name}", "type": "message", "role": "assistant", "model": ask.model, "stop_sequence": None}


def _tool_block(answer: Answer, name: str) -> dict[str, object]:
    return {"type": "tool_use", "id": f"toolu_sim_{name}", "name": answer.tool}

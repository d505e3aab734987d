"""Writes answers as OpenAI's API does: chat completions (whole and streamed), embeddings, the list of models.

Source: OpenAI API reference (chat/object, chat/streaming, embeddings/object, models/list), checked 2026-11.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from turnout.core.simulation.answers import Answer
from turnout.core.simulation.asks import Ask, tokens_of
from turnout.core.simulation.draft import Piece
from turnout.core.simulation.usage_forms import Usage
from turnout.core.simulation.vectors import as_base64, dimensions_of, vector

FINGERPRINT = "fp_simulated"
COMMENT = b": OPENROUTER PROCESSING\n\n"
"""What OpenRouter sends to keep a connection alive before the first token (its streaming docs)."""

_json = msgspec.json.Encoder().encode


def whole(ask: Ask, answer: Answer, name: str, created: int, usages: Sequence[Usage]) -> bytes:
    """Return a chat completion. name: hex that ids are made of. created: Unix seconds. O(text)."""
    message: dict[str, object] = {"role": "assistant", "content": answer.text, "refusal": None}
    if answer.tool:
        call = {"id": f"call_{name}", "type": "function", "function": {"name": answer.tool, "arguments": answer.text}}
        message = {"role": "assistant", "content": None, "refusal": None, "tool_calls": [call]}
    reply = {
        "id": f"chatcmpl-sim-{name}",
        "object": "chat.completion",
        "created": created,
        "model": ask.model,
        "system_fingerprint": FINGERPRINT,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish}],
    }
    return _with_usages(_json(reply), usages)


def stream(
    ask: Ask, answer: Answer, name: str, created: int, usages: Sequence[Usage], *, has_comments: bool = False
) -> list[Piece]:
    """Return a chat completion as the events of a stream; usage only if the request asks. O(text)."""
    common = {
        "id": f"chatcmpl-sim-{name}",
        "object": "chat.completion.chunk",
        "created": created,
        "model": ask.model,
        "system_fingerprint": FINGERPRINT,
    }
    start = b"data: " + _json(common)[:-1] + b',"choices":[{"index":0,"delta":'
    end = b',"finish_reason":null}]}\n\n'
    pieces = [Piece(COMMENT, "comment")] if has_comments else []
    if answer.tool:
        call = {
            "index": 0,
            "id": f"call_{name}",
            "type": "function",
            "function": {"name": answer.tool, "arguments": ""},
        }
        opening: dict[str, object] = {"role": "assistant", "content": None, "tool_calls": [call]}
    else:
        opening = {"role": "assistant", "content": ""}
    pieces.append(Piece(start + _json(opening) + end, "open"))
    before, after = (
        (b'{"tool_calls":[{"index":0,"function":{"arguments":', b"}}]}") if answer.tool else (b'{"content":', b"}")
    )
    pieces.extend(
        Piece(start + before + _json(text) + after + end, "content", tokens=tokens_of(len(text)))
        for text in answer.pieces()
    )
    finish = b'{},"finish_reason":' + _json(answer.finish) + b"}]}\n\n"
    pieces.append(Piece(start + finish, "finish"))
    if ask.wants_usage:
        pieces.extend(
            Piece(b"data: " + _json({**common, "choices": [], "usage": usage}) + b"\n\n", "usage", is_usage=True)
            for usage in usages
        )
    pieces.append(Piece(b"data: [DONE]\n\n", "end"))
    return pieces


def embeddings(ask: Ask, usages: Sequence[Usage]) -> bytes:
    """Return one vector per input, as floats or base64. O(inputs * dimensions)."""
    dimensions = ask.dimensions or dimensions_of(ask.model)
    data = []
    for index, text in enumerate(ask.inputs):
        values = vector(text, dimensions)
        data.append(
            {"object": "embedding", "index": index, "embedding": as_base64(values) if ask.is_base64 else values}
        )
    return _with_usages(_json({"object": "list", "data": data, "model": ask.model}), usages)


def models(names: Sequence[str], created: int) -> bytes:
    """Return the list of models."""
    return _json({"object": "list", "data": [_model(name, created) for name in names]})


def model(name: str, created: int) -> bytes:
    """Return one model."""
    return _json(_model(name, created))


def _model(name: str, created: int) -> dict[str, object]:
    return {"id": name, "object": "model", "created": created, "owned_by": "simulated"}


def _with_usages(reply: bytes, usages: Sequence[Usage]) -> bytes:
    """Add a `usage` member for each (two of them: a duplicate key, as a broken vendor would)."""
    return reply[:-1] + b"".join(b',"usage":' + _json(usage) for usage in usages) + b"}"

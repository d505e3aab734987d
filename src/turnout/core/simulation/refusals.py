"""Writes every "no" of a simulated vendor: bodies of errors in both wire formats, and the hints when to come back.

Shapes: OpenAI's `{"error": {message, type, param, code}}`, Anthropic's `{"type": "error", "error": {type, message}}`,
and OpenRouter's 429s, whose code is a number and whose limits are repeated in `metadata`.
Sources: the vendors' pages on errors and limits, checked 2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType

import msgspec

from turnout.core.simulation import anthropic_wire
from turnout.core.simulation.draft import Dialect

_MESSAGES: Mapping[int, str] = MappingProxyType(
    {
        400: "Simulated: the request is not valid.",
        401: "Incorrect API key provided (simulated).",
        402: "Insufficient credits (simulated).",
        403: "Simulated: not allowed for this key.",
        404: "Simulated: no such model.",
        413: "Simulated: the request is too large.",
        429: "Rate limit reached (simulated).",
        500: "The server had an error while processing your request (simulated).",
        503: "The engine is currently overloaded, please try again later (simulated).",
        529: "Overloaded (simulated).",
    }
)
_OPENAI: Mapping[int, tuple[str, str | None]] = MappingProxyType(
    {
        401: ("invalid_request_error", "invalid_api_key"),
        404: ("invalid_request_error", "model_not_found"),
        429: ("requests", "rate_limit_exceeded"),
    }
)
_ANTHROPIC: Mapping[int, str] = MappingProxyType(
    {
        401: "authentication_error",
        403: "permission_error",
        404: "not_found_error",
        413: "request_too_large",
        429: "rate_limit_error",
        504: "timeout_error",
        529: "overloaded_error",
    }
)

_json = msgspec.json.Encoder().encode


def body(dialect: Dialect, status: int, message: str = "", *, param: str = "", code: str = "") -> bytes:
    """Return an error's body. message: "" for the vendor's usual words for that status. O(1)."""
    words = message or _MESSAGES.get(status) or f"Simulated error {status}."
    if dialect == "messages":
        kind = _ANTHROPIC.get(status, "api_error" if status >= 500 else "invalid_request_error")
        return _json({"type": "error", "error": {"type": kind, "message": words}, "request_id": "req_sim"})
    kind, usual = _OPENAI.get(status, ("server_error" if status >= 500 else "invalid_request_error", None))
    return _json({"error": {"message": words, "type": kind, "param": param or None, "code": code or usual}})


def overflow(dialect: Dialect, asked: int, limit: int) -> bytes:
    """Return the body of a 400 for a prompt of `asked` tokens where `limit` fit."""
    if dialect == "messages":
        return body(dialect, 400, f"prompt is too long: {asked} tokens > {limit} maximum")
    message = (
        f"This model's maximum context length is {limit} tokens. However, your messages resulted in {asked} tokens. "
        "Please reduce the length of the messages."
    )
    return body(dialect, 400, message, param="messages", code="context_length_exceeded")


def over_quota(window: str, limit: int, reset_at: float) -> tuple[list[tuple[str, str]], bytes]:
    """Return OpenRouter's headers and body for a spent free allowance. window: min | day. reset_at: Unix seconds."""
    limits = {
        "X-RateLimit-Limit": str(limit),
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": str(round(reset_at * 1000)),
    }
    hint = " Add 10 credits to unlock 1000 free model requests per day" if window == "day" and limit < 1000 else ""
    error = {
        "message": f"Rate limit exceeded: free-models-per-{window}.{hint}",
        "code": 429,
        "metadata": {"headers": limits, "provider_name": None},
    }
    return [(name.lower(), value) for name, value in limits.items()], _json({"error": error})


def busy(model: str) -> bytes:
    """Return OpenRouter's body for a 429 of the host behind it: no hint when to come back."""
    raw = f"{model} is temporarily rate-limited upstream. Please retry shortly (simulated)."
    metadata = {"raw": raw, "provider_name": "Simulated"}
    return _json({"error": {"message": "Provider returned error", "code": 429, "metadata": metadata}})


def error_event(dialect: Dialect) -> bytes:
    """Return an error as an event inside a stream."""
    message = "Simulated: the provider failed while answering."
    if dialect == "messages":
        return anthropic_wire.event({"type": "error", "error": {"type": "overloaded_error", "message": message}})
    return b"data: " + _json({"error": {"message": message, "type": "server_error", "code": 502}}) + b"\n\n"


def error_chunk() -> bytes:
    """Return an error in the middle of a stream as OpenRouter tells it: a chunk with `error` and finish_reason error."""
    choice = {"index": 0, "delta": {"content": ""}, "finish_reason": "error", "native_finish_reason": "error"}
    error = {"code": 502, "message": "Provider disconnected (simulated)."}
    chunk = {"id": "gen-sim", "object": "chat.completion.chunk", "choices": [choice], "error": error}
    return b"data: " + _json(chunk) + b"\n\n"


def http_date(wall: float) -> str:
    """Return Unix seconds as HTTP writes dates (RFC 9110 §5.6.7)."""
    at = datetime.fromtimestamp(wall, UTC)
    day = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")[at.weekday()]
    month = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")[at.month - 1]
    return f"{day}, {at.day:02} {month} {at.year} {at:%H:%M:%S} GMT"


def rfc_3339(wall: float) -> str:
    """Return Unix seconds as Anthropic writes resets."""
    return f"{datetime.fromtimestamp(wall, UTC):%Y-%m-%dT%H:%M:%SZ}"

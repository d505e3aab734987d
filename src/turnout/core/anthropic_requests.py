"""Writes an Anthropic Messages request from core messages.

* System turns become the `system` blocks, wherever they stood; tool results become a user turn, consecutive ones one turn.
* Turns of one role in a row are joined, as the roles must alternate.
* `max_tokens` is required there: the model's own bound where the client gave none, else DEFAULT_MAX_TOKENS.
* A JSON schema is asked for by a tool of ours that the model must call (or another tool, where the client gave some):
  it works with every model that has tools, while `output_config` exists for new ones only. The reply is turned back into
  text by its name (core/anthropic_replies.py). JSON without a schema is asked for in a line of the system prompt.
* An assistant turn of ours that called that tool never comes back: the client has seen text.
Source: Anthropic's reference of POST /v1/messages.
"""

from __future__ import annotations

from typing import Any

import msgspec

from turnout.core.messages import ChatRequest, Image, Message, Text, ToolCall, ToolResult

DEFAULT_MAX_TOKENS = 4096
"""The most that every Claude model in use can write (Claude 3 Haiku's bound)."""

REPLY_TOOL = "turnout_reply"
"""The tool by which a reply of a given schema is asked for."""

_JSON_LINE = "Reply with one JSON object and nothing else."
_EMPTY_SCHEMA = msgspec.Raw(b'{"type":"object","properties":{}}')


def write_messages(request: ChatRequest, model: str, max_output_tokens: int | None) -> bytes:
    """Return the body of the request. model: the vendor's id. max_output_tokens: the model's bound. O(bytes)."""
    system = [{"type": "text", "text": text} for text in _system_texts(request)]
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": request.max_tokens or max_output_tokens or DEFAULT_MAX_TOKENS,
        "messages": _turns(request.messages),
    }
    if system:
        body["system"] = system
    body.update(_tools(request))
    if request.temperature is not None:
        body["temperature"] = min(request.temperature, 1.0)  # OpenAI goes to 2, Anthropic to 1
    if request.top_p is not None:
        body["top_p"] = request.top_p
    if request.stop:
        body["stop_sequences"] = list(request.stop)
    if request.user:
        body["metadata"] = {"user_id": request.user}
    if request.stream:
        body["stream"] = True
    return msgspec.json.encode(body)


def _system_texts(request: ChatRequest) -> list[str]:
    texts = [
        part.text
        for message in request.messages
        if message.role == "system"
        for part in message.parts
        if isinstance(part, Text) and part.text
    ]
    if request.wants_json and request.json_schema is None:
        texts.append(_JSON_LINE)
    return texts


def _turns(messages: tuple[Message, ...]) -> list[dict[str, Any]]:
    turns: list[dict[str, Any]] = []
    for message in messages:
        if message.role == "system":
            continue
        role = "assistant" if message.role == "assistant" else "user"
        blocks = [_block(part) for part in message.parts if not (isinstance(part, Text) and not part.text)]
        if not blocks:
            continue  # an empty turn, which is refused there
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": role, "content": blocks})
    return turns


def _block(part: Text | Image | ToolCall | ToolResult) -> dict[str, Any]:
    match part:
        case Text(text):
            return {"type": "text", "text": text}
        case Image(url, media_type, data):
            source = {"type": "url", "url": url} if url else {"type": "base64", "media_type": media_type, "data": data}
            return {"type": "image", "source": source}
        case ToolCall(id_, name, arguments):
            return {"type": "tool_use", "id": id_, "name": name, "input": _input(arguments)}
    block: dict[str, Any] = {"type": "tool_result", "tool_use_id": part.id, "content": part.text}
    return {**block, "is_error": True} if part.is_error else block


def _input(arguments: str) -> object:
    """A tool call's arguments as an object; what the model wrote wrongly is handed back under a name of ours."""
    try:
        decoded = msgspec.json.decode(arguments or "{}")
    except (ValueError, RecursionError):
        decoded = None
    return msgspec.Raw(arguments.encode() or b"{}") if isinstance(decoded, dict) else {"arguments": arguments}


def _tools(request: ChatRequest) -> dict[str, Any]:
    tools: list[dict[str, Any]] = []
    for tool in request.tools:
        schema = tool.schema if bytes(tool.schema) not in {b"{}", b"null"} else _EMPTY_SCHEMA
        tools.append(
            {
                "name": tool.name,
                "input_schema": schema,
                **({"description": tool.description} if tool.description else {}),
            }
        )
    choice: dict[str, Any] = {}
    kind, _, name = request.tool_choice.partition(":")
    if tools and kind:
        choice = {"type": "tool", "name": name} if name else {"type": {"required": "any"}.get(kind, kind)}
    if request.json_schema is not None and not name:
        if choice.get("type") == "none":
            tools = []
        choice = {"type": "any"} if tools else {"type": "tool", "name": REPLY_TOOL}
        described = "Give the reply by calling this tool."
        tools.append({"name": REPLY_TOOL, "description": described, "input_schema": request.json_schema})
    if not tools:
        return {}
    if request.parallel_tool_calls is False and choice.get("type") != "none":
        choice = {**(choice or {"type": "auto"}), "disable_parallel_tool_use": True}
    return {"tools": tools, **({"tool_choice": choice} if choice else {})}

"""Writes an Anthropic Messages request from core messages, and reads one into them.

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

from collections.abc import Mapping
from typing import Any

import msgspec

from turnout.core.messages import ChatRequest, Image, Message, Part, Role, Text, Tool, ToolCall, ToolResult
from turnout.core.vendor_errors import quote
from turnout.errors import InvalidRequest

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
            return {"type": "tool_use", "id": id_, "name": name, "input": tool_input(arguments)}
    block: dict[str, Any] = {"type": "tool_result", "tool_use_id": part.id, "content": part.text}
    return {**block, "is_error": True} if part.is_error else block


def tool_input(arguments: str) -> object:
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


# ── the other way ──


class _Source(msgspec.Struct):
    type: str = ""
    url: str = ""
    media_type: str = ""
    data: str = ""


class _Block(msgspec.Struct):
    type: str
    text: str = ""
    source: _Source | None = None
    id: str = ""
    name: str = ""
    input: msgspec.Raw = msgspec.Raw(b"{}")
    tool_use_id: str = ""
    content: str | list[_Block] | None = None
    is_error: bool | None = None


class _Turn(msgspec.Struct):
    role: str
    content: str | list[_Block]


class _Tool(msgspec.Struct):
    name: str
    type: str | None = None
    description: str | None = None
    input_schema: msgspec.Raw = _EMPTY_SCHEMA


class _Format(msgspec.Struct):
    type: str = ""
    schema: msgspec.Raw = msgspec.Raw(b"{}")


class _Output(msgspec.Struct):
    format: _Format | None = None


class _Choice(msgspec.Struct):
    type: str
    name: str = ""
    disable_parallel_tool_use: bool | None = None


class _Metadata(msgspec.Struct):
    user_id: str | None = None


class _Ask(msgspec.Struct):
    messages: list[_Turn]
    system: str | list[_Block] | None = None
    tools: list[_Tool] | None = None
    tool_choice: _Choice | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop_sequences: list[str] | None = None
    metadata: _Metadata | None = None
    stream: bool | None = None
    output_config: _Output | None = None
    output_format: _Format | None = None


_ASK = msgspec.json.Decoder(_Ask)

_REFUSED = ("mcp_servers", "container")

_FORGOTTEN = frozenset({"thinking", "redacted_thinking"})
"""What a model thought in an earlier turn: no other vendor takes it, and no answer is wrong for lacking it."""


def read_messages(fields: Mapping[str, msgspec.Raw]) -> ChatRequest:
    """Return a Messages request free of its format, for a vendor of another. O(bytes).

    Dropped without a word: top_k, thinking, effort, cache_control, service_tier. Raises InvalidRequest on what cannot be
    said elsewhere: documents, uploaded files, anything but text in a tool's result, the vendor's own tools, roles that are
    none.
    """
    for name in _REFUSED:
        if bytes(fields.get(name, b"null")) not in {b"null", b"[]"}:
            raise InvalidRequest(f"`{name}` cannot be served by this model's provider: leave it out.", param=name)
    try:
        ask = _ASK.decode(msgspec.json.encode(fields))
    except ValueError as problem:
        what, _, where = str(problem).partition(" - at `$.")
        param = where.rstrip("`")
        raise InvalidRequest(f"{f'`{param}`: ' if param else ''}{what[:1].lower()}{what[1:]}.", param=param) from None
    messages = [Message("system", tuple(Text(text) for text in _texts(ask.system)))] if ask.system else []
    for number, turn in enumerate(ask.messages):
        messages += _read_turn(turn, f"messages[{number}]")
    choice = ask.tool_choice
    form = ask.output_config.format if ask.output_config and ask.output_config.format else ask.output_format
    return ChatRequest(
        messages=tuple(messages),
        tools=tuple(_read_tool(tool, f"tools[{number}]") for number, tool in enumerate(ask.tools or ())),
        tool_choice=_read_choice(choice),
        parallel_tool_calls=None
        if choice is None or choice.disable_parallel_tool_use is None
        else not choice.disable_parallel_tool_use,
        max_tokens=ask.max_tokens,
        temperature=ask.temperature,
        top_p=ask.top_p,
        stop=tuple(ask.stop_sequences or ()),
        json_schema=form.schema if form is not None and form.type == "json_schema" else None,
        wants_json=form is not None,
        user=(ask.metadata.user_id or "") if ask.metadata else "",
        stream=bool(ask.stream),
    )


def _texts(content: str | list[_Block] | None) -> list[str]:
    if isinstance(content, str):
        return [content]
    return [block.text for block in content or () if block.type == "text"]


def _read_turn(turn: _Turn, at: str) -> list[Message]:
    """One turn can be several messages: each tool result is its own, before what the user says besides."""
    if turn.role not in {"user", "assistant"}:
        raise InvalidRequest(f"`{at}.role` must be user or assistant.", param=f"{at}.role")
    role: Role = "user" if turn.role == "user" else "assistant"
    if isinstance(turn.content, str):
        return [Message(role, (Text(turn.content),))]
    results: list[Message] = []
    parts: list[Part] = []
    for number, block in enumerate(turn.content):
        part = _read_block(block, f"{at}.content[{number}]")
        if isinstance(part, ToolResult):
            results.append(Message("tool", (part,)))
        elif part is not None:
            parts.append(part)
    return [*results, Message(role, tuple(parts))] if parts or not results else results


def _read_block(block: _Block, at: str) -> Part | None:
    source = block.source
    match block.type:
        case "text":
            return Text(block.text)
        case "image" if source is not None and (source.url or source.data):
            return Image(url=source.url) if source.url else Image(media_type=source.media_type, data=source.data)
        case "tool_use":
            return ToolCall(block.id, block.name, bytes(block.input).decode())
        case "tool_result":
            for number, inner in enumerate(block.content if isinstance(block.content, list) else ()):
                if inner.type != "text":
                    raise _unfit(inner.type, f"{at}.content[{number}]")
            return ToolResult(block.tool_use_id, "\n".join(_texts(block.content)), bool(block.is_error))
        case kind if kind in _FORGOTTEN:
            return None
        case kind:
            raise _unfit(kind, at)


def _unfit(kind: str, at: str) -> InvalidRequest:
    return InvalidRequest(
        f"`{at}` is of type {quote(kind)!r} in a form which this model's provider does not take.", param=at
    )


def _read_tool(tool: _Tool, at: str) -> Tool:
    if tool.type not in {None, "custom"}:
        raise InvalidRequest(
            f"`{at}` is of type {quote(tool.type)!r}; this model's provider takes functions only.", param=at
        )
    return Tool(tool.name, tool.description or "", tool.input_schema)


def _read_choice(choice: _Choice | None) -> str:
    if choice is None:
        return ""
    if choice.type == "tool" and choice.name:
        return f"function:{choice.name}"
    word = {"auto": "auto", "any": "required", "none": "none"}.get(choice.type)
    if word is None:
        raise InvalidRequest("`tool_choice.type` must be auto, any, none, or tool with a name.", param="tool_choice")
    return word

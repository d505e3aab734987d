"""Reads an OpenAI chat request into core messages, and writes one from them: the translation lane's requests.

Reading serves a client of ours whose vendor speaks another format; writing serves a client that speaks another format
and a vendor of this one. In the fast lane neither runs.

Dropped without a word, as no answer is wrong for lacking them: seed, frequency_penalty, presence_penalty, store, metadata,
service_tier, reasoning_effort, verbosity, prediction, prompt_cache_key, prompt_cache_retention, safety_identifier,
stream_options, tools' `strict`, an image's `detail`, a message's `name`.
Refused, as the answer would not be what was asked for: n above 1, logprobs, logit_bias, audio, files, functions (the old
form of tools), web_search_options, custom tools. Source: OpenAI's reference of POST /chat/completions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from turnout.core.messages import ChatRequest, Image, Message, Part, Role, Text, Tool, ToolCall, ToolResult
from turnout.core.vendor_errors import quote
from turnout.errors import InvalidRequest

_ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}


class _ImageUrl(msgspec.Struct):
    url: str


class _Part(msgspec.Struct):
    type: str
    text: str = ""
    refusal: str = ""
    image_url: _ImageUrl | str = ""


class _Function(msgspec.Struct):
    name: str
    description: str | None = None
    parameters: msgspec.Raw = msgspec.Raw(b'{"type":"object","properties":{}}')
    arguments: str = ""


class _ToolCall(msgspec.Struct):
    function: _Function
    id: str = ""


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Part] | None = None
    tool_calls: list[_ToolCall] | None = None
    tool_call_id: str = ""
    refusal: str | None = None


class _Tool(msgspec.Struct):
    type: str
    function: _Function | None = None


class _Choice(msgspec.Struct):
    type: str
    function: _Function | None = None


class _Schema(msgspec.Struct):
    schema: msgspec.Raw = msgspec.Raw(b"{}")


class _Format(msgspec.Struct):
    type: str
    json_schema: _Schema | None = None


class _Chat(msgspec.Struct):
    messages: list[_Message]
    tools: list[_Tool] | None = None
    tool_choice: str | _Choice | None = None
    parallel_tool_calls: bool | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: str | list[str] | None = None
    response_format: _Format | None = None
    user: str | None = None
    stream: bool | None = None


_DECODER = msgspec.json.Decoder(_Chat)
_ANYTHING = msgspec.json.Decoder()

_REFUSED: Mapping[str, tuple[object, ...]] = {
    "n": (None, 1),
    "logprobs": (None, False),
    "top_logprobs": (None, 0),
    "logit_bias": (None, {}),
    "audio": (None,),
    "modalities": (None, ["text"]),
    "functions": (None, []),
    "function_call": (None,),
    "web_search_options": (None,),
}
"""Fields that cannot be translated, each with the values that ask for nothing."""


def read_chat(fields: Mapping[str, msgspec.Raw]) -> ChatRequest:
    """Return the request in `fields` (a body's members), free of the format.

    Raises InvalidRequest, naming the field, for what is wrong and for what cannot be translated. O(bytes).
    """
    for name, harmless in _REFUSED.items():
        if name in fields and _anything(fields[name]) not in harmless:
            raise InvalidRequest(f"`{name}` cannot be served by this model's provider: leave it out.", param=name)
    try:
        chat = _DECODER.decode(msgspec.json.encode(fields))
    except msgspec.ValidationError as problem:
        what, _, where = str(problem).partition(" - at `$.")
        param = where.rstrip("`") or None
        raise InvalidRequest(f"`{param or 'the request'}`: {what}.", param=param) from None
    except (ValueError, RecursionError):
        raise InvalidRequest("The request is not valid JSON, or nested too deeply.") from None
    form = chat.response_format
    return ChatRequest(
        messages=tuple(_message(message, f"messages[{at}]") for at, message in enumerate(chat.messages)),
        tools=tuple(_tool(tool, f"tools[{at}]") for at, tool in enumerate(chat.tools or ())),
        tool_choice=_tool_choice(chat.tool_choice),
        parallel_tool_calls=chat.parallel_tool_calls,
        max_tokens=chat.max_tokens if chat.max_completion_tokens is None else chat.max_completion_tokens,
        temperature=chat.temperature,
        top_p=chat.top_p,
        stop=(chat.stop,) if isinstance(chat.stop, str) else tuple(chat.stop or ()),
        json_schema=form.json_schema.schema if form and form.type == "json_schema" and form.json_schema else None,
        wants_json=form is not None and form.type in {"json_object", "json_schema"},
        user=chat.user or "",
        stream=bool(chat.stream),
    )


def _anything(raw: msgspec.Raw) -> object:
    try:
        return _ANYTHING.decode(raw)
    except (ValueError, RecursionError):
        return raw


def _message(message: _Message, at: str) -> Message:
    role = _ROLES.get(message.role)
    if role is None:
        known = ", ".join(_ROLES)
        raise InvalidRequest(f"`{at}.role` is {quote(message.role)!r}; known are {known}.", param=f"{at}.role")
    parts = _parts(message.content, f"{at}.content")
    if role == "tool":
        text = "".join(part.text for part in parts if isinstance(part, Text))
        return Message(role, (ToolResult(message.tool_call_id, text),))
    if message.refusal:
        parts.append(Text(message.refusal))
    parts += [ToolCall(call.id, call.function.name, call.function.arguments) for call in message.tool_calls or ()]
    return Message(role, tuple(parts))


def _parts(content: str | list[_Part] | None, at: str) -> list[Part]:
    if content is None:
        return []
    if isinstance(content, str):
        return [Text(content)] if content else []
    return [_part(part, f"{at}[{index}]") for index, part in enumerate(content)]


def _part(part: _Part, at: str) -> Part:
    if part.type == "text":
        return Text(part.text)
    if part.type == "refusal":
        return Text(part.refusal)
    if part.type != "image_url":
        raise InvalidRequest(
            f"`{at}` is of type {quote(part.type)!r}, which this model's provider cannot take.", param=at
        )
    url = part.image_url if isinstance(part.image_url, str) else part.image_url.url
    if url.startswith(("https://", "http://")):
        return Image(url=url)
    head, comma, data = url.partition(",")
    if not (head.startswith("data:") and head.endswith(";base64") and comma):
        raise InvalidRequest(
            f"`{at}.image_url.url` must be an http(s) URL or a base64 data URL.", param=f"{at}.image_url.url"
        )
    return Image(media_type=head[5:-7].split(";")[0], data=data)


def _tool(tool: _Tool, at: str) -> Tool:
    if tool.type != "function" or tool.function is None:
        raise InvalidRequest(
            f"`{at}` is of type {quote(tool.type)!r}; this model's provider takes functions only.", param=at
        )
    function = tool.function
    return Tool(function.name, function.description or "", function.parameters)


def _tool_choice(choice: str | _Choice | None) -> str:
    if choice is None:
        return ""
    if isinstance(choice, str):
        if choice in {"auto", "none", "required"}:
            return choice
    elif choice.type == "function" and choice.function is not None:
        return f"function:{choice.function.name}"
    raise InvalidRequest("`tool_choice` must be auto, none, required, or one function.", param="tool_choice")


# ── the other way ──


def write_chat(request: ChatRequest) -> dict[str, msgspec.Raw]:
    """Return the members of an OpenAI chat request, without `model`. O(bytes)."""
    messages: list[dict[str, Any]] = []
    for message in request.messages:
        messages += _write_message(message)
    body: dict[str, Any] = {"messages": messages}
    if request.tools:
        body["tools"] = [{"type": "function", "function": _write_function(tool)} for tool in request.tools]
    if request.tool_choice:
        kind, _, name = request.tool_choice.partition(":")
        body["tool_choice"] = {"type": "function", "function": {"name": name}} if name else kind
    if request.json_schema is not None:
        schema = {"name": "reply", "schema": request.json_schema}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif request.wants_json:
        body["response_format"] = {"type": "json_object"}
    plain = {
        "parallel_tool_calls": request.parallel_tool_calls,
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "stop": list(request.stop) or None,
        "user": request.user or None,
        "stream": request.stream or None,
    }
    body.update((name, value) for name, value in plain.items() if value is not None)
    return {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in body.items()}


def _write_function(tool: Tool) -> dict[str, Any]:
    written: dict[str, Any] = {"name": tool.name, "parameters": tool.schema}
    if tool.description:
        written["description"] = tool.description
    return written


def _write_message(message: Message) -> list[dict[str, Any]]:
    """One turn can be several messages here: each tool result is its own."""
    written: list[dict[str, Any]] = []
    content: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    for part in message.parts:
        match part:
            case Text(text):
                content.append({"type": "text", "text": text})
            case Image(url, media_type, data):
                content.append({"type": "image_url", "image_url": {"url": url or f"data:{media_type};base64,{data}"}})
            case ToolCall(id_, name, arguments):
                calls.append({"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}})
            case _:
                written.append({"role": "tool", "tool_call_id": part.id, "content": part.text})
    if content or calls or not written:
        said: dict[str, Any] = {"role": message.role, "content": content or None}
        if len(content) == 1 and "text" in content[0]:
            said["content"] = content[0]["text"]
        elif not content and not calls:
            said["content"] = ""
        if calls:
            said["tool_calls"] = calls
        written.append(said)
    return written

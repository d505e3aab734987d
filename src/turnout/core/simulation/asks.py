"""Reads a request as a vendor would: OpenAI chat and embeddings, Anthropic messages. Only what an answer depends on.

Anything else in the body is ignored, as vendors do. A body that cannot be read is a value, `Unreadable`, not a raise.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Kind = Literal["chat", "messages", "embedding"]
CHARACTERS_A_TOKEN = 4


class Unreadable(msgspec.Struct, frozen=True):
    """Why a request is refused with 400. param: the field at fault, "" if none is."""

    message: str
    param: str = ""


class ToolAsk(msgspec.Struct, frozen=True):
    """A tool that the request declares."""

    name: str
    description: str
    schema: dict[str, Any]


class Ask(msgspec.Struct, frozen=True):
    """What is asked. system, user: the instructions, and the last user turn's text. last_role: of the last turn.

    tool_choice: auto, none, required, or a tool's name. json: "", "object", or "schema" (then `schema` is it).
    inputs: texts to embed. input_tokens: characters / 4 of all that was said and declared.
    """

    kind: Kind
    model: str
    stream: bool = False
    wants_usage: bool = False
    system: str = ""
    user: str = ""
    last_role: str = "user"
    max_tokens: int = 0
    tools: tuple[ToolAsk, ...] = ()
    tool_choice: str = "auto"
    json: Literal["", "object", "schema"] = ""
    schema: dict[str, Any] = {}
    inputs: tuple[str, ...] = ()
    dimensions: int = 0
    is_base64: bool = False
    input_tokens: int = 0


def tokens_of(characters: int) -> int:
    """Return how many tokens that many characters count: a quarter, rounded up. O(1)."""
    return -(-characters // CHARACTERS_A_TOKEN)


def read(kind: Kind, body: bytes) -> Ask | Unreadable:
    """Return what the body asks, or why it cannot be read. Never raises; O(body)."""
    try:
        fields = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return Unreadable("We could not parse the JSON body of your request.")
    if not isinstance(fields, dict):
        return Unreadable("The body must be a JSON object.")
    model = fields.get("model")
    if not isinstance(model, str) or not model:
        return Unreadable("You must provide a model parameter.", "model")
    if kind == "embedding":
        return _embedding(model, fields)
    messages = fields.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(one, dict) for one in messages):
        return Unreadable("'messages' must be a list of at least one message.", "messages")
    tools = _tools(fields.get("tools"))
    system, user, characters = _said(fields.get("system"), messages)
    characters += len(msgspec.json.encode(fields["tools"])) if tools else 0
    json, schema = _format(fields.get("response_format"))
    return Ask(
        kind=kind,
        model=model,
        stream=fields.get("stream") is True,
        wants_usage=_member(fields, "stream_options", "include_usage") is True,
        system=system,
        user=user,
        last_role=_last_role(messages[-1]),
        max_tokens=_positive(fields.get("max_completion_tokens")) or _positive(fields.get("max_tokens")),
        tools=tools,
        tool_choice=_tool_choice(fields.get("tool_choice")),
        json=json,
        schema=schema,
        input_tokens=tokens_of(characters),
    )


def _embedding(model: str, fields: dict[str, Any]) -> Ask | Unreadable:
    given = fields.get("input")
    if isinstance(given, str):
        texts = [given]
    elif isinstance(given, list) and given and all(isinstance(one, int) for one in given):
        texts = [" ".join(map(str, given))]
    elif isinstance(given, list) and given and all(isinstance(one, str | list) for one in given):
        texts = [one if isinstance(one, str) else " ".join(map(str, one)) for one in given]
    else:
        return Unreadable("'input' must be a string, a list of strings, or a list of tokens.", "input")
    return Ask(
        kind="embedding",
        model=model,
        inputs=tuple(texts),
        dimensions=_positive(fields.get("dimensions")),
        is_base64=fields.get("encoding_format") == "base64",
        input_tokens=sum(tokens_of(len(text)) for text in texts),
    )


def _said(system: object, messages: list[dict[str, Any]]) -> tuple[str, str, int]:
    """Return the instructions, the last user text, and the number of characters of everything."""
    systems, user = [_text(system)], ""
    characters = len(systems[0])
    for message in messages:
        text = _text(message.get("content"))
        characters += len(text)
        if calls := message.get("tool_calls"):
            characters += len(msgspec.json.encode(calls))
        role = message.get("role")
        if role in ("system", "developer"):  # a tuple: an unhashable role must not raise
            systems.append(text)
        elif role == "user" and text:
            user = text
    return "\n".join(filter(None, systems)), user, characters


def _text(content: object) -> str:
    """Return the words of a message's content: a string, or the text parts (tool results count as text)."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "\n".join(_text(part.get("text") or part.get("content")) for part in content if isinstance(part, dict))


def _last_role(message: dict[str, Any]) -> str:
    """Return who spoke last; a user turn that carries tool results (Anthropic's form) is the tool speaking."""
    content = message.get("content")
    if isinstance(content, list) and any(
        isinstance(part, dict) and part.get("type") == "tool_result" for part in content
    ):
        return "tool"
    return str(message.get("role"))


def _tools(declared: object) -> tuple[ToolAsk, ...]:
    """Return the declared tools, OpenAI's or Anthropic's; what has no name is passed over."""
    found: list[ToolAsk] = []
    for one in declared if isinstance(declared, list) else ():
        tool = one.get("function", one) if isinstance(one, dict) else None
        if isinstance(tool, dict) and isinstance(tool.get("name"), str):
            schema = tool.get("parameters", tool.get("input_schema"))
            description = tool.get("description")
            found.append(
                ToolAsk(
                    tool["name"], str(description or ""), schema if isinstance(schema, dict) else {"type": "object"}
                )
            )
    return tuple(found)


def _tool_choice(choice: object) -> str:
    """Return auto, none, required, or the name of the tool that must be called."""
    if isinstance(choice, str):
        return choice
    if not isinstance(choice, dict):
        return "auto"
    name = _member(choice, "function", "name") or choice.get("name")
    if isinstance(name, str):
        return name
    return {"any": "required", "none": "none"}.get(str(choice.get("type")), "auto")


def _format(wanted: object) -> tuple[Literal["", "object", "schema"], dict[str, Any]]:
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind == "json_schema" and isinstance(wanted, dict):
        schema = _member(wanted, "json_schema", "schema")
        return "schema", schema if isinstance(schema, dict) else {"type": "object"}
    return ("object" if kind == "json_object" else ""), {}


def _member(fields: dict[str, Any], outer: str, inner: str) -> object:
    found = fields.get(outer)
    return found.get(inner) if isinstance(found, dict) else None


def _positive(value: object) -> int:
    return value if type(value) is int and value > 0 else 0

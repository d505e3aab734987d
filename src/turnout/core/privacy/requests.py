"""Hides what is personal in the members of a request, wherever a client can write a text.

Every text of every member is looked at, whatever the format calls it, but for what is no text of a person's: the model's
and the vendor's names and ids, base64 data, signatures, patterns. So a member that a format gains tomorrow is covered.
Texts that are JSON themselves (the arguments of an earlier tool call) are read and written anew, so that they stay JSON.
A number in such arguments that is personal becomes a text, as there is no placeholder that is a number.
A member in which nothing was found keeps its bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, Protocol

import msgspec


class Hider(Protocol):
    """Says what becomes of each text."""

    def hide(self, text: str, before: str = "") -> str:
        """Return a text without what is personal, the same object if that is nothing. before: words that come before it."""
        ...

    def keep(self, data: str) -> str:
        """Return what becomes of a text that is not looked into: data, an id, a signature."""
        ...


_KEPT: Final = frozenset(
    {"model", "type", "role", "id", "tool_call_id", "tool_use_id", "call_id", "media_type", "format", "pattern"}
    | {"data", "file_data", "signature", "encrypted_content", "$ref", "$schema", "$id"}
)
"""Members of the formats whose text is no person's, or that a vendor must get back as it was."""

_TEXTS: Final = frozenset({"content", "text", "input", "messages", "system", "prompt", "arguments"})
"""Members whose name says nothing about what they hold."""

_ADDRESSES: Final = frozenset({"url", "image_url"})
_DATA: Final = "data:"
_LONG_NUMBER: Final = 10**6

_CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

_UNREADABLE = (ValueError, ArithmeticError, RecursionError)
"""What is no JSON, or nested too deeply: then it is a text like any other, and what is found in that stands in no quotes."""

_EXACT: msgspec.json.Decoder[Any] = msgspec.json.Decoder(float_hook=Decimal)
_ENCODER = msgspec.json.Encoder(decimal_format="number")


def hidden(fields: Mapping[str, msgspec.Raw], hider: Hider) -> dict[str, msgspec.Raw]:
    """Return the members as `hider` leaves them; those that it leaves as they are, are the same objects.

    fields: of a request, in any dialect. O(bytes). Never raises.
    """
    return {name: _hidden(name, raw, hider) for name, raw in fields.items()}


def _hidden(name: str, raw: msgspec.Raw, hider: Hider) -> msgspec.Raw:
    if name == "model" or memoryview(raw)[0] not in b'"[{':
        return raw
    try:
        value = _EXACT.decode(raw)
        changed = _walk(value, name, hider, is_theirs=name == "metadata")
    except _UNREADABLE:
        text = bytes(raw).decode("utf-8", "surrogateescape")
        told = hider.hide(text)
        return raw if told is text else msgspec.Raw(told.encode("utf-8", "surrogateescape"))
    return raw if changed is value else msgspec.Raw(_ENCODER.encode(changed))


def _walk(value: Any, name: str, hider: Hider, *, is_theirs: bool) -> Any:
    """Return `value` with placeholders, the same object if it holds nothing personal.

    name: of the member it stands in. is_theirs: its members are named by the client, not by the format.
    """
    if isinstance(value, str):
        return _text(value, name, hider, is_theirs=is_theirs)
    if isinstance(value, list):
        items = [_walk(item, name, hider, is_theirs=is_theirs) for item in value]
        return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
    if isinstance(value, dict):
        is_call = value.get("type") == "tool_use"
        members = {
            hider.hide(key) if is_theirs else key: _walk(
                item, key, hider, is_theirs=is_theirs or (is_call and key == "input")
            )
            for key, item in value.items()
        }
        return members if any(value.get(key, members) is not new for key, new in members.items()) else value
    if is_theirs and type(value) is int and value >= _LONG_NUMBER:
        told = hider.hide(str(value), _as_words(name))
        return told if told != str(value) else value
    return value


def _text(text: str, name: str, hider: Hider, *, is_theirs: bool) -> str:
    if not is_theirs:
        if name in _KEPT or (name in _ADDRESSES and text.startswith(_DATA)):
            return hider.keep(text)
        if name == "arguments":
            return _arguments(text, hider)
    return hider.hide(text, "" if name in _TEXTS else _as_words(name))


def _as_words(name: str) -> str:
    """A member's name as the words that stand before what it holds: customerPhone, customer_phone."""
    return _CAPITAL.sub(" ", name)


def _arguments(text: str, hider: Hider) -> str:
    """The arguments of a tool call: JSON in a text; if they are none, then a text."""
    try:
        value = _EXACT.decode(text)
        changed = _walk(value, "", hider, is_theirs=True)
    except _UNREADABLE:
        return hider.hide(text)
    return text if changed is value else _ENCODER.encode(changed).decode()

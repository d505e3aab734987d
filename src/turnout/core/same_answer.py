"""Decides whether two answers say the same, so that it is known how often a semantic hit would have been right.

Models word the same answer differently each time. So: the same tool calls, and either the same words, or texts that lie
near each other by their vectors with the same numbers in them, and of one mind (yes or no, with or without a negation).
It is a judgement by rules, and strict on purpose: an answer wrongly called different only turns the cache off sooner.
"""

from __future__ import annotations

import re

import msgspec

from turnout.core.anthropic_replies import MessageDecoder, read_message
from turnout.core.contracts import Call
from turnout.core.lexical_guard import read
from turnout.core.messages import Text, TextAdded, ToolCall, ToolCallAdded, ToolCallStarted
from turnout.core.openai_replies import ChunkDecoder, read_reply
from turnout.errors import UpstreamError

COMPARED_CHARACTERS = 600
"""How much of an answer is compared by its vector: the point is made by then, and more costs an embedder too long."""

_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_LIST_MARK = re.compile(r"(?m)^\s*\d+[.)]\s")
_YES = frozenset({"yes", "ja", "jo"})
_NO = frozenset({"no", "nej"})


class Told(msgspec.Struct, frozen=True):
    """What an answer says. calls: its tools' names and arguments, in order."""

    text: str
    calls: tuple[tuple[str, str], ...] = ()


def told_by(call: Call, body: bytes) -> Told | None:
    """Return what an answer in the client's format says, None if it cannot be read. call: what it answers. O(bytes)."""
    is_anthropic = call.dialect == "anthropic_messages"
    if call.stream:
        return _streamed(MessageDecoder() if is_anthropic else ChunkDecoder(), body)
    reply = read_message(body) if is_anthropic else read_reply(body)
    if isinstance(reply, UpstreamError):
        return None
    text = "".join(part.text for part in reply.parts if isinstance(part, Text))
    return Told(text, tuple((part.name, _plain(part.arguments)) for part in reply.parts if isinstance(part, ToolCall)))


def _streamed(decoder: MessageDecoder | ChunkDecoder, body: bytes) -> Told:
    text = ""
    names: dict[int, str] = {}
    arguments: dict[int, str] = {}
    for event in decoder.feed(body):
        match event:
            case TextAdded(piece):
                text += piece
            case ToolCallStarted(index, _, name):
                names[index] = name
            case ToolCallAdded(index, piece):
                arguments[index] = arguments.get(index, "") + piece
            case _:
                pass
    return Told(text, tuple((name, _plain(arguments.get(index, ""))) for index, name in sorted(names.items())))


def _plain(arguments: str) -> str:
    """Arguments without what does not count in JSON, as they are if they are none."""
    try:
        return msgspec.json.encode(msgspec.json.decode(arguments), order="sorted").decode()
    except ValueError:
        return arguments


def is_same_text(one: str, other: str) -> bool:
    """Whether two texts have the same words. O(characters)."""
    return one.casefold().split() == other.casefold().split()


def disagreement(one: Told, other: Told) -> str:
    """Return what makes these two answers different whatever their vectors say: calls, numbers, mind; "" if nothing does."""
    if one.calls != other.calls:
        return "calls"
    if _numbers(one.text) != _numbers(other.text):
        return "numbers"
    if _mind(one.text) != _mind(other.text):
        return "mind"
    return ""


def _numbers(text: str) -> frozenset[str]:
    """The numbers in a text, without those that only count a list's items."""
    return frozenset(_NUMBER.findall(_LIST_MARK.sub("", text)))


def _mind(text: str) -> tuple[str, bool]:
    """Whether it begins with yes or no, and whether it negates anything."""
    reading = read(text)
    first = reading.words[0] if reading.words else ""
    said = "yes" if first in _YES else "no" if first in _NO else ""
    return said, reading.negations > 0

"""Decides what a simulated model answers: words, a tool call, or JSON; how long; and why it stops.

Rules. A tool is called when tools are declared, tool_choice is not none, and the last turn is not a tool's result (one
call, the tool whose name and description share most words with the user's turn). JSON when the request's format asks.
Otherwise words of the lead desk. Every answer says that it is simulated, except where a given JSON schema forbids a new
member: there, and in tool calls, only the header `x-simulated` tells. The length keeps to max_tokens: four characters
are one token.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

import msgspec

from turnout.core.simulation import lead_desk
from turnout.core.simulation.asks import CHARACTERS_A_TOKEN, Ask, ToolAsk, tokens_of
from turnout.core.simulation.chance import Chance
from turnout.core.simulation.schemas import value_for

Finish = Literal["stop", "length", "tool_calls"]


class Answer(msgspec.Struct, frozen=True):
    """What is said. kind: what it is about (for latency). text: the words, or a tool call's arguments (JSON text).

    tool: the called tool's name, "" for words. tokens: of `text`. piece: characters in each event of a stream.
    """

    kind: str
    text: str
    finish: Finish
    tool: str = ""
    piece: int = CHARACTERS_A_TOKEN

    @property
    def tokens(self) -> int:
        """Tokens of the whole text."""
        return tokens_of(len(self.text))

    def pieces(self) -> list[str]:
        """Return the text cut as a stream tells it; at least one piece."""
        return [self.text[at : at + self.piece] for at in range(0, len(self.text), self.piece)] or [""]


def answer(ask: Ask, chance: Chance, *, most_tokens: int = 0, exactly_tokens: int = 0, huge_bytes: int = 0) -> Answer:
    """Return the answer to `ask`. O(prompt + answer); never raises.

    most_tokens: the model's own bound, 0 for none. exactly_tokens: length that ignores every bound (a fault), 0 for none.
    huge_bytes: at least that many characters, all in one event (a fault), 0 for none.
    """
    facts = lead_desk.facts_of(ask.user or ask.system)
    kind = lead_desk.kind_of(ask.system, ask.user)
    tool = _tool(ask)
    if tool:
        text = msgspec.json.encode(value_for(tool.schema, facts)).decode()
    elif ask.json:
        text = _json(ask, kind, facts, chance)
    else:
        text = lead_desk.write(kind, facts, ask.user, chance)
    finish: Finish = "tool_calls" if tool else "stop"
    if exactly_tokens or huge_bytes:
        length = huge_bytes or exactly_tokens * CHARACTERS_A_TOKEN
        text = (text * (length // len(text) + 1))[:length]
    else:
        bounds = [bound for bound in (ask.max_tokens, most_tokens) if bound]
        if bounds and tokens_of(len(text)) > min(bounds):
            text, finish = text[: min(bounds) * CHARACTERS_A_TOKEN], "length"
    return Answer(kind, text, finish, tool.name if tool else "", huge_bytes or CHARACTERS_A_TOKEN)


def _tool(ask: Ask) -> ToolAsk | None:
    """Return the tool that the model calls, None when it speaks."""
    if not ask.tools or ask.tool_choice == "none":
        return None
    for tool in ask.tools:
        if tool.name == ask.tool_choice:
            return tool
    if ask.last_role != "user" and ask.tool_choice != "required":
        return None
    said = _words(ask.user)
    return max(ask.tools, key=lambda tool: len(said & _words(f"{tool.name} {tool.description}")))


def _words(text: str) -> set[str]:
    """Return the lower-case words of four letters or more; `checkAvailability` and `check_availability` are two words."""
    return {word.lower() for word in re.findall(r"[A-ZÆØÅ]?[a-zæøå]{3,}", text[: lead_desk.READ_CHARACTERS])}


def _json(ask: Ask, kind: str, facts: Mapping[str, str], chance: Chance) -> str:
    if ask.json == "schema":
        value = value_for(ask.schema, {**facts, "text": lead_desk.LABEL.strip()})
        if isinstance(value, dict) and ask.schema.get("additionalProperties") is not False:
            value["simulated"] = True
        return msgspec.json.encode(value).decode()
    known = {name: fact for name, fact in facts.items() if fact and name != "notes"}
    more = (
        lead_desk.findings(facts, chance)
        if kind == "analysis"
        else {"text": lead_desk.write(kind, facts, ask.user, chance)}
    )
    return msgspec.json.encode({"simulated": True, "kind": kind, **known, **more}).decode()

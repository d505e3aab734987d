"""Anthropic's wire format."""

from typing import Any

import msgspec

from turnout.core.simulation import anthropic_wire
from turnout.core.simulation.answers import Answer
from turnout.core.simulation.asks import Ask
from turnout.core.simulation.draft import Piece

ASK = Ask(kind="messages", model="claude-3-haiku")
WORDS = Answer("chat", "Hej med dig", "stop")
CALL = Answer("chat", '{"date":"2026-12-01"}', "tool_calls", "checkAvailability")
USAGE: dict[str, object] = {"input_tokens": 2, "output_tokens": 3}


def events(pieces: list[Piece]) -> list[Any]:
    """Return the data of each event; its name must be its type."""
    found = []
    for piece in pieces:
        name, data = piece.data.rstrip(b"\n").split(b"\n")
        found.append(msgspec.json.decode(data[6:]))
        assert f"event: {found[-1]['type']}".encode() == name
    return found


def test_a_whole_message() -> None:
    """Text, reason and usage."""
    reply = msgspec.json.decode(anthropic_wire.whole(ASK, WORDS, "ab", [USAGE]))
    assert [{"type": "text", "text": "Hej med dig"}] == reply["content"]
    assert ("end_turn", USAGE, "msg_sim_ab") == (reply["stop_reason"], reply["usage"], reply["id"])


def test_a_whole_tool_call() -> None:
    """Its input is an object; a cut one has none."""
    block = msgspec.json.decode(anthropic_wire.whole(ASK, CALL, "ab", []))["content"][0]
    assert ("tool_use", "checkAvailability", {"date": "2026-12-01"}) == (block["type"], block["name"], block["input"])
    cut = Answer("chat", '{"da', "length", "checkAvailability")
    reply = msgspec.json.decode(anthropic_wire.whole(ASK, cut, "ab", [USAGE]))
    assert ({}, "max_tokens") == (reply["content"][0]["input"], reply["stop_reason"])


def test_a_stream_of_words() -> None:
    """All events in their order; input counted at the start, output at the end."""
    pieces = anthropic_wire.stream(ASK, WORDS, "ab", [USAGE])
    told = events(pieces)
    assert [
        "message_start",
        "content_block_start",
        "ping",
        *["content_block_delta"] * 3,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ] == [one["type"] for one in told]
    assert "Hej med dig" == "".join(one["delta"]["text"] for one in told[3:6])
    assert {"input_tokens": 2, "output_tokens": 1} == told[0]["message"]["usage"]
    assert ({"output_tokens": 3}, "end_turn") == (told[-2]["usage"], told[-2]["delta"]["stop_reason"])
    assert WORDS.tokens == sum(piece.tokens for piece in pieces)


def test_a_stream_of_a_tool_call() -> None:
    """The arguments come as pieces of JSON text."""
    told = events(anthropic_wire.stream(ASK, CALL, "ab", [USAGE]))
    assert ("tool_use", {}) == (told[1]["content_block"]["type"], told[1]["content_block"]["input"])
    assert CALL.text == "".join(one["delta"]["partial_json"] for one in told if one["type"] == "content_block_delta")


def test_a_stream_without_usage_and_with_two() -> None:
    """Absent everywhere, or two last words."""
    told = events(anthropic_wire.stream(ASK, WORDS, "ab", []))
    assert not any("usage" in one or "usage" in one.get("message", {}) for one in told)
    twice = events(anthropic_wire.stream(ASK, WORDS, "ab", [USAGE, USAGE]))
    assert 2 == sum(one["type"] == "message_delta" for one in twice)

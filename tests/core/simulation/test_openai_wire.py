"""OpenAI's wire format."""

from typing import Any

import msgspec

from turnout.core.simulation import openai_wire
from turnout.core.simulation.answers import Answer
from turnout.core.simulation.asks import Ask
from turnout.core.simulation.draft import Piece

WORDS = Answer("chat", "Hej med dig", "stop")
CALL = Answer("chat", '{"date":"2026-12-01"}', "tool_calls", "checkAvailability")
USAGE: dict[str, object] = {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}


def ask(**more: Any) -> Ask:
    """Return a chat request."""
    return Ask(**{"kind": "chat", "model": "m", **more})


def events(pieces: list[Piece]) -> list[Any]:
    """Return the JSON of each event but comments and the terminal one."""
    return [msgspec.json.decode(piece.data[6:-2]) for piece in pieces if piece.role not in {"comment", "end"}]


def test_a_whole_completion() -> None:
    """Id, words, reason and usage."""
    reply = msgspec.json.decode(openai_wire.whole(ask(), WORDS, "ab", 1000, [USAGE]))
    assert ("chatcmpl-sim-ab", "chat.completion", 1000, "m") == tuple(
        reply[name] for name in ("id", "object", "created", "model")
    )
    assert "Hej med dig" == reply["choices"][0]["message"]["content"]
    assert "stop" == reply["choices"][0]["finish_reason"]
    assert USAGE == reply["usage"]


def test_a_whole_tool_call() -> None:
    """No words, one call with its arguments as text."""
    message = msgspec.json.decode(openai_wire.whole(ask(), CALL, "ab", 1, [USAGE]))["choices"][0]["message"]
    assert message["content"] is None
    assert {"name": "checkAvailability", "arguments": CALL.text} == message["tool_calls"][0]["function"]


def test_a_usage_may_be_missing_or_told_twice() -> None:
    """Twice is a duplicate key, as a broken vendor would send."""
    assert b'"usage"' not in openai_wire.whole(ask(), WORDS, "ab", 1, [])
    assert 2 == openai_wire.whole(ask(), WORDS, "ab", 1, [USAGE, USAGE]).count(b'"usage"')


def test_a_stream_of_words() -> None:
    """Role, tokens, reason, end; no usage unless asked for."""
    pieces = openai_wire.stream(ask(), WORDS, "ab", 1, [USAGE])
    assert ["open", "content", "content", "content", "finish", "end"] == [piece.role for piece in pieces]
    told = events(pieces)
    assert {"role": "assistant", "content": ""} == told[0]["choices"][0]["delta"]
    assert "Hej med dig" == "".join(one["choices"][0]["delta"].get("content", "") for one in told)
    assert [None, None, None, None, "stop"] == [one["choices"][0]["finish_reason"] for one in told]
    assert b"data: [DONE]\n\n" == pieces[-1].data
    assert WORDS.tokens == sum(piece.tokens for piece in pieces)


def test_a_stream_of_a_tool_call() -> None:
    """Id and name first, then the arguments in pieces."""
    told = events(openai_wire.stream(ask(), CALL, "ab", 1, []))
    first = told[0]["choices"][0]["delta"]["tool_calls"][0]
    assert ("call_ab", "checkAvailability", 0) == (first["id"], first["function"]["name"], first["index"])
    pieces = [one["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"] for one in told[:-1]]
    assert CALL.text == "".join(pieces)


def test_usage_and_comments_where_asked_for() -> None:
    """The usage event has no choices; the comment comes first."""
    pieces = openai_wire.stream(ask(wants_usage=True), WORDS, "ab", 1, [USAGE, USAGE], has_comments=True)
    assert openai_wire.COMMENT == pieces[0].data
    usages = [piece for piece in pieces if piece.is_usage]
    assert [[], []] == [msgspec.json.decode(piece.data[6:])["choices"] for piece in usages]


def test_embeddings_as_numbers_and_as_base64() -> None:
    """One vector per input, in order, of the dimensions asked for or the model's own."""
    reply = msgspec.json.decode(openai_wire.embeddings(ask(kind="embedding", inputs=("a", "b"), dimensions=4), [USAGE]))
    assert [0, 1] == [one["index"] for one in reply["data"]]
    assert [4, 4] == [len(one["embedding"]) for one in reply["data"]]
    packed = msgspec.json.decode(openai_wire.embeddings(ask(kind="embedding", inputs=("a",), is_base64=True), []))
    assert 8192 == len(packed["data"][0]["embedding"])


def test_the_models() -> None:
    """A list, and one alone."""
    assert ["a", "b"] == [one["id"] for one in msgspec.json.decode(openai_wire.models(["a", "b"], 1))["data"]]
    assert {"id": "a", "object": "model", "created": 1, "owned_by": "simulated"} == msgspec.json.decode(
        openai_wire.model("a", 1)
    )

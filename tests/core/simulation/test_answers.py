"""What a simulated model answers, how long, and why it stops."""

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.simulation.answers import answer
from turnout.core.simulation.asks import Ask, ToolAsk
from turnout.core.simulation.chance import Chance
from turnout.core.simulation.lead_desk import LABEL

CHANCE = Chance(1, b"body", 0)
DATE: dict[str, Any] = {"type": "object", "properties": {"date": {"type": "string", "format": "date"}}}
AVAILABLE = ToolAsk("checkAvailability", "Finder ledige tider i kalenderen", DATE)
PRICING = ToolAsk("get_pricing", "Finder prisen på en ydelse", {"type": "object"})


def ask(**more: Any) -> Ask:
    """Return a chat request."""
    return Ask(**{"kind": "chat", "model": "m", "user": "Hej", **more})


def test_words_end_by_themselves() -> None:
    """Without a bound the answer is whole, and its tokens are a quarter of its characters."""
    said = answer(ask(), CHANCE)
    assert ("chat", "stop", "") == (said.kind, said.finish, said.tool)
    assert said.text.startswith(LABEL)
    assert -(-len(said.text) // 4) == said.tokens


@given(st.integers(min_value=1, max_value=60), st.integers(min_value=0, max_value=60))
def test_no_answer_is_longer_than_its_bounds(asked: int, own: int) -> None:
    """The request's and the model's bound both hold; a cut answer says so."""
    said = answer(ask(max_tokens=asked), CHANCE, most_tokens=own)
    bound = min(asked, own or asked)
    whole = answer(ask(), CHANCE)
    assert said.tokens <= bound
    assert said.finish == ("length" if whole.tokens > bound else "stop")
    assert whole.text.startswith(said.text)


@given(st.integers(min_value=1, max_value=80))
def test_pieces_make_the_text(tokens: int) -> None:
    """A stream tells four characters at a time, and all of them."""
    said = answer(ask(max_tokens=tokens), CHANCE)
    assert said.text == "".join(said.pieces())
    assert said.tokens == len(said.pieces())


def test_a_fault_can_ask_for_any_length() -> None:
    """More tokens than allowed, or all in one event."""
    assert 500 == answer(ask(max_tokens=5), CHANCE, exactly_tokens=500).tokens
    huge = answer(ask(), CHANCE, huge_bytes=100_000)
    assert [100_000] == [len(piece) for piece in huge.pieces()]


def test_a_declared_tool_is_called_with_arguments_that_fit() -> None:
    """The tool that shares most words with the user's turn."""
    said = answer(ask(user="Er der ledige tider?", tools=(PRICING, AVAILABLE)), CHANCE)
    assert ("checkAvailability", "tool_calls") == (said.tool, said.finish)
    assert {"date": "2026-12-01"} == msgspec.json.decode(said.text)
    assert "get_pricing" == answer(ask(user="Hvad er prisen?", tools=(AVAILABLE, PRICING)), CHANCE).tool


def test_when_a_tool_is_not_called() -> None:
    """Not when none is declared or wanted, nor right after a tool's result."""
    assert answer(ask(tools=(PRICING,), tool_choice="none"), CHANCE).tool == ""
    assert answer(ask(tools=(PRICING,), last_role="tool"), CHANCE).tool == ""
    assert answer(ask(tool_choice="required"), CHANCE).tool == ""


def test_a_tool_that_must_be_called_is() -> None:
    """Named, or any; also after a tool's result."""
    assert "get_pricing" == answer(ask(tools=(AVAILABLE, PRICING), tool_choice="get_pricing"), CHANCE).tool
    assert "checkAvailability" == answer(ask(tools=(AVAILABLE,), tool_choice="required", last_role="tool"), CHANCE).tool


def test_a_json_object_says_that_it_is_simulated() -> None:
    """With the facts of the prompt, and words or findings."""
    said = msgspec.json.decode(answer(ask(user="Navn: Mette", json="object"), CHANCE).text)
    assert (True, "Mette", "chat") == (said["simulated"], said["name"], said["kind"])
    assert said["text"].startswith(LABEL)
    found = msgspec.json.decode(answer(ask(user="Analysér dette lead. Navn: Mette", json="object"), CHANCE).text)
    assert {"priority", "chance", "next_step", "red_flags"} <= set(found)


def test_a_json_schema_is_kept_to() -> None:
    """Marked as simulated unless the schema forbids it or is no object."""
    schema = {"type": "object", "properties": {"total": {"type": "number"}, "text": {"type": "string"}}}
    said = msgspec.json.decode(answer(ask(json="schema", schema=schema), CHANCE).text)
    assert {"total": 1.5, "text": LABEL.strip(), "simulated": True} == said
    strict = msgspec.json.decode(
        answer(ask(json="schema", schema={**schema, "additionalProperties": False}), CHANCE).text
    )
    assert {"total": 1.5, "text": LABEL.strip()} == strict
    assert [1] == msgspec.json.decode(
        answer(ask(json="schema", schema={"type": "array", "items": {"type": "integer"}}), CHANCE).text
    )


def test_the_instructions_are_read_where_the_user_says_nothing() -> None:
    """A request with only a system turn has facts too."""
    assert "Mette" in answer(ask(user="", system="Skriv et udkast. Navn: Mette"), CHANCE).text

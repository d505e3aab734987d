"""Reading requests as a vendor would."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.simulation.asks import Ask, Kind, Unreadable, read, tokens_of

USER = {"role": "user", "content": "Hej med dig"}


def ask(kind: Kind = "chat", **fields: Any) -> Ask:
    """Read a request that must be readable."""
    known: dict[str, Any] = {"model": "m", "messages": [USER]} if kind != "embedding" else {"model": "m"}
    found = read(kind, msgspec.json.encode({**known, **fields}))
    assert isinstance(found, Ask), found
    return found


@pytest.mark.parametrize(
    ("kind", "body", "param"),
    [
        ("chat", b"{", ""),
        ("chat", b"[" * 100_000, ""),
        ("chat", b"[]", ""),
        ("chat", b"{}", "model"),
        ("chat", b'{"model": ""}', "model"),
        ("chat", b'{"model": "m"}', "messages"),
        ("messages", b'{"model": "m", "messages": []}', "messages"),
        ("chat", b'{"model": "m", "messages": ["hej"]}', "messages"),
        ("embedding", b'{"model": "m"}', "input"),
        ("embedding", b'{"model": "m", "input": []}', "input"),
        ("embedding", b'{"model": "m", "input": [{}]}', "input"),
    ],
)
def test_what_cannot_be_read_is_named(kind: Kind, body: bytes, param: str) -> None:
    """A value, not a raise, with the field at fault."""
    found = read(kind, body)
    assert isinstance(found, Unreadable)
    assert param == found.param
    assert found.message


def test_a_plain_chat() -> None:
    """Model, words, and a count of a quarter of the characters, rounded up."""
    found = ask(stream=True, stream_options={"include_usage": True}, max_tokens=20)
    assert ("m", True, True, 20, 3) == (
        found.model,
        found.stream,
        found.wants_usage,
        found.max_tokens,
        found.input_tokens,
    )
    assert ("Hej med dig", "user", "", "auto") == (found.user, found.last_role, found.system, found.tool_choice)


@given(st.integers(min_value=0, max_value=10**6))
def test_four_characters_are_a_token(characters: int) -> None:
    """Rounded up, so that nothing said is nothing counted only when nothing was said."""
    assert 4 * tokens_of(characters) - characters in range(4)


def test_system_words_come_from_every_place() -> None:
    """Anthropic's member, OpenAI's system and developer turns; parts and strings."""
    turns = [
        {"role": "system", "content": "to"},
        {"role": "developer", "content": [{"type": "text", "text": "tre"}]},
        {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": "https://x"}}, {"type": "text", "text": "fire"}],
        },
    ]
    found = ask("messages", system=[{"type": "text", "text": "en"}], messages=turns)
    assert ("en\nto\ntre", "\nfire") == (found.system, found.user)


def test_the_last_user_turn_counts_and_everything_is_charged() -> None:
    """Earlier turns, tool calls and declared tools are input; an empty user turn does not hide the one before."""
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    turns = [USER, {"role": "assistant", "content": None, "tool_calls": [call]}, {"role": "user", "content": ""}]
    assert "Hej med dig" == ask(messages=turns).user
    assert ask(messages=turns).input_tokens > ask().input_tokens
    assert ask(tools=[{"name": "f", "input_schema": {}}]).input_tokens > ask().input_tokens


def test_who_spoke_last() -> None:
    """A user turn with tool results is the tool speaking (Anthropic's form)."""
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "kl. 10"}]}
    assert "tool" == ask("messages", messages=[USER, result]).last_role
    assert "kl. 10" == ask("messages", messages=[USER, result]).user
    assert "tool" == ask(messages=[USER, {"role": "tool", "content": "x"}]).last_role


def test_tools_of_both_formats() -> None:
    """Names, descriptions, schemas; what is no tool is passed over."""
    declared = [
        {"type": "function", "function": {"name": "a", "description": "A", "parameters": {"type": "object", "x": 1}}},
        {"name": "b", "input_schema": {"type": "object", "y": 2}},
        {"type": "function", "function": {"name": "c", "parameters": None}},
        {"type": "function", "function": "nonsense"},
        {"name": 7},
        "nonsense",
    ]
    found = ask(tools=declared).tools
    assert [("a", "A"), ("b", ""), ("c", "")] == [(tool.name, tool.description) for tool in found]
    assert [{"type": "object", "x": 1}, {"type": "object", "y": 2}, {"type": "object"}] == [
        tool.schema for tool in found
    ]


@pytest.mark.parametrize(
    ("choice", "read_as"),
    [
        (None, "auto"),
        ("none", "none"),
        ("required", "required"),
        ({"type": "function", "function": {"name": "f"}}, "f"),
        ({"type": "tool", "name": "g"}, "g"),
        ({"type": "any"}, "required"),
        ({"type": "none"}, "none"),
        ({"type": "auto"}, "auto"),
    ],
)
def test_tool_choice_of_both_formats(choice: object, read_as: str) -> None:
    """One word for all spellings."""
    assert read_as == ask(tool_choice=choice).tool_choice


def test_response_formats() -> None:
    """An object, or a schema."""
    assert ("", {}) == (ask().json, ask().schema)
    assert "object" == ask(response_format={"type": "json_object"}).json
    wanted = {"type": "json_schema", "json_schema": {"schema": {"type": "object", "z": 1}}}
    found = ask(response_format=wanted)
    assert ("schema", {"type": "object", "z": 1}) == (found.json, found.schema)
    assert {"type": "object"} == ask(response_format={"type": "json_schema"}).schema


def test_bounds_that_are_no_bounds() -> None:
    """`max_completion_tokens` goes before `max_tokens`; zero, booleans and text are none."""
    assert ask(max_tokens=9, max_completion_tokens=5).max_tokens == 5
    assert [0, 0, 0] == [ask(max_tokens=value).max_tokens for value in (0, True, "9")]


@pytest.mark.parametrize(
    ("given_input", "texts"),
    [("hej", ("hej",)), (["a", "b"], ("a", "b")), ([1, 2], ("1 2",)), ([[1, 2], [3]], ("1 2", "3"))],
)
def test_every_form_of_embedding_input(given_input: object, texts: tuple[str, ...]) -> None:
    """Text, texts, tokens, lists of tokens."""
    found = ask("embedding", input=given_input, dimensions=8, encoding_format="base64")
    assert (texts, 8, True) == (found.inputs, found.dimensions, found.is_base64)
    assert sum(tokens_of(len(text)) for text in texts) == found.input_tokens


@given(st.sampled_from(["chat", "messages", "embedding"]), st.binary(max_size=200))
def test_no_body_makes_it_raise(kind: Kind, body: bytes) -> None:
    """Bytes from anywhere are read or refused."""
    assert isinstance(read(kind, body), Ask | Unreadable)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "text", "content", "name"]), inner)
    ),
    max_leaves=8,
)
members = st.sampled_from(
    ["tools", "tool_choice", "response_format", "system", "stream_options", "messages", "max_tokens"]
)


@given(
    st.dictionaries(members, anything),
    st.lists(st.fixed_dictionaries({"role": anything, "content": anything}), min_size=1),
)
def test_no_json_makes_it_raise(fields: dict[str, Any], turns: list[Any]) -> None:
    """Members of the wrong shape are read as absent, or refused."""
    body = msgspec.json.encode({"model": "m", "messages": turns, **fields})
    assert isinstance(read("chat", body), Ask | Unreadable)

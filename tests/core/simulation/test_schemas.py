"""Values that fit a JSON Schema."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.simulation.schemas import value_for

FACTS = {"name": "Mette Hansen", "service": "flytterengøring", "email": ""}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"const": 7}, 7),
        ({"default": "x", "type": "string"}, "x"),
        ({"enum": ["a", "b"]}, "a"),
        ({"enum": [], "type": "boolean"}, True),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, 1),
        ({"type": ["null", "number"]}, 1.5),
        ({"type": ["null"]}, None),
        ({"type": "null"}, None),
        ({"type": "integer", "minimum": 5}, 5),
        ({"type": "integer", "maximum": -2}, -2),
        ({"type": "integer", "maximum": 9}, 1),
        ({"type": "array", "items": {"type": "integer"}}, [1]),
        ({"type": "object"}, {}),
        ({"type": "string", "format": "date"}, "2026-12-01"),
        ({"type": "string"}, "tekst"),
        ({"properties": {"customerName": {"type": "string"}}}, {"customerName": "Mette Hansen"}),
        ({"properties": {"email": {"type": "string"}}}, {"email": "kunde@example.com"}),
        ({"type": "object", "properties": {"ok": {"type": "boolean"}}}, {"ok": True}),
        (True, "tekst"),
    ],
)
def test_a_value_fits_its_schema(schema: object, value: object) -> None:
    """Each construct that tools' schemas use."""
    assert value == value_for(schema, FACTS)


def test_a_member_without_a_hint_is_its_own_name() -> None:
    """Words are never empty."""
    assert {"farve": "farve"} == value_for({"properties": {"farve": {}}}, {})


def test_a_schema_that_nests_without_end_is_cut() -> None:
    """Eight levels down a word stands for the rest."""
    schema: dict[str, Any] = {"type": "array"}
    schema["items"] = schema
    assert "[[[[[[[[[" in msgspec.json.encode(value_for(schema, {})).decode()


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from(["type", "enum", "anyOf", "properties", "items", "minimum", "format"]), anything)
)
def test_no_schema_makes_it_raise(schema: dict[str, Any]) -> None:
    """A client's schema is untrusted: whatever it is, a JSON value comes out."""
    assert msgspec.json.encode(value_for(schema, FACTS))

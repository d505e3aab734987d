"""Makes a plausible value for a JSON Schema: the arguments of a tool call, or an answer in a given form.

Knows what schemas of tools use (type, enum, const, default, properties, required, items, anyOf, bounds, format); what
it does not know becomes a word. Words come from the facts found in the prompt where a member's name asks for one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_DEPTH = 8
_WORDS: tuple[tuple[str, str], ...] = (
    ("email", "kunde@example.com"),
    ("mail", "kunde@example.com"),
    ("phone", "+45 20 30 40 50"),
    ("date", "2026-12-01"),
    ("dato", "2026-12-01"),
    ("time", "10:00"),
    ("tid", "10:00"),
    ("url", "https://example.com"),
    ("city", "Aarhus"),
    ("location", "Aarhus"),
    ("address", "Aarhus C"),
)
_FORMATS: Final = {
    "date-time": "2026-12-01T10:00:00+01:00",
    "date": "2026-12-01",
    "time": "10:00:00",
    "email": "kunde@example.com",
    "uri": "https://example.com",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def value_for(schema: object, facts: Mapping[str, str], name: str = "", depth: int = 0) -> Any:
    """Return a JSON value that fits `schema`. facts: words by name (name, service, …). Never raises.

    O(schema), at most 8 levels deep; below that, and for what is no schema, an empty object or a word.
    """
    if not isinstance(schema, dict) or depth > _DEPTH:
        return _word(name, facts)
    for fixed in ("const", "default"):
        if fixed in schema:
            return schema[fixed]
    if isinstance(choices := schema.get("enum"), list) and choices:
        return choices[0]
    for union in ("anyOf", "oneOf", "allOf"):
        if isinstance(options := schema.get(union), list) and options:
            return value_for(options[0], facts, name, depth + 1)
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    if kind == "object" or (kind is None and "properties" in schema):
        return _object(schema, facts, depth)
    if kind == "array":
        return [value_for(schema.get("items"), facts, name, depth + 1)]
    if kind in ("integer", "number"):  # a tuple: an unhashable kind must not raise
        return _number(schema, is_whole=kind == "integer")
    if kind == "boolean":
        return True
    if kind == "null":
        return None
    return _FORMATS.get(str(schema.get("format"))) or _word(name, facts)


def _object(schema: dict[str, Any], facts: Mapping[str, str], depth: int) -> dict[str, Any]:
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return {}
    return {str(name): value_for(inner, facts, str(name), depth + 1) for name, inner in properties.items()}


def _number(schema: dict[str, Any], *, is_whole: bool) -> float:
    least, most = schema.get("minimum"), schema.get("maximum")
    if isinstance(least, int | float):
        return least
    if isinstance(most, int | float) and most < 1:
        return most
    return 1 if is_whole else 1.5


def _word(name: str, facts: Mapping[str, str]) -> str:
    lower = name.lower()
    for known, value in facts.items():
        if known in lower and value:
            return value
    return next((word for hint, word in _WORDS if hint in lower), name or "tekst")

"""Schemas by hand: what they require is among what they tell of, and each reference leads somewhere."""

from __future__ import annotations

import re

import msgspec

from turnout.api.schemas import REF, SCHEMAS


def test_every_schema_says_what_kind_of_thing_it_is():
    """A tool can tell an object from a text."""
    for name, schema in SCHEMAS.items():
        assert schema["type"] in {"object", "string"}, name


def test_references_have_one_form():
    """The one that the description's own structs have too."""
    found = set(re.findall(r'"\$ref":"([^"]+)"', msgspec.json.encode(SCHEMAS).decode()))
    assert found
    assert all(one.startswith(REF.format(name="")) for one in found)

"""How deep a JSON text is nested and how many members it has: exact, linear, quick on abuse (T49)."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.json_depth import Nesting, exceeds

TRAPS = ['"', "\\", "[", "]", "{", "}", '\\"', "]}", "\\\\", "n", "æ", "\n", "u", "\u2028", "[[[", "x", ":", '":']
TEXT = st.lists(st.sampled_from(TRAPS), max_size=6).map("".join)
VALUES = st.recursive(
    TEXT | st.integers() | st.none() | st.booleans(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=25,
)


def depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    return 0


def members(value: object) -> int:
    if isinstance(value, dict):
        return len(value) + sum(map(members, value.values()))
    return sum(map(members, value)) if isinstance(value, list) else 0


@given(VALUES, st.booleans(), st.sampled_from((None, 1)), st.integers(-3, 3), st.booleans())
def test_exact_for_every_json_text(value, ascii_only, indent, nearby, is_long):
    """The oracle knows the value; brackets, quotes and backslashes inside strings do not count."""
    if is_long:
        value = [value, "]" * 5000]
    limit = max(0, depth(value) + nearby)
    body = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    assert (depth(value) > limit) == exceeds(body, limit)


@given(VALUES, st.booleans(), st.sampled_from((None, 1)), st.integers(-3, 3), st.data())
def test_a_text_in_pieces_is_the_same_text(value, ascii_only, indent, nearby, data):
    """Wherever it is cut: inside a string, between a backslash and what follows it, into nothing at all."""
    limit = max(0, depth(value) + nearby)
    body = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    places = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=9)))
    nesting = Nesting(limit)
    for begin, end in zip([0, *places], [*places, len(body)], strict=True):
        nesting.feed(body[begin:end])
    assert (depth(value) > limit) == (nesting.deepest > limit)
    assert (members(value), 0) == (nesting.members, nesting.level)


def test_a_backslash_at_every_seam():
    """Byte by byte, with runs of backslashes before quotes."""
    value = {"a\\": ["\\\\", '\\"[[[', {'"': "\\\\\\"}], "\\\\": 1}
    nesting = Nesting(0)
    for byte in json.dumps(value).encode():
        nesting.feed(bytes([byte]))
    assert (3, 3) == (nesting.deepest, nesting.members)


@given(st.binary(max_size=60) | st.text('[]{}"\\:', max_size=60).map(str.encode), st.integers(0, 3))
def test_never_raises(body, limit):
    """Whatever the bytes: the answer for what is no JSON does not matter, there is one."""
    assert exceeds(body, limit) in {True, False}


@pytest.mark.parametrize("text", [b"[" * 10**6, b'{"a":' * 10**6, b"[" * 10**5 + b"]" * 10**5, b"[]" * 65 + b"[" * 65])
def test_abuse_is_answered_at_once(text):
    """A million levels: True, in far less than the 50 ms that T49 allows (the bound here is for a busy machine)."""
    began = time.perf_counter()
    assert exceeds(text, 64)
    assert time.perf_counter() - began < 0.5


def test_wide_is_not_deep():
    """Ten thousand siblings are one level each."""
    body = json.dumps([{"a": [i]} for i in range(10_000)]).encode()
    assert exceeds(body, 2)
    assert not exceeds(body, 3)
    nesting = Nesting(3)
    nesting.feed(body)
    assert (10_000, 0) == (nesting.members, nesting.level)
    assert nesting.deepest <= 3

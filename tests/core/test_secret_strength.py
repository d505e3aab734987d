"""Tests of core/secret_strength.py (RELIABILITY T96)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.secret_strength import weakness


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("", "is empty"),
        ("   ", "is empty"),
        (" kJ8s2mNq0vXz4Lw7Tg5Rb1Yc", "begins or ends with a space, or holds a character that cannot be seen"),
        ("kJ8s2mNq0vXz\n4Lw7Tg5Rb1Yc", "begins or ends with a space, or holds a character that cannot be seen"),
        ("sk-1234", "is a sample key or made of the words of one"),
        ("changeme", "is a sample key or made of the words of one"),
        ("test", "is a sample key or made of the words of one"),
        ("password", "is a sample key or made of the words of one"),
        ("Change-Me-Please-This-Is-My-Secret-Master-Key", "is a sample key or made of the words of one"),
        ("sk-litellm-master-key-123456789", "is a sample key or made of the words of one"),
        ("your-api-key-goes-here-0000", "is a sample key or made of the words of one"),
        ("kJ8s2mNq0vXz4Lw7", "has 16 characters, at least 24 are needed"),
        ("zzuuzzuuuzuzuzuuzuzzzzuuuuzz", "has only 2 different characters, at least 8 are needed"),
        ("qwzuvpmnlqwzuvpmnlqwzuvpmnl", "is a short text repeated"),
        ("ghijklmnopqrstuvwxyz98765432", "is mostly a sequence, like abcdef or 654321"),
    ],
)
def test_refuses_what_guards_nothing(key: str, expected: str) -> None:
    """Samples, short keys and patterns are named for what they are, and never repeated."""
    assert expected == weakness(key)
    assert not key.strip() or key not in weakness(key)


@pytest.mark.parametrize("size", [12, 16, 32])
def test_accepts_random_keys(size: int) -> None:
    """Hexadecimal digits of 12 random bytes are enough; the digits here are those of pi's fraction."""
    pi = bytes.fromhex("243f6a8885a308d313198a2e03707344a4093822299f31d0082efa98ec4e6c89")
    assert weakness(pi[:size].hex()) == ""
    assert weakness("sk-turnout-" + pi[:size].hex()) == ""


@given(st.text(max_size=60))
def test_never_raises_and_never_passes_a_short_key(key: str) -> None:
    """Any text gets an answer; fewer than 24 characters never pass."""
    answer = weakness(key)
    assert isinstance(answer, str)
    assert answer or len(key) >= 24

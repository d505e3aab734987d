"""Decides whether a key is too weak to guard anything: samples from guides, short ones, and patterns.

A judge of text, not of entropy: it refuses what people copy and what fingers type, and lets random text of 24 or more
characters pass. It never repeats the key in what it says.
Sources: RELIABILITY T96; NIST SP 800-63B 5.1.1.2 (refuse known, repetitive and sequential values).
"""

from __future__ import annotations

import itertools
import re

_SHORTEST = 24
"""Characters. 24 hexadecimal digits are 96 bits: out of reach for guessing over a network by a wide margin."""

_FEWEST_DISTINCT = 8
"""Of 24 random hexadecimal digits about 12.6 differ; fewer than 8 happens once in some thousand."""

_FEWEST_UNKNOWN = 16
"""Characters that must remain when the words below are taken out."""

_SAMPLES = re.compile(
    r"changeme|change|replace|example|sample|default|password|passwd|secret|master|admin|turnout|litellm|gateway"
    r"|test|demo|dummy|foo|bar|your|here|please|this|key|token|letmein|qwerty|asdf|abc|xxx+|123456789|12345|1234|123|sk"
)


def weakness(key: str) -> str:
    """Say what is weak about a key, "" if nothing is.

    key: the text itself. The answer continues "the key …" and never holds any part of it. Never raises. O(length).
    """
    if not key.strip():
        return "is empty"
    if key != key.strip() or not key.isprintable():
        return "begins or ends with a space, or holds a character that cannot be seen"
    plain = re.sub(r"[^a-z0-9]", "", key.lower())
    rest = _SAMPLES.sub("", plain)
    if len(rest) < _FEWEST_UNKNOWN and rest != plain:
        return "is a sample key or made of the words of one"
    if len(key) < _SHORTEST:
        return f"has {len(key)} characters, at least {_SHORTEST} are needed"
    if len(set(key)) < _FEWEST_DISTINCT:
        return f"has only {len(set(key))} different characters, at least {_FEWEST_DISTINCT} are needed"
    if _period(key) < _SHORTEST:
        return "is a short text repeated"
    if _steps(key) * 2 > len(key):
        return "is mostly a sequence, like abcdef or 654321"
    return ""


def _period(text: str) -> int:
    """Length of the shortest block that `text` repeats."""
    return (text + text).index(text, 1)


def _steps(text: str) -> int:
    """How many neighbours are equal, or one apart in the alphabet."""
    return sum(abs(ord(a) - ord(b)) <= 1 for a, b in itertools.pairwise(text))

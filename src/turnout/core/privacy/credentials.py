"""Finds credentials in a text: keys with a vendor's prefix, tokens, private keys, passwords in addresses.

For texts of people, where "basic understanding" is no credential: but for a private key and a password in an address,
what is found has a digit and is long. (core/redact.py hides more in what we write ourselves: there a word too many costs
nothing.) Nothing that is found holds a quote, a backslash or a line break. Linear: every pattern begins at a fixed word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

KEY_PREFIXES: Final = "sk-|gsk_|xai-|hf_|gh[pousr]_|github_pat_|glpat-|xox[abeprs]-|AIza|AKIA"
"""OpenAI, Anthropic and OpenRouter, Groq, xAI, Hugging Face, GitHub, GitLab, Slack, Google, AWS."""

_NAMES: Final = "key|token|secret|password|passwd|sig|signature|authorization|cookie"

CREDENTIAL: Final = (
    f"(?:{KEY_PREFIXES})[0-9A-Za-z_-]{{8}}|eyJ[0-9A-Za-z_-]{{8}}|PRIVATE KEY-----"
    "|(?i:bearer|basic)[ \t]+[0-9A-Za-z~+/=._-]{16}|://[^ \t\r\n/?#@:]*:[^ \t\r\n/?#@]*@"
    f"|(?i:{_NAMES})[\"']?[ \t]?[=:][ \t]?[\"']?[^ \t\r\n\"'&;,]{{8}}"
)
"""Where there is anything to look at, as RE2 and `re` both write it."""

_LOOKS: Final = (
    re.compile(rf"(?<![A-Za-z0-9])((?:{KEY_PREFIXES})[\w-]{{8,}}+)", re.ASCII),
    re.compile(r"(?<![\w-])(eyJ[\w-]{8,}+\.[\w-]{8,}+(?:\.[\w-]*+)?)", re.ASCII),
    re.compile(r"\b(?:bearer|basic)[ \t]++([\w~+/=.-]{16,}+)", re.IGNORECASE | re.ASCII),
    re.compile(rf"(?:{_NAMES})[\"']?[ \t]?[=:][ \t]?[\"']?([\w~+/=.%-]{{8,}}+)", re.IGNORECASE | re.ASCII),
)
_IN_ADDRESS = re.compile(r"://([^\s/?#@:\"'<>\\]*+:[^\s/?#@\"'<>\\]++)@")
_PRIVATE = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----")
_LINE = re.compile(r"[A-Za-z0-9+/=]{16,}+")
_KEY_ENDS: Final = "-----END"


def credentials(text: str) -> Iterator[tuple[int, int]]:
    """Yield where each begins and ends, in no order; they may overlap. O(len(text))."""
    for look in _LOOKS:
        for found in look.finditer(text):
            if any(sign.isdigit() for sign in found[1]):
                yield found.span(1)
    for found in _IN_ADDRESS.finditer(text):
        yield found.span(1)
    over = 0
    while (begun := _PRIVATE.search(text, over)) is not None:
        over = text.find(_KEY_ENDS, begun.end())
        over = over if over >= 0 else len(text)
        yield from (line.span() for line in _LINE.finditer(text, begun.end(), over))

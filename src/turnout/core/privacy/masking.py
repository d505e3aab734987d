r"""Takes what is personal out of the texts of one request, leaves a placeholder for each, and puts it back in the answer.

A placeholder is `<KIND_N>`: `<EMAIL_1>` for the first address of a request, the same wherever that address stands again. So
a model can tell two people apart, and a conversation that grows keeps its placeholders, which is what vendors' prompt
caches and signed thoughts need. One that a client wrote itself is not used.
A model may write it with its brackets escaped, as HTML or JSON do (`&lt;EMAIL_1&gt;`, `\u003cEMAIL_1\u003e`): that is put back
too. What stands in for a placeholder holds no quote, backslash or control character (core/privacy/detectors.py), so it may
take its place at any depth of JSON as it is.
Nothing here reads a clock or keeps anything beyond its request.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from typing import Final

from turnout.core.privacy.detectors import find
from turnout.core.privacy.kinds import KINDS, Kind

LONGEST_PLACEHOLDER: Final = 64
"""Characters, escaped brackets included."""

_OPENS: Final = rb"(?:<|(?:&|\\{1,8}u0026)lt;|\\{1,8}u003[cC])"
_CLOSES: Final = rb"(?:>|(?:&|\\{1,8}u0026)gt;|\\{1,8}u003[eE])"
_NAME: Final = b"(?:%b)_[0-9]{1,6}" % b"|".join(kind.upper().encode() for kind in KINDS)
_WRITTEN = re.compile(_OPENS + b"(" + _NAME + b")" + _CLOSES)
_MAY_BEGIN = re.compile(
    rb"(?:<|&lt;|\\{1,8}u003[cC])[A-Z_]{0,16}[0-9]{0,6}(?:&(?:g(?:t)?)?|\\{1,8}(?:u(?:0(?:0(?:3[eE]?)?)?)?)?)?\Z"
    rb"|&(?:l(?:t)?)?\Z|\\{1,8}(?:u(?:0(?:0(?:3)?)?)?)?\Z"
)
"""The end of a text that may be the beginning of a placeholder."""


class Mask:
    """The placeholders of one request. kinds: what is taken out. body: of the request, so that its own words are left
    alone; needed only while something is hidden.
    """

    __slots__ = ("_count", "_kinds", "_names", "_values", "body")

    def __init__(self, kinds: Collection[Kind], body: bytes = b"") -> None:
        self._kinds = kinds
        self.body = body
        self._names: dict[tuple[Kind, str], str] = {}
        self._values: dict[bytes, bytes] = {}
        self._count: Counter[Kind] = Counter()

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return f"Mask({len(self)})"

    @property
    def counts(self) -> dict[Kind, int]:
        """How many different values of each kind were taken out."""
        return dict(Counter(kind for kind, _ in self._names))

    def hide(self, text: str, before: str = "") -> str:
        """Return `text` with a placeholder for each thing that is personal. before: see detectors.find. O(len(text))."""
        found = find(text, self._kinds, before)
        if not found:
            return text
        out: list[str] = []
        at = 0
        for one in found:
            out += (text[at : one.start], self._placeholder(one.kind, text[one.start : one.end]))
            at = one.end
        out.append(text[at:])
        return "".join(out)

    def keep(self, data: str) -> str:
        """Return what is not looked into: the vendor must get it as it was."""
        return data

    def show(self, data: bytes) -> bytes:
        """Return `data`, JSON or text in UTF-8, with everything put back. O(len(data)); the same object if there was nothing."""
        if b"<" not in data and b"lt;" not in data and b"u003" not in data:
            return data
        return _WRITTEN.sub(self._value, data)

    def _value(self, found: re.Match[bytes]) -> bytes:
        return self._values.get(found[1], found[0])

    def _placeholder(self, kind: Kind, value: str) -> str:
        name = self._names.get((kind, value))
        if name is None:
            name = self._next(kind)
            while name.encode() in self.body:
                name = self._next(kind)
            self._names[kind, value] = name
            self._values[name.encode()] = value.encode()
        return f"<{name}>"

    def _next(self, kind: Kind) -> str:
        self._count[kind] += 1
        return f"{kind.upper()}_{self._count[kind]}"


def loose_end(text: bytes) -> int:
    """Return how many bytes at the end of `text` may be the beginning of a placeholder. O(1)."""
    found = _MAY_BEGIN.search(text, max(0, len(text) - LONGEST_PLACEHOLDER))
    return 0 if found is None else len(text) - found.start()

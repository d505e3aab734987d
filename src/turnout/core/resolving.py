"""Resolves the annotations of types when the program starts.

msgspec compiles them when it first makes such a value, which would be in the first request that needs one; no request makes
the gateway compile anything (RELIABILITY R13, T97).
"""

from __future__ import annotations

import msgspec


def resolve(*types: type[msgspec.Struct]) -> None:
    """Make ready what `msgspec.convert` needs for these. Raises NameError for an annotation that names nothing."""
    for one in types:
        msgspec.json.Decoder(one)

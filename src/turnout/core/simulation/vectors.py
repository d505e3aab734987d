"""Makes embeddings: unit vectors that are a function of the text, near for texts that share words.

Feature hashing (Weinberger et al. 2009): each lower-case word adds ±1 at eight places that its digest names.
"""

from __future__ import annotations

import math
import re
from base64 import b64encode
from hashlib import blake2b
from struct import pack

_WORD = re.compile(r"\w+")
_PLACES = 8


def dimensions_of(model: str) -> int:
    """Return how long this model's vectors are when the request does not say (OpenAI's figures)."""
    return 3072 if "3-large" in model else 1536


def vector(text: str, dimensions: int) -> list[float]:
    """Return a vector of length 1 with `dimensions` members (>= 1). O(words + dimensions)."""
    values = [0.0] * dimensions
    for word in _WORD.findall(text.lower()) or [text]:
        digest = blake2b(word.encode("utf-8", "replace"), digest_size=4 * _PLACES).digest()
        for place in range(_PLACES):
            number = int.from_bytes(digest[4 * place : 4 * place + 4])
            values[(number >> 1) % dimensions] += 1.0 if number & 1 else -1.0
    length = math.sqrt(sum(value * value for value in values))
    if length == 0.0:  # all places met and cancelled out: possible in few dimensions only
        return [1.0, *values[1:]]
    return [value / length for value in values]


def as_base64(values: list[float]) -> str:
    """Return the vector as the OpenAI SDK asks for it by default: little-endian 32-bit floats in base64."""
    return b64encode(pack(f"<{len(values)}f", *values)).decode()

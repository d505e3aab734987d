"""Fuzzing: each module here is a target, `check(data)`, which raises where a promise about untrusted bytes does not hold.

`python -m tests.fuzz TARGET --seconds 60` feeds it what atheris invents; `test_replay.py` feeds it what is kept in
`corpus/TARGET/`, in every test run and without atheris.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

CORPUS: Final = Path(__file__).parent / "corpus"
TARGETS: Final = ("sse", "relay", "usage", "hints", "config", "redact", "http1", "privacy")


def pieces(data: bytes) -> tuple[bytes, list[bytes]]:
    """Return a text and the same text in pieces: the first byte of `data` says how many bytes each has, in turn.

    0 stands for one byte at a time.
    """
    if not data:
        return b"", []
    size, text = data[0], data[1:]
    return text, list(_cut(text, size))


def _cut(text: bytes, size: int) -> Iterator[bytes]:
    start, turn = 0, 0
    while start < len(text):
        length = 1 + (size * (turn + 1)) % 17 if size else 1
        yield text[start : start + length]
        start, turn = start + length, turn + 1

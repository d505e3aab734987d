"""Holds what the semantic cache found out about one question, from its request to the comparison after the answer."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from turnout.core.caching import Kept
from turnout.core.eligible import Choice
from turnout.core.lexical_guard import Reading
from turnout.core.semantic import Record
from turnout.gateway.embedders import Embedder, Vector


class Hit(NamedTuple):
    """An answer to a question that is taken for the same. similarity: the cosine of the two."""

    choice: Choice
    kept: Kept
    similarity: float


class Lookup:
    """One question. text: what the user said. question: everything else in the request, as a digest.

    vector, hit: None until `looking` is over, or if there are none. was_served: the hit was the answer.
    """

    __slots__ = ("embedder", "hit", "looking", "question", "reading", "record", "text", "vector", "was_served")

    def __init__(self, text: str, question: bytes, reading: Reading, record: Record, embedder: Embedder) -> None:
        self.text = text
        self.question = question
        self.reading = reading
        self.record = record
        self.embedder = embedder
        self.vector: Vector | None = None
        self.hit: Hit | None = None
        self.was_served = False
        self.looking: asyncio.Task[None] | None = None

    async def over(self, timeout_s: float | None = None) -> None:
        """Wait until it is over, or for `timeout_s`; it goes on if that passes, or if the waiter is cancelled."""
        if self.looking is not None:
            await asyncio.wait({self.looking}, timeout=timeout_s)

"""Holds an answer while it is made, so that faults can be worked into it, and turns it into a script.

A piece is one write of the body: one event of a stream, or the whole of a plain answer. Faults change the draft; what
they declare about its length stands even if they then send something else.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from turnout.core.simulation.script import CHUNKED, Action, Body, End, Head, Step

Dialect = Literal["chat", "messages"]
Role = Literal["comment", "open", "content", "finish", "usage", "end", "whole"]

JSON = "application/json"
EVENT_STREAM = "text/event-stream"


class Piece(msgspec.Struct, frozen=True):
    """Bytes of the body. role: what they are in a stream. delay_s: after the piece before, the client's time.

    tokens: content tokens that they end. is_usage: they tell the usage. is_apart: see script.Body.
    """

    data: bytes
    role: Role
    delay_s: float = 0.0
    tokens: int = 0
    is_usage: bool = False
    is_apart: bool = False


class Draft(msgspec.Struct):
    """One answer in the making. wall: Unix seconds. declared: the length to declare, None for that of the pieces.

    dialect: whose errors it uses, OpenAI's (chat) or Anthropic's (messages).
    before: steps instead of, or before, the head. has_head: False when nothing of HTTP is sent. tail: what follows the body.
    """

    dialect: Dialect
    is_stream: bool
    status: int
    headers: list[tuple[str, str]]
    pieces: list[Piece]
    wall: float
    head_delay_s: float = 0.0
    declared: int | None = None
    before: list[Action] = []
    has_head: bool = True
    endless: Action | None = None
    tail: list[Action] = msgspec.field(default_factory=lambda: [End()])

    @property
    def size(self) -> int:
        """Bytes of body, as the pieces stand now."""
        return sum(len(piece.data) for piece in self.pieces)

    def header(self, name: str, value: str) -> None:
        """Set a header in place of any of that name."""
        self.headers = [(known, old) for known, old in self.headers if known != name] + [(name, value)]

    def steps(self) -> tuple[Step, ...]:
        """Return the script. O(pieces)."""
        steps = [Step(action) for action in self.before]
        if self.has_head:
            length = self.declared if self.declared is not None else CHUNKED if self.is_stream else self.size
            steps.append(Step(Head(self.status, tuple(self.headers), length)))
            steps.extend(
                Step(Body(piece.data, piece.tokens, piece.is_usage, piece.is_apart), piece.delay_s)
                for piece in self.pieces
            )
        if self.endless is not None:
            steps.append(Step(self.endless))
        steps.extend(Step(action) for action in self.tail)
        steps[0] = Step(steps[0].action, self.head_delay_s)
        return tuple(steps)


def first_bytes(pieces: list[Piece], count: int) -> list[Piece]:
    """Return the pieces up to `count` bytes, the last one cut (a cut piece tells no usage and ends no token). O(pieces)."""
    kept: list[Piece] = []
    for piece in pieces:
        if count <= 0:
            break
        if len(piece.data) > count:
            kept.append(Piece(piece.data[:count], piece.role, piece.delay_s, is_apart=piece.is_apart))
            break
        kept.append(piece)
        count -= len(piece.data)
    return kept


def first_events(pieces: list[Piece], count: int) -> list[Piece]:
    """Return the pieces up to the `count`-th that is not a comment. O(pieces)."""
    kept: list[Piece] = []
    for piece in pieces:
        if piece.role != "comment":
            if count <= 0:
                break
            count -= 1
        kept.append(piece)
    return kept

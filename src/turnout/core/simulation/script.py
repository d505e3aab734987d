"""Names what a simulated vendor does on the wire, step by step; the executors only play it.

A script is a sequence of steps, each `delay_s` seconds (the client's real time) after the one before. The executors are
`gateway/simulated_transport.py` (in-process) and `api/simulator.py` (a server); both report to the witness what they
did, so that what was *meant* (the script) and what *happened* (the dispatch) are two things.
"""

from __future__ import annotations

import msgspec

from turnout.core.simulation.witness import Dispatch

CHUNKED = -1
UNTIL_CLOSE = -2
NO_BODY = -3


class Head(msgspec.Struct, frozen=True, tag=True):
    """Status line and headers. length: body bytes declared, or CHUNKED, UNTIL_CLOSE (no length, FIN ends it), NO_BODY (204, 304)."""

    status: int
    headers: tuple[tuple[str, str], ...]
    length: int = CHUNKED


class Interim(msgspec.Struct, frozen=True, tag=True):
    """`times` informational heads (1xx)."""

    status: int
    times: int = 1


class Body(msgspec.Struct, frozen=True, tag=True):
    """Bytes of the body, in one write. tokens: content tokens that they end. is_usage: they tell the usage.

    is_apart: the other side gets a turn before the next write, so that writes do not melt into one.
    """

    data: bytes
    tokens: int = 0
    is_usage: bool = False
    is_apart: bool = False


class Repeat(msgspec.Struct, frozen=True, tag=True):
    """The same bytes of body again and again. times: None for without end."""

    data: bytes
    times: int | None = None


class Raw(msgspec.Struct, frozen=True, tag=True):
    """Bytes outside any HTTP framing: garbage on the connection."""

    data: bytes


class End(msgspec.Struct, frozen=True, tag=True):
    """The answer ends as HTTP says it should. is_whole: False when what it carried was cut short."""

    is_whole: bool = True


class Close(msgspec.Struct, frozen=True, tag=True):
    """FIN now, whatever was promised."""


class Reset(msgspec.Struct, frozen=True, tag=True):
    """RST now."""


class ResetNext(msgspec.Struct, frozen=True, tag=True):
    """RST when the first byte of the next request on this connection arrives."""


class Stall(msgspec.Struct, frozen=True, tag=True):
    """Nothing more, and the connection stays open."""


Action = Head | Interim | Body | Repeat | Raw | End | Close | Reset | ResetNext | Stall


class Step(msgspec.Struct, frozen=True):
    """One action, `delay_s` seconds after the step before it."""

    action: Action
    delay_s: float = 0.0


class Script(msgspec.Struct, frozen=True):
    """What one request gets. dispatch: its record at the witness, None for requests that are not model calls."""

    steps: tuple[Step, ...]
    dispatch: Dispatch | None = None

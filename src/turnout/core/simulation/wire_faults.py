"""Names what can go wrong on a connection, and says which bytes pass, in which pieces: the pure part of the fault proxy.

A plan is `[WAY:]NAME[=ARG][;…]`: `delay=50ms`, `down:reset=120`, `up:bandwidth=64k;down:slice`. `up` is the way to the
server, `down` the way to the client, `both` is both; without a way a fault takes the one its table names. N counts bytes
of one way from the connection's first; a connection that carries several requests is one count. Each way has at most one
of the faults that end it. docs/simulated-provider.md lists the same names with the same words; a test compares the two.

Source: RELIABILITY §4.1 (fault proxy). `api/fault_proxy.py` plays plans on sockets.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

NONE: Final = ""
RESET: Final = "reset"
HALF_CLOSE: Final = "half-close"
TRUNCATE: Final = "truncate"
BLACK_HOLE: Final = "black-hole"
NEVER_READ: Final = "never-read"

LARGEST_PIECE_BYTES: Final = 16 * 1024
"""So much is read, held and written at once."""

_STEPS_PER_S: Final = 20
"""Under a bandwidth, pieces are so small that about twenty a second pass: what is seen on the way is a flow, no bursts."""

_TIME = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s)?")
_RATE = re.compile(r"([0-9]{1,9})([km])?")
_TIMES: Mapping[str, float] = MappingProxyType({"ms": 0.001, "s": 1.0, "": 1.0})
_RATES: Mapping[str, int] = MappingProxyType({"k": 1024, "m": 1024 * 1024, "": 1})


class Way(msgspec.Struct, frozen=True):
    """One direction of one connection.

    delay_s, jitter_s: each piece comes `delay_s` and up to `jitter_s` later. bytes_per_s, slice_bytes: 0 for no limit.
    end: how it ends once `end_at` bytes have passed, NONE if as its source does. corrupt_at: that byte is inverted, -1: none.
    """

    delay_s: float = 0.0
    jitter_s: float = 0.0
    bytes_per_s: int = 0
    slice_bytes: int = 0
    corrupt_at: int = -1
    end: str = NONE
    end_at: int = 0


class Plan(msgspec.Struct, frozen=True):
    """What one connection is to suffer. up: towards the server, down: towards the client."""

    up: Way = Way()
    down: Way = Way()


class Kind(msgspec.Struct, frozen=True):
    """What a name means. way: where it holds if the plan does not say. arg: "" (none), N, T (time) or RATE."""

    what: str
    way: str
    arg: str = ""
    default: str = ""


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "delay": Kind("everything comes T later (50ms, 1.5s)", "both", "T", "100ms"),
        "jitter": Kind("each piece comes up to T later, in order, drawn from the seed", "both", "T", "50ms"),
        "bandwidth": Kind("at most RATE bytes a second (800, 64k, 2m)", "down", "RATE", "64k"),
        "slice": Kind("N bytes a write", "down", "N", "1"),
        "corrupt": Kind("byte N has all its bits turned", "down", "N", "0"),
        RESET: Kind("RST to both sides after N bytes; 0: in place of the first", "down", "N", "0"),
        HALF_CLOSE: Kind("FIN after N bytes, while the other way goes on", "down", "N", "0"),
        TRUNCATE: Kind("FIN on both ways after N bytes, in good order", "down", "N", "0"),
        BLACK_HOLE: Kind("reads on but passes nothing after N bytes, not even the end", "both", "N", "0"),
        NEVER_READ: Kind("accepts, and never reads", "up"),
    }
)

_ENDS = frozenset({RESET, HALF_CLOSE, TRUNCATE, BLACK_HOLE, NEVER_READ})
_FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "delay": "delay_s",
        "jitter": "jitter_s",
        "bandwidth": "bytes_per_s",
        "slice": "slice_bytes",
        "corrupt": "corrupt_at",
    }
)


def read(text: str) -> Plan:
    """Return the plan that a text describes; a plan without faults for an empty one. O(text).

    Raises ValueError with what is wrong, for a person: an unknown name or way, an argument of the wrong kind, two ends.
    """
    ways: dict[str, dict[str, float | str]] = {"up": {}, "down": {}}
    for part in filter(None, map(str.strip, text.split(";"))):
        name, way, arg = _parts(part)
        fields: dict[str, float | str] = {"end": name, "end_at": arg} if name in _ENDS else {_FIELDS[name]: arg}
        for side in ("up", "down") if way == "both" else (way,):
            if "end" in fields and "end" in ways[side]:
                raise ValueError(f"the way {side} can end once: {ways[side]['end']!r} or {name!r}, not both")
            ways[side] |= fields
    return msgspec.convert(ways, Plan)


def _parts(part: str) -> tuple[str, str, float]:
    """Return name, way and argument of one fault."""
    label, equals, arg = (piece.strip().lower() for piece in part.partition("="))
    way, colon, name = (piece.strip() for piece in label.rpartition(":"))
    kind = KINDS.get(name)
    if kind is None:
        raise ValueError(f"unknown fault {name!r}; known: {', '.join(KINDS)}")
    if colon and way not in {"up", "down", "both"}:
        raise ValueError(f"fault {name!r} has the way {way!r}; known: up, down, both")
    value = _number(kind.arg, arg if equals else kind.default)
    if name == "slice" and value == 0:
        raise ValueError("slices are of at least one byte")
    if isinstance(value, str):
        raise ValueError(f"fault {name!r} {value}, not {arg!r}")  # noqa: TRY004  it is the text that is wrong
    return name, way or kind.way, value


def _number(kind: str, arg: str) -> float | str:
    """Return an argument as a number, or what it should have been."""
    if kind == "":
        return 0 if not arg else "takes no argument"
    if kind == "T":
        found = _TIME.fullmatch(arg)
        return float(found[1]) * _TIMES[found[2] or ""] if found else "takes a time such as 50ms or 1.5s"
    if kind == "RATE":
        found = _RATE.fullmatch(arg)
        rate = int(found[1]) * _RATES[found[2] or ""] if found else 0
        return rate or "takes bytes a second such as 800, 64k or 2m"
    return int(arg) if arg.isascii() and arg.isdecimal() and len(arg) <= 12 else "takes a whole number of bytes"


def passing(way: Way, offset: int, data: bytes) -> tuple[bytes, bool]:
    """Return what of `data` passes on this way, and whether the way's end has come with it.

    data: not empty. offset: bytes of this way before it. O(data). An end at 0 comes with the first byte, which does not pass.
    """
    if 0 <= way.corrupt_at - offset < len(data):
        at = way.corrupt_at - offset
        data = b"%b%c%b" % (data[:at], data[at] ^ 0xFF, data[at + 1 :])
    left = way.end_at - offset
    if not way.end or left > len(data):
        return data, False
    return data[:left], True


def pieces(way: Way, data: bytes) -> list[bytes]:
    """Return `data` in the writes that this way makes of it. O(data)."""
    size = way.slice_bytes or LARGEST_PIECE_BYTES
    if way.bytes_per_s:
        size = min(size, max(1, way.bytes_per_s // _STEPS_PER_S))
    return [data[at : at + size] for at in range(0, len(data), size)]

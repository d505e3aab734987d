"""Cuts a stream of bytes into server-sent events, whatever pieces it comes in.

Two steps, because the fast lane forwards an event's bytes as they came: `Framer` cuts, `parse` reads what was cut.
Rules: LF, CRLF and CR end a line; a blank line ends an event; an unfinished event at the end of the stream is none;
comments and unknown fields say nothing; `id` and `retry` are not for a proxy. Nothing here raises.
Source: WHATWG HTML, "Server-sent events", parsing an event stream. `retry` and reconnection are the browser's business.
"""

from __future__ import annotations

import re

EVENT_LIMIT_BYTES = 2 * 1024 * 1024
"""The longest event: twice the largest that a vendor was seen to send (an image in one event, 1 MiB: RELIABILITY T09).
Without a bound an upstream that never ends its event takes all memory (A7)."""

_LONGEST_END = 4
"""Bytes of a blank line and the line end before it, at most; they do not count against the limit, nor does an LF in front,
so that the same bytes are as long however they are cut."""

BOM = b"\xef\xbb\xbf"

_EVENT_END = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
"""Two line ends in a row. Atomic, or a CRLF would be taken apart into two ends."""


class Framer:
    """Cuts bytes after each blank line. is_idle: nothing is held back. failure: why it stopped, "" while well.

    Split-invariant for streams that keep to one kind of line end: however the same bytes are cut into pieces, the same
    frames come out. (With mixed kinds the events are still the same; a frame may begin with the LF of a CRLF.)
    Cost: O(bytes), whatever the pieces; one event a piece, ended by LF LF, costs a few C searches.
    """

    __slots__ = ("_held", "_limit_bytes", "_searched", "failure", "is_idle")

    def __init__(self, limit_bytes: int = EVENT_LIMIT_BYTES) -> None:
        self.failure = ""
        self.is_idle = True
        self._held = bytearray()
        self._searched = 0
        self._limit_bytes = limit_bytes

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes; return the frames that became whole, each with its blank line.

        An event over the limit sets `failure`; from then on nothing comes out.
        """
        if self.failure:
            return []
        if (
            self.is_idle
            and data.endswith(b"\n\n")
            and data.find(b"\n\n") == len(data) - 2
            and b"\r" not in data
            and len(data) <= self._limit_bytes
        ):
            return [data]
        return self._search(data)

    def _search(self, data: bytes) -> list[bytes]:
        held = self._held
        held += data
        has_cr = b"\r" in held
        frames: list[bytes] = []
        start, searched = 0, self._searched
        while True:
            begin, end = _end_of_event(held, start, max(start, searched - _LONGEST_END + 1), has_cr=has_cr)
            first = start + 1 if held.startswith(b"\n", start) else start
            if (begin if end else len(held) - _LONGEST_END) - first > self._limit_bytes:
                self.failure = f"one event is longer than {self._limit_bytes} bytes"
                self._held = bytearray()
                return frames
            if end == 0:
                break
            frames.append(bytes(held[start:end]))
            start = searched = end
        if start:  # a new one: what was cut from the front of the old one would stay allocated
            self._held = held = held[start:]
        self._searched = len(held)
        self.is_idle = not held
        return frames


def _end_of_event(held: bytearray, start: int, search_from: int, *, has_cr: bool) -> tuple[int, int]:
    """Return where the blank line of the event that begins at `start` begins and ends; (0, 0) if it does not yet."""
    if not has_cr:
        found = held.find(b"\n\n", search_from)
        return (0, 0) if found < 0 else (found, found + 2)
    match = _EVENT_END.search(held, search_from)
    if match is None:
        return 0, 0
    begin, end = match.span()
    # A CR at the very end, in an event that has LFs, is half of a CRLF: its other half belongs to this event. An LF that
    # it begins with says nothing: that may be the other half of the CRLF before.
    is_half = end == len(held) and held[end - 1] == 13 and held.find(b"\n", start + 1) >= 0
    return (0, 0) if is_half else (begin, end)


def parse(frame: bytes) -> tuple[bytes, bytes] | None:
    """Return an event's (type, data), or None for a frame without data: a comment, a keep-alive.

    Several data lines are joined by LF. The type is b"" where none is given. O(len(frame)).
    A BOM before a frame is dropped: the standard has it at the start of the stream, the only place it occurs.
    """
    if frame.startswith(b"data: ") and frame.count(b"\n") == 2 and frame.endswith(b"\n\n") and b"\r" not in frame:
        return b"", frame[6:-2]
    kind = b""
    data: list[bytes] = []
    for line in frame.removeprefix(BOM).splitlines():
        name, _, value = line.partition(b":")
        if name == b"data":
            data.append(value.removeprefix(b" "))
        elif name == b"event":
            kind = value.removeprefix(b" ")
    return (kind, b"\n".join(data)) if data else None


class SseParser:
    """Bytes in, (type, data) of each event out: Framer and parse in one, for who needs no raw bytes."""

    __slots__ = ("_framer",)

    def __init__(self, limit_bytes: int = EVENT_LIMIT_BYTES) -> None:
        self._framer = Framer(limit_bytes)

    @property
    def failure(self) -> str:
        """Why it stopped, "" while well."""
        return self._framer.failure

    def feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """Take the next bytes; return the events that became whole. Split-invariant."""
        return [event for frame in self._framer.feed(data) if (event := parse(frame)) is not None]

"""Works one fault into a draft: one small function per way in which vendors and networks go wrong.

`faults.py` names them; the world calls them in the order in which a script lists them, so that faults combine
(`429;retry-after-ms=250;retry-after=9`, `slice=3;line-ends=crlf`, `cut-at=100;slow`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise

from turnout.core.simulation import refusals
from turnout.core.simulation.draft import JSON, Draft, Piece, first_bytes, first_events
from turnout.core.simulation.script import (
    CHUNKED,
    NO_BODY,
    UNTIL_CLOSE,
    Action,
    Body,
    Close,
    End,
    Interim,
    Raw,
    Repeat,
    Stall,
)

Apply = Callable[[Draft, str], None]

BLOCK = b"x" * 65536
LONG_BLOCK_BYTES = 16 * 1024
"""How much of a long stream is written at once: little, because hundreds of them may stand still at the same time."""
HTML = b"<!DOCTYPE html><html><head><title>Simulated</title></head><body><h1>We will be right back</h1></body></html>\n"
ELSEWHERE = "http://127.0.0.1:9/elsewhere"
"""Where redirects point: the discard port, so that one who follows finds nobody."""


def nothing(_draft: Draft, _arg: str) -> None:
    """Leave the draft alone: for faults that the world works in elsewhere (before the answer is written)."""


# ── the head ──


def status(draft: Draft, arg: str) -> None:
    """Answer with this status, and an error body where one belongs."""
    code = int(arg)
    draft.status = code
    if code in {204, 304}:
        draft.pieces, draft.declared, draft.is_stream = [], NO_BODY, False
    elif code >= 300:
        _refuse(draft, code, refusals.body(draft.dialect, code))
        if code < 400:
            draft.header("location", ELSEWHERE)


def header(draft: Draft, arg: str) -> None:
    """Add a header `name: value` beside what is there."""
    name, _, value = arg.partition(":")
    draft.headers.append((name.strip().lower(), value.strip()))


def hint(write: Callable[[float, str], Iterable[tuple[str, str]]]) -> Apply:
    """Return a fault that adds the headers of `write(wall, arg)`, to a 429 unless another error stands."""

    def apply(draft: Draft, arg: str) -> None:
        if draft.status < 400:
            status(draft, "429")
        draft.headers.extend(write(draft.wall, arg))

    return apply


def overflow(draft: Draft, arg: str) -> None:
    """Say that the prompt does not fit."""
    limit = int(arg)
    _refuse(draft, 400, refusals.overflow(draft.dialect, limit + 1234, limit))


def interim(draft: Draft, arg: str) -> None:
    """Send informational heads first."""
    draft.before.append(Interim(103, int(arg)))


def delay(draft: Draft, arg: str) -> None:
    """Wait longer before the head."""
    draft.head_delay_s += float(arg)


def content_type(draft: Draft, arg: str) -> None:
    """Name another content type."""
    draft.header("content-type", arg)


# ── where it stops ──


def instead(*actions: Action) -> Apply:
    """Return a fault that does this in place of any answer."""

    def apply(draft: Draft, _arg: str) -> None:
        draft.has_head, draft.endless, draft.tail = False, None, list(actions)

    return apply


def afterwards(action: Action) -> Apply:
    """Return a fault that does this after a whole answer."""

    def apply(draft: Draft, _arg: str) -> None:
        draft.tail.append(action)

    return apply


def at_byte(action: Action) -> Apply:
    """Return a fault that does this after N bytes of body."""

    def apply(draft: Draft, arg: str) -> None:
        _stop(draft, first_bytes(draft.pieces, int(arg)), action)

    return apply


def at_event(action: Action) -> Apply:
    """Return a fault that does this after N events."""

    def apply(draft: Draft, arg: str) -> None:
        _stop(draft, first_events(draft.pieces, int(arg)), action)

    return apply


def stall_first(draft: Draft, _arg: str) -> None:
    """Show that it began (head, comments, the opening event), then nothing."""
    _stop(draft, [piece for piece in draft.pieces if piece.role in {"comment", "open"}], Stall())


def cut(draft: Draft, _arg: str) -> None:
    """End in good order after half of what was to come."""
    if draft.is_stream:
        half = first_events(draft.pieces, sum(piece.role != "comment" for piece in draft.pieces) // 2)
    else:
        half = first_bytes(draft.pieces, draft.size // 2)
    _cut_to(draft, half)


def cut_at(draft: Draft, arg: str) -> None:
    """End in good order after N bytes."""
    _cut_to(draft, first_bytes(draft.pieces, int(arg)))


def cut_event(draft: Draft, arg: str) -> None:
    """End in good order after N events."""
    _cut_to(draft, first_events(draft.pieces, int(arg)))


def no_done(draft: Draft, _arg: str) -> None:
    """Leave out the terminal event only; a plain answer has none, and stays whole."""
    if draft.is_stream:
        _cut_to(draft, [piece for piece in draft.pieces if piece.role != "end"])


def until_close(draft: Draft, _arg: str) -> None:
    """Declare no length: the end of the connection is the end of the body."""
    draft.declared = UNTIL_CLOSE
    draft.header("connection", "close")


# ── what it says ──


def html(draft: Draft, _arg: str) -> None:
    """Send a web page, with the status that stands."""
    _whole(draft, HTML)
    draft.header("content-type", "text/html; charset=utf-8")


def malformed(draft: Draft, _arg: str) -> None:
    """Break the JSON: of the middle content event, or of the whole answer."""
    places = [place for place, piece in enumerate(draft.pieces) if piece.role in {"content", "whole"}]
    if not places:
        return
    place = places[len(places) // 2]
    piece = draft.pieces[place]
    end = b"\n\n" if piece.role == "content" else b""
    draft.pieces[place] = Piece(piece.data[: len(piece.data) * 2 // 3] + end, piece.role, piece.delay_s)


def error_event(write: Callable[[Draft], bytes]) -> Apply:
    """Return a fault that puts an error in place of all that comes after N content events."""

    def apply(draft: Draft, arg: str) -> None:
        if not draft.is_stream:
            _whole(draft, refusals.body(draft.dialect, 502))
            return
        opened = sum(piece.role == "open" for piece in draft.pieces)
        kept = first_events(draft.pieces, opened + int(arg))
        draft.pieces = [*kept, Piece(write(draft), "end")]

    return apply


def slices(size: int = 0) -> Apply:
    """Return a fault that writes so many bytes at a time (0: as many as its argument says), each apart."""

    def apply(draft: Draft, arg: str) -> None:
        step = size or max(1, int(arg))
        pause_s = float(arg) if size else 0.0
        _rewrite(draft, lambda data: [data[at : at + step] for at in range(0, len(data), step)], pause_s)

    return apply


def split(draft: Draft, _arg: str) -> None:
    """Write so that every character of more than one byte is torn apart."""

    def tear(data: bytes) -> list[bytes]:
        places = [0, *(place + 1 for place, byte in enumerate(data) if byte >= 0xC0), len(data)]
        return [data[start:end] for start, end in pairwise(places) if start < end]

    _rewrite(draft, tear, 0.0)


def line_ends(draft: Draft, arg: str) -> None:
    """End lines of the stream with CR LF, CR, or LF."""
    end = {"crlf": b"\r\n", "cr": b"\r", "lf": b"\n"}[arg]
    if draft.is_stream:
        _rewrite(draft, lambda data: [data.replace(b"\n", end)], None)


def bom(draft: Draft, _arg: str) -> None:
    """Begin with a byte order mark."""
    draft.pieces.insert(0, Piece(b"\xef\xbb\xbf", "comment"))


def long(draft: Draft, arg: str) -> None:
    """Say a stream's first words again and again, N bytes of them or a little more, and then the rest."""
    place = next((place for place, piece in enumerate(draft.pieces) if piece.role == "content"), None)
    if place is None:
        return
    event = draft.pieces[place].data
    block = event * max(1, LONG_BLOCK_BYTES // len(event))
    draft.endless = Repeat(block, -(-int(arg) // len(block)))
    rest = draft.pieces[place + 1 :]
    draft.tail = [*(Body(piece.data, piece.tokens, piece.is_usage) for piece in rest), *draft.tail]
    del draft.pieces[place + 1 :]


def endless(draft: Draft, _arg: str) -> None:
    """Answer 200 with a body that never ends."""
    _without_end(draft, draft.status, b'data: {"x":"' if draft.is_stream else b'{"id":"', Repeat(BLOCK))


def endless_error(draft: Draft, arg: str) -> None:
    """Answer with this status and a body that never ends."""
    _without_end(draft, int(arg), b'{"error":{"message":"', Repeat(BLOCK))


def big_error(draft: Draft, arg: str) -> None:
    """Answer 500 with a body of at least that many bytes."""
    start, times = b'{"error":{"message":"', -(-int(arg) // len(BLOCK))
    _without_end(draft, 500, start, Repeat(BLOCK, times))
    draft.declared, draft.tail = len(start) + times * len(BLOCK), [End()]


def bad_chunk(draft: Draft, _arg: str) -> None:
    """Break the chunked framing half-way."""
    draft.pieces, draft.declared = first_bytes(draft.pieces, draft.size // 2), CHUNKED
    draft.tail = [Raw(b"zz\r\nnot a chunk\r\n"), Close()]


# ── shared by the above ──


def _refuse(draft: Draft, code: int, body: bytes) -> None:
    draft.status = code
    _whole(draft, body)
    draft.header("content-type", JSON)


def _whole(draft: Draft, body: bytes) -> None:
    draft.is_stream, draft.declared, draft.endless = False, None, None
    draft.pieces = [Piece(body, "whole")]


def _without_end(draft: Draft, code: int, start: bytes, repeat: Repeat) -> None:
    draft.status, draft.declared = code, CHUNKED
    if code >= 400:
        draft.header("content-type", JSON)
    draft.pieces, draft.endless, draft.tail = [Piece(start, "whole")], repeat, [Stall()]


def _stop(draft: Draft, kept: list[Piece], action: Action) -> None:
    """Send only `kept`, though all was declared, then act."""
    if draft.declared is None:
        draft.declared = CHUNKED if draft.is_stream else draft.size
    draft.pieces, draft.tail = kept, [action]


def _cut_to(draft: Draft, kept: list[Piece]) -> None:
    """Send only `kept`, and declare no more than that."""
    draft.pieces, draft.tail = kept, [End(is_whole=False)]


def _rewrite(draft: Draft, cut_up: Callable[[bytes], list[bytes]], pause_s: float | None) -> None:
    """Replace each piece by what `cut_up` makes of its bytes. pause_s: before each; None: written as before.

    The last part of a piece carries its tokens and its usage; the first one its delay.
    """
    pieces: list[Piece] = []
    for piece in draft.pieces:
        parts = cut_up(piece.data)
        for place, part in enumerate(parts):
            is_last = place == len(parts) - 1
            pieces.append(
                Piece(
                    part,
                    piece.role,
                    (piece.delay_s if place == 0 else 0.0) + (pause_s or 0.0),
                    piece.tokens if is_last else 0,
                    is_usage=piece.is_usage and is_last,
                    is_apart=piece.is_apart or pause_s is not None,
                )
            )
    draft.pieces = pieces

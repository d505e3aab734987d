"""core/privacy: what is hidden comes back to the byte, may stand in JSON as it is, and streams are the same however cut."""

from __future__ import annotations

import re

from tests.fuzz import pieces
from turnout.core.privacy.answers import StreamRestorer
from turnout.core.privacy.detectors import find
from turnout.core.privacy.kinds import ALL
from turnout.core.privacy.masking import Mask

_BREAKS = re.compile(r'["\\\x00-\x1f\x7f]')


def check(data: bytes) -> None:
    """A text with halves of surrogate pairs where the bytes are no UTF-8; then the same bytes as the stream that answers it."""
    whole, parts = pieces(data)
    text = whole.decode("utf-8", "surrogateescape")
    over = 0
    for one in find(text):
        assert over <= one.start < one.end <= len(text)
        assert _BREAKS.search(text[one.start : one.end]) is None
        over = one.end
    mask = Mask(ALL, whole)
    hidden = mask.hide(text)
    assert mask.show(hidden.encode("utf-8", "surrogateescape")) == whole
    if b"\r" in whole:
        return  # with mixed line ends an event's own bytes depend on the pieces, though what it says does not
    mask.hide("ola@example.com, kari@example.com, +45 20 30 40 50")
    at_once, in_pieces = StreamRestorer(mask), StreamRestorer(mask)
    expected = at_once.feed(whole) + at_once.finish()
    assert b"".join([in_pieces.feed(part) for part in parts]) + in_pieces.finish() == expected

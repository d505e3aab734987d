"""core/sse.py: however a stream is cut, the same events come out; frames are the stream, unchanged."""

from __future__ import annotations

from tests.fuzz import pieces
from turnout.core.sse import Framer, SseParser

LIMIT = 512


def check(data: bytes) -> None:
    """The first byte says how the rest is cut."""
    text, parts = pieces(data)
    for limit in (LIMIT, 1 << 20):
        whole, cut = SseParser(limit), SseParser(limit)
        expected = whole.feed(text)
        got = [event for part in parts for event in cut.feed(part)]
        assert bool(whole.failure) == bool(cut.failure), (whole.failure, cut.failure)
        assert expected == got, (expected, got)
    framer = Framer()
    frames = b"".join(frame for part in parts for frame in framer.feed(part))
    assert text.startswith(frames)
    assert framer.is_idle == (frames == text)

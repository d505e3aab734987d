"""core/openai_relay.py: what goes to the client is the vendor's bytes in order, the same however the stream is cut."""

from __future__ import annotations

from tests.fuzz import pieces
from turnout.core.openai_relay import ChatRelay


def _told(relay: ChatRelay) -> object:
    """What the vendor said of the usage. Before an answer is over, its output is estimated from output_bytes, which depend on
    how the stream is cut.
    """
    usage = relay.usage
    return usage if usage is None or relay.is_ended or relay.finish_reason else usage.input_tokens


def check(data: bytes) -> None:
    """The first byte says how the rest is cut. A vendor's mixed line ends are held apart (core/sse.py says why)."""
    text, parts = pieces(data)
    for drops_usage in (False, True):
        whole, cut = ChatRelay(drops_usage=drops_usage), ChatRelay(drops_usage=drops_usage)
        expected = whole.feed(text)
        got = b"".join([cut.feed(part) for part in parts])
        assert (whole.is_ended, whole.failure is None) == (cut.is_ended, cut.failure is None)
        assert (whole.has_content, whole.finish_reason) == (cut.has_content, cut.finish_reason)
        assert _told(whole) == _told(cut)
        if b"\r" not in text:
            assert expected == got, (expected, got)
        assert whole.output_bytes >= 0
        assert cut.output_bytes >= 0
        if not drops_usage and whole.failure is None and not whole.is_ended:
            assert text.startswith(expected)

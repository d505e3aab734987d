"""gateway/http1.py: a vendor's bytes are a response, or a fault in words; the same however the socket gave them."""

from __future__ import annotations

from tests.fuzz import pieces
from turnout.gateway.http1 import ResponseReader, decode_headers


def read(parts: list[bytes]) -> tuple[ResponseReader, str, bytes]:
    """Feed until something is wrong; return the reader, what is wrong, and the body."""
    reader = ResponseReader()
    reader.begin()
    body = b""
    for part in parts:
        fault = reader.feed(part)
        if fault:
            return reader, fault, b""
        assert reader.buffered >= 0
        body += reader.take()
    return reader, "", body


def check(data: bytes) -> None:
    """The first byte says how the rest is cut."""
    text, parts = pieces(data)
    whole, fault, body = read([text])
    cut, cut_fault, cut_body = read(parts)
    assert bool(fault) == bool(cut_fault), (fault, cut_fault)
    if fault:
        assert fault.isprintable(), ascii(fault)
        return
    assert body == cut_body
    assert (whole.status, whole.head, whole.is_complete) == (cut.status, cut.head, cut.is_complete)
    if text[-1:] not in b"\r\n":  # blank lines after a response are no surplus where the parser skips them
        assert whole.has_surplus == cut.has_surplus
    if whole.has_head:
        assert 200 <= whole.status <= 999
        headers = decode_headers(whole.head)
        assert not any("\n" in part or "\r" in part for pair in headers.items() for part in pair)
    assert whole.end() == cut.end()

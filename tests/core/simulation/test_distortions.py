"""Each way of going wrong, worked into a draft."""

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.simulation import distortions as does
from turnout.core.simulation.draft import Draft, Piece
from turnout.core.simulation.script import (
    CHUNKED,
    NO_BODY,
    UNTIL_CLOSE,
    Body,
    Close,
    End,
    Head,
    Interim,
    Raw,
    Repeat,
    Reset,
    Stall,
)

EVENTS = [
    Piece(b": wait\n\n", "comment"),
    Piece(b'data: {"role":1}\n\n', "open"),
    Piece('data: {"c":"æ"}\n\n'.encode(), "content", 0.5, tokens=1),
    Piece('data: {"c":"ø"}\n\n'.encode(), "content", 0.5, tokens=1),
    Piece(b'data: {"u":1}\n\n', "usage", is_usage=True),
    Piece(b"data: [DONE]\n\n", "end"),
]
WHOLE = b'{"answer":"forty-two"}'


def stream() -> Draft:
    """Return a stream in the making."""
    return Draft("chat", True, 200, [("content-type", "text/event-stream")], list(EVENTS), wall=1e9)


def plain() -> Draft:
    """Return a plain answer in the making."""
    return Draft(
        "chat", False, 200, [("content-type", "application/json")], [Piece(WHOLE, "whole", tokens=3)], wall=1e9
    )


def sent(draft: Draft) -> bytes:
    """Return the bytes of body that the draft would send."""
    return b"".join(piece.data for piece in draft.pieces)


def head(draft: Draft) -> Head:
    """Return the head that the draft would send."""
    return next(step.action for step in draft.steps() if isinstance(step.action, Head))


def headers(draft: Draft) -> dict[str, str]:
    """Return the headers that the draft would send."""
    return dict(head(draft).headers)


def test_nothing_changes_nothing() -> None:
    """For faults worked in elsewhere."""
    one = stream()
    does.nothing(one, "x")
    assert one == stream()


# ── the head ──


def test_an_error_status_has_the_vendors_body() -> None:
    """JSON, with its length declared, also where a stream was asked for."""
    one = stream()
    does.status(one, "503")
    assert (one.status, head(one).length) == (503, len(sent(one)))
    assert headers(one)["content-type"] == "application/json"
    assert "overloaded" in msgspec.json.decode(sent(one))["error"]["message"]


def test_a_status_without_a_body() -> None:
    """204 and 304 declare none and send none."""
    for code in ("204", "304"):
        one = stream()
        does.status(one, code)
        assert (head(one).length, sent(one)) == (NO_BODY, b"")


def test_a_success_status_keeps_the_answer() -> None:
    """201 is an answer too."""
    one = plain()
    does.status(one, "201")
    assert (one.status, sent(one)) == (201, WHOLE)


def test_a_redirect_points_to_nobody() -> None:
    """With a location that would be noticed if it were followed."""
    one = plain()
    does.status(one, "307")
    assert headers(one)["location"] == does.ELSEWHERE


def test_headers_are_added() -> None:
    """Beside those of the same name."""
    one = plain()
    does.header(one, "Set-Cookie: a=b:c")
    assert one.headers[-1] == ("set-cookie", "a=b:c")


def test_hints_make_a_429_and_gather() -> None:
    """Two hints are two headers of one refusal; another error keeps its status."""
    hint = does.hint(lambda wall, arg: [("retry-after", f"{wall:.0f} {arg}")])
    one = plain()
    hint(one, "7")
    hint(one, "9")
    assert one.status == 429
    assert [value for name, value in one.headers if name == "retry-after"] == ["1000000000 7", "1000000000 9"]
    other = plain()
    does.status(other, "503")
    hint(other, "7")
    assert other.status == 503


def test_an_overflow_names_its_limit() -> None:
    """400, in the vendor's words."""
    one = stream()
    does.overflow(one, "4096")
    assert one.status == 400
    assert b"maximum context length is 4096 tokens" in sent(one)


def test_interims_delays_and_content_types() -> None:
    """Before the head, and in it."""
    one = stream()
    does.interim(one, "1000")
    does.delay(one, "0.5")
    does.delay(one, "0.25")
    does.content_type(one, "text/plain")
    assert one.steps()[0].action == Interim(103, 1000)
    assert one.steps()[0].delay_s == 0.75
    assert headers(one)["content-type"] == "text/plain"


# ── where it stops ──


def test_instead_leaves_nothing_of_the_answer() -> None:
    """Only the actions are left."""
    one = stream()
    does.instead(Raw(b"x"), Close())(one, "")
    assert [step.action for step in one.steps()] == [Raw(b"x"), Close()]


def test_afterwards_follows_a_whole_answer() -> None:
    """The end comes first."""
    one = plain()
    does.afterwards(Close())(one, "")
    assert [step.action for step in one.steps()][-2:] == [End(), Close()]


@given(st.integers(min_value=0, max_value=30), st.booleans())
def test_stopping_at_a_byte_sends_so_many_of_what_was_declared(count: int, is_stream: bool) -> None:
    """RST at every offset: the head promises all, the body stops there."""
    one = stream() if is_stream else plain()
    whole = sent(one)
    does.at_byte(Reset())(one, str(count))
    assert sent(one) == whole[:count]
    assert head(one).length == (CHUNKED if is_stream else len(WHOLE))
    assert one.tail == [Reset()]


def test_stopping_at_an_event_sends_whole_events() -> None:
    """Comments are not counted; what was declared before stays declared."""
    one = stream()
    does.at_event(Stall())(one, "2")
    assert one.pieces == EVENTS[:3]
    until_close = stream()
    does.until_close(until_close, "")
    does.at_event(Close())(until_close, "1")
    assert head(until_close).length == UNTIL_CLOSE


def test_stalling_before_the_first_token() -> None:
    """Head, comments and the opening event."""
    one = stream()
    does.stall_first(one, "")
    assert (one.pieces, one.tail) == (EVENTS[:2], [Stall()])


def test_cuts_end_in_good_http_order() -> None:
    """Half, N bytes, N events: the length declared is the length sent, and the end is marked as not whole."""
    one = plain()
    does.cut(one, "")
    assert (sent(one), head(one).length) == (WHOLE[: len(WHOLE) // 2], len(WHOLE) // 2)
    assert one.tail == [End(is_whole=False)]
    half = stream()
    does.cut(half, "")
    assert half.pieces == EVENTS[:3]
    at_byte = plain()
    does.cut_at(at_byte, "5")
    assert sent(at_byte) == WHOLE[:5]
    at_event = stream()
    does.cut_event(at_event, "1")
    assert at_event.pieces == EVENTS[:2]


def test_only_the_terminal_event_is_missing() -> None:
    """A plain answer has none and stays whole."""
    one = stream()
    does.no_done(one, "")
    assert (one.pieces, one.tail) == (EVENTS[:-1], [End(is_whole=False)])
    other = plain()
    does.no_done(other, "")
    assert other == plain()


def test_until_close_declares_no_length() -> None:
    """And says that the connection ends."""
    one = plain()
    does.until_close(one, "")
    assert head(one).length == UNTIL_CLOSE
    assert headers(one)["connection"] == "close"


def test_broken_chunks() -> None:
    """Half the body, then bytes that are no chunk."""
    one = plain()
    does.bad_chunk(one, "")
    assert (head(one).length, len(sent(one))) == (CHUNKED, len(WHOLE) // 2)
    assert isinstance(one.tail[0], Raw)
    assert one.tail[1] == Close()


# ── what it says ──


def test_a_web_page_keeps_the_status() -> None:
    """200, or what was set before."""
    one = stream()
    does.html(one, "")
    assert (one.status, sent(one), headers(one)["content-type"]) == (200, does.HTML, "text/html; charset=utf-8")
    other = plain()
    does.status(other, "502")
    does.html(other, "")
    assert (other.status, sent(other)) == (502, does.HTML)


def test_malformed_json() -> None:
    """One event of a stream, which stays an event; or the answer; or nothing where there is nothing."""
    one = stream()
    does.malformed(one, "")
    assert one.pieces[:3] + one.pieces[4:] == EVENTS[:3] + EVENTS[4:]
    assert one.pieces[3].data.endswith(b"\n\n")
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(one.pieces[3].data[6:])
    other = plain()
    does.malformed(other, "")
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(sent(other))
    empty = plain()
    empty.pieces = []
    does.malformed(empty, "")
    assert empty.pieces == []


def test_error_events_replace_the_rest() -> None:
    """After N content events; a plain answer is an error body with status 200."""
    fault = does.error_event(lambda _: b"data: error\n\n")
    before = stream()
    fault(before, "0")
    assert before.pieces == [*EVENTS[:2], Piece(b"data: error\n\n", "end")]
    after = stream()
    fault(after, "1")
    assert after.pieces == [*EVENTS[:3], Piece(b"data: error\n\n", "end")]
    one = plain()
    fault(one, "0")
    assert one.status == 200
    assert "error" in msgspec.json.decode(sent(one))


@given(st.sampled_from(["slow", "slice", "split"]), st.integers(min_value=0, max_value=9), st.booleans())
def test_cutting_up_keeps_bytes_tokens_and_delays(how: str, size: int, is_stream: bool) -> None:
    """However it is written, the same is said in the same time."""
    one = stream() if is_stream else plain()
    before = list(one.pieces)
    {"slow": does.slices(1), "slice": does.slices(), "split": does.split}[how](one, "0" if how == "slow" else str(size))
    assert sent(one) == b"".join(piece.data for piece in before)
    for measure in ("tokens", "is_usage", "delay_s"):
        assert sum(getattr(piece, measure) for piece in one.pieces) == sum(getattr(piece, measure) for piece in before)
    assert all(piece.is_apart for piece in one.pieces)


def test_one_byte_a_write() -> None:
    """With a pause before each if asked for."""
    one = plain()
    does.slices(1)(one, "0.01")
    assert [len(piece.data) for piece in one.pieces] == [1] * len(WHOLE)
    assert {piece.delay_s for piece in one.pieces} == {0.01}


def test_every_long_character_is_torn() -> None:
    """No piece ends where a character of two bytes ends without having begun in it."""
    one = stream()
    does.split(one, "")
    torn = [left.data[-1] >= 0xC0 and right.data[0] < 0xC0 for left, right in pairwise(one.pieces)]
    assert sum(torn) == 2


def test_line_ends() -> None:
    """CR LF, CR or LF, in streams only; the writes stay as they were."""
    for arg, end in (("crlf", b"\r\n"), ("cr", b"\r"), ("lf", b"\n")):
        one = stream()
        does.line_ends(one, arg)
        assert one.pieces[-1].data == b"data: [DONE]" + end + end
        assert len(one.pieces) == len(EVENTS)
        assert not one.pieces[-1].is_apart
    other = plain()
    does.line_ends(other, "cr")
    assert other == plain()


def test_a_byte_order_mark_comes_first() -> None:
    """Before everything else."""
    one = stream()
    does.bom(one, "")
    assert sent(one).startswith(b"\xef\xbb\xbf:")


# ── without end ──


def test_bodies_without_end() -> None:
    """Success or error, they never declare a length and never stop."""
    for make, begin in ((plain, b'{"id'), (stream, b"data: ")):
        one = make()
        does.endless(one, "")
        assert sent(one).startswith(begin)
        assert (one.status, head(one).length, one.endless) == (200, CHUNKED, Repeat(does.BLOCK))
    error = stream()
    does.endless_error(error, "502")
    assert (error.status, headers(error)["content-type"]) == (502, "application/json")


def test_a_big_error_is_as_big_as_it_says() -> None:
    """114 MB, declared and sent, ending in order."""
    one = plain()
    does.big_error(one, "114000000")
    assert isinstance(one.endless, Repeat)
    assert one.endless.times is not None
    assert head(one).length == len(sent(one)) + one.endless.times * len(does.BLOCK)
    assert head(one).length >= 114_000_000
    assert one.tail == [End()]


def test_a_long_stream_says_its_first_words_again_and_again() -> None:
    """At least as many bytes as asked, in blocks of whole events; then what was to come, to a proper end."""
    one = stream()
    does.long(one, "100000")
    assert EVENTS[:3] == one.pieces
    assert isinstance(one.endless, Repeat)
    assert one.endless.times is not None
    word = EVENTS[2].data
    assert one.endless.data == word * (does.LONG_BLOCK_BYTES // len(word))
    assert 100_000 <= one.endless.times * len(one.endless.data) < 100_000 + does.LONG_BLOCK_BYTES
    rest = [Body(piece.data, piece.tokens, piece.is_usage) for piece in EVENTS[3:]]
    assert [*rest, End()] == one.tail


def test_what_is_no_stream_is_not_made_long() -> None:
    """A plain answer has no events."""
    one = plain()
    does.long(one, "100000")
    assert sent(one) == WHOLE
    assert one.endless is None

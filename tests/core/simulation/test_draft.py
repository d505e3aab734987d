"""Drafts become scripts."""

from hypothesis import given
from hypothesis import strategies as st

from turnout.core.simulation.draft import Draft, Piece, first_bytes, first_events
from turnout.core.simulation.script import CHUNKED, NO_BODY, Body, End, Head, Interim, Repeat, Reset, Stall, Step

EVENTS = [
    Piece(b": comment\n\n", "comment"),
    Piece(b"data: 1\n\n", "open"),
    Piece(b"data: 2\n\n", "content", 0.5, tokens=1),
    Piece(b"data: 3\n\n", "usage", is_usage=True),
]


def draft(*, is_stream: bool = True) -> Draft:
    """Return an answer in the making."""
    pieces = list(EVENTS) if is_stream else [Piece(b'{"a":1}', "whole", tokens=2, is_usage=True)]
    return Draft("chat", is_stream, 200, [("content-type", "x")], pieces, wall=1e9)


def test_a_stream_is_chunked() -> None:
    """Head, one body step per piece with its delay, and the end."""
    one = draft()
    one.head_delay_s = 0.25
    steps = one.steps()
    assert Step(Head(200, (("content-type", "x"),), CHUNKED), 0.25) == steps[0]
    assert [0.0, 0.0, 0.5, 0.0] == [step.delay_s for step in steps[1:5]]
    assert Body(b"data: 2\n\n", tokens=1) == steps[3].action
    assert Body(b"data: 3\n\n", is_usage=True) == steps[4].action
    assert Step(End()) == steps[5]


def test_a_plain_answer_declares_its_length() -> None:
    """Or what a fault declared."""
    assert Head(200, (("content-type", "x"),), 7) == draft(is_stream=False).steps()[0].action
    one = draft(is_stream=False)
    one.declared = NO_BODY
    assert Head(200, (("content-type", "x"),), NO_BODY) == one.steps()[0].action


def test_without_a_head_only_what_comes_before_and_after_is_left() -> None:
    """The wait goes to whatever is first."""
    one = draft()
    one.has_head, one.tail, one.head_delay_s = False, [Reset()], 0.5
    assert (Step(Reset(), 0.5),) == one.steps()
    one.before = [Interim(103)]
    assert (Step(Interim(103), 0.5), Step(Reset())) == one.steps()


def test_an_endless_body_follows_the_pieces() -> None:
    """Then the tail."""
    one = draft(is_stream=False)
    one.endless, one.tail = Repeat(b"x"), [Stall()]
    assert [Repeat(b"x"), Stall()] == [step.action for step in one.steps()[2:]]


def test_a_header_replaces_its_namesake() -> None:
    """Other headers stay."""
    one = draft()
    one.headers.append(("x-a", "1"))
    one.header("content-type", "y")
    assert [("x-a", "1"), ("content-type", "y")] == one.headers


@given(st.integers(min_value=0, max_value=60))
def test_cutting_at_a_byte_keeps_exactly_so_many(count: int) -> None:
    """What is kept is the beginning, and a torn piece neither ends a token nor tells a usage."""
    kept = first_bytes(EVENTS, count)
    whole = b"".join(piece.data for piece in EVENTS)
    assert whole[:count] == b"".join(piece.data for piece in kept)
    assert all(piece in EVENTS or (piece.tokens == 0 and not piece.is_usage) for piece in kept)


def test_cutting_at_an_event_does_not_count_comments() -> None:
    """Nothing kept for zero but the comments before it."""
    assert EVENTS[:1] == first_events(EVENTS, 0)
    assert EVENTS[:3] == first_events(EVENTS, 2)
    assert EVENTS == first_events(EVENTS, 9)

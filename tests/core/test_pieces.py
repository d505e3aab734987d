"""A large body in pieces: the same bytes, referred to and not copied, in slices of any size, as often as is wanted."""

from hypothesis import given
from hypothesis import strategies as st

from turnout.core.pieces import Pieces


@given(st.lists(st.binary(max_size=20)), st.integers(1, 30))
def test_slices_are_the_whole_in_order_and_none_is_too_long(parts, size):
    """Twice over: a body that failed to go out is sent again, elsewhere."""
    pieces = Pieces(parts)
    whole = b"".join(parts)
    assert (len(whole), whole) == (len(pieces), bytes(pieces))
    for _ in range(2):
        slices = list(pieces.slices(size))
        assert whole == b"".join(slices)
        assert all(0 < len(one) <= size for one in slices)


def test_pieces_refer_to_what_they_were_made_of():
    """A copy of 32 MiB would be as much memory again."""
    buffer = bytearray(b"hej")
    pieces = Pieces([b"<", buffer, b">"])
    buffer[0] = ord("n")
    assert b"<nej>" == bytes(pieces)
    assert buffer is next(one.obj for one in pieces.slices(100) if len(one) == 3)


def test_pieces_do_not_tell_the_prompt():
    """It is no secret that they are pieces."""
    assert "prompt" not in repr(Pieces([b"prompt"]))

"""Steps are plain values: two executors can play the same script."""

from turnout.core.simulation.script import CHUNKED, NO_BODY, UNTIL_CLOSE, Body, End, Head, Repeat, Script, Step


def test_defaults_are_a_sound_answer() -> None:
    """A head is chunked, an end is whole, a repeat has no end, a script need not be a model call."""
    assert CHUNKED == Head(200, ()).length
    assert End().is_whole
    assert Repeat(b"x").times is None
    assert Script((Step(End()),)).dispatch is None
    assert not Body(b"x").is_apart


def test_lengths_that_are_no_lengths_are_negative_and_differ() -> None:
    """An executor can tell a declared length from the three ways of having none."""
    assert len({CHUNKED, UNTIL_CLOSE, NO_BODY}) == 3
    assert max(CHUNKED, UNTIL_CLOSE, NO_BODY) < 0

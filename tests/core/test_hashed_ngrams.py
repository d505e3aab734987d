"""Vectors of wording: near for the same words, far for others, the same everywhere."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.hashed_ngrams import DIMENSIONS, embed


def near(one, other):
    """The cosine."""
    return sum(left * right for left, right in zip(embed(one), embed(other), strict=True))


@given(st.text(max_size=80))
def test_a_vector_has_length_one_or_none_at_all(text):
    """None for a text without a letter or digit."""
    vector = embed(text)
    assert len(vector) == DIMENSIONS
    length = math.sqrt(sum(value * value for value in vector))
    assert length == pytest.approx(1.0, abs=1e-5) or (length == 0.0)


def test_the_same_words_are_near_and_others_far():
    """Case and punctuation do not count, an inflected word counts for most of it."""
    assert near("How do I reset my password?", "how do i reset my PASSWORD") == pytest.approx(1.0, abs=1e-6)
    assert near("How do I reset my password?", "How can I reset my passwords?") > 0.75
    assert abs(near("How do I reset my password?", "Vejret bliver fint")) < 0.3
    assert near("", "anything") == 0.0


def test_it_is_the_same_on_every_machine():
    """Places and signs come from CRC-32, which does not change."""
    told = {at: round(value, 4) for at, value in enumerate(embed("hej")) if value}
    assert told == {46: -0.4472, 208: -0.4472, 293: -0.4472, 364: -0.6325}

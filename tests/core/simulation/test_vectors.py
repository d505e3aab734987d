"""Embeddings: unit length, a function of the text, near for texts that share words."""

import math
from base64 import b64decode
from struct import unpack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.simulation.vectors import as_base64, dimensions_of, vector


@given(st.text(max_size=200), st.integers(min_value=1, max_value=64))
def test_vectors_are_unit_vectors_of_the_length_asked(text: str, dimensions: int) -> None:
    """Any text, also an empty one, in any number of dimensions."""
    values = vector(text, dimensions)
    assert dimensions == len(values)
    assert math.isclose(1.0, math.sqrt(sum(value * value for value in values)), rel_tol=1e-9)
    assert values == vector(text, dimensions)


def test_cancelled_places_still_give_a_unit_vector() -> None:
    """In one dimension eight places can sum to nothing; the vector is then the first axis."""
    texts = [str(number) for number in range(200)]
    assert {1.0, -1.0} == {vector(text, 1)[0] for text in texts}


def test_texts_that_share_words_are_near() -> None:
    """Similarity follows the words, as a semantic cache needs."""

    def likeness(one: str, other: str) -> float:
        return sum(a * b for a, b in zip(vector(one, 256), vector(other, 256), strict=True))

    near = likeness("hvad koster flytterengøring i Aarhus", "Hvad koster en flytterengøring i Aarhus?")
    assert near > 0.8
    assert likeness("hvad koster flytterengøring", "vinduer pudses hver uge") < 0.3


@pytest.mark.parametrize(
    ("model", "dimensions"),
    [("text-embedding-3-small", 1536), ("text-embedding-ada-002", 1536), ("text-embedding-3-large", 3072)],
)
def test_models_have_their_own_lengths(model: str, dimensions: int) -> None:
    """OpenAI's figures."""
    assert dimensions == dimensions_of(model)


def test_base64_is_little_endian_floats() -> None:
    """What the OpenAI SDK unpacks."""
    assert (0.5, -0.25) == unpack("<2f", b64decode(as_base64([0.5, -0.25])))

"""Tests of core/names.py."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from turnout.core.names import nearest


def test_names_a_slip_of_the_finger() -> None:
    """The name that was meant comes first."""
    assert nearest("emial-draft", ["chat", "email-draft", "email-analysis"])[0] == "email-draft"


def test_case_does_not_matter() -> None:
    """Upper and lower case are the same to a guess."""
    assert nearest("GPT-4O", ["gpt-4o", "claude"]) == ["gpt-4o"]


def test_says_nothing_when_nothing_is_near() -> None:
    """A guess that helps nobody is not made, whatever rules it out: letters, their count, or their order."""
    assert nearest("xyz", ["chat", "email-draft"]) == []
    assert nearest("tahc", ["abcdefghijkl"]) == []
    assert nearest("dcbahgfe", ["abcdefgh"]) == []


def test_bounds_how_many_and_breaks_ties_by_alphabet() -> None:
    """At most n names, equal ones by alphabet."""
    assert nearest("model-x", ["model-c", "model-a", "model-b", "model-d"], 2) == ["model-a", "model-b"]


def test_a_name_of_any_length_costs_little() -> None:
    """Only the first 100 characters are compared."""
    assert nearest("chat" + "x" * 1_000_000, ["chat"]) == []


@given(st.text(max_size=20), st.lists(st.text(max_size=20), max_size=8), st.integers(1, 4))
def test_returns_known_names_only(name: str, known: list[str], n: int) -> None:
    """Whatever is asked: known names, each once, at most n, and the name itself first if it is known."""
    found = nearest(name, known, n)
    assert set(found) <= set(known)
    assert len(found) == len(set(found)) <= n
    if name and name in known and name == name.lower() and sum(one.lower() == name for one in set(known)) == 1:
        assert name == found[0]

"""Kinds have one name each, and words that speak for them."""

import pytest

from turnout.core.privacy.kinds import ALL, KINDS, WORDS, chosen, spoken_for, words_before


def test_every_kind_is_named_once_and_words_are_of_kinds():
    """KINDS is an order without repeats; names make placeholders, so they are letters and underscores."""
    assert len(KINDS) == len(set(KINDS)) == len(ALL)
    assert ALL >= set(WORDS)
    assert all(kind.replace("_", "").isalpha() and kind.islower() for kind in KINDS)


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("Mit telefonnummer er ", "phone", True),
        ("Tlf.: ", "phone", True),
        ("på hotellet ", "phone", False),
        ("CPR-nr. ", "cpr", True),
        ("telefon " + "x " * 30, "phone", False),
        ("telefon en to tre fire fem seks ", "phone", False),
        ("", "phone", False),
    ],
)
def test_a_word_speaks_if_it_stands_shortly_before(text, kind, expected):
    """Whole words and beginnings, in small letters or large; not further away than a few words."""
    assert expected == (kind in spoken_for(words_before(text, len(text))))


def test_the_last_word_that_speaks_is_the_one_that_counts():
    """It may speak for several kinds; a number after it is none of those that words further away speak for."""
    assert {"cpr"} == spoken_for(["tlf", "og", "cpr", "nr"])
    assert {"cpr", "fodselsnummer", "personnummer"} == spoken_for(["tlf", "personnummer"])


def test_the_name_of_the_member_stands_before_its_text():
    """But only as far as the text itself has not moved it away."""
    assert ["customer", "phone", "nr"] == words_before("nr ", 3, "customer phone")
    assert "phone" not in words_before("x" * 50, 50, "phone")


@pytest.mark.parametrize(
    ("names", "expected"),
    [((), ALL), (("all",), ALL), (("email", "all"), ALL), (("email", "cpr", "nonsense"), {"email", "cpr"})],
)
def test_all_and_nothing_stand_for_every_kind(names, expected):
    """Else those that are named."""
    assert expected == chosen(names)

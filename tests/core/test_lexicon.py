"""The tables of small words say what they mean, and mean one thing."""

import pytest

from turnout.core.lexicon import DANISH, ENGLISH


@pytest.mark.parametrize("lexicon", [ENGLISH, DANISH])
def test_every_word_stands_as_it_is_compared(lexicon):
    """Case-folded and without a space, or it is never found."""
    tables = (
        lexicon.function,
        lexicon.numbers,
        lexicon.negations,
        lexicon.measures,
        lexicon.questions,
        lexicon.senses,
        lexicon.persons,
        lexicon.opposites,
    )
    for table in tables:
        assert table
        assert all(word == word.casefold() == word.strip() and " " not in word for word in table)


@pytest.mark.parametrize("lexicon", [ENGLISH, DANISH])
def test_opposites_are_mutual_and_never_of_oneself(lexicon):
    """What is the contrary of a word has that word as its contrary."""
    for word, others in lexicon.opposites.items():
        assert word not in others
        assert all(word in lexicon.opposites[other] for other in others)


@pytest.mark.parametrize("lexicon", [ENGLISH, DANISH])
def test_no_word_of_content_is_called_empty(lexicon):
    """What negates or measures stays in what is compared; what asks and who is asked are compared apart."""
    assert lexicon.function.isdisjoint(lexicon.negations | lexicon.measures.keys())


def test_numbers_in_words_are_the_same_numbers_in_both_languages():
    """Zero to twelve, and some round ones; the Danish for 1 is an article as well, so only its stressed form counts."""
    assert [ENGLISH.numbers[word] for word in ("zero", "two", "twelve", "fifty")] == ["0", "2", "12", "50"]
    assert [DANISH.numbers[word] for word in ("nul", "to", "tolv", "halvtreds")] == ["0", "2", "12", "50"]
    assert (DANISH.numbers["én"], DANISH.numbers["ét"], "en" in DANISH.numbers) == ("1", "1", False)


def test_forms_of_a_measure_are_one():
    """Singular and plural."""
    assert ENGLISH.measures["days"] == ENGLISH.measures["day"] == "day"
    assert DANISH.measures["uger"] == DANISH.measures["uge"] == "uge"

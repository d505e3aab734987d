"""Decides, from words alone, that two questions cannot have the same answer, however near their embeddings lie.

A vote against only: that nothing speaks against it here does not make two questions the same. Rules, each with its word:
* language: the two are in different languages, or in one that is neither Danish nor English and so not understood here;
* numbers: not the same numbers in the same order, in digits or in words;
* names: a word with a capital inside a sentence, or with digits in it, that the other does not have, or in another order;
* negation: not as many "not", "without", "never";
* measures: not the same days, months, times and units;
* question: one asks when, where, who or why, and the other does not;
* sense: small words that change it: "was" or "will", "should", "or", "if", "he" or "she";
* person: "my" on one side where "your" stands on the other;
* opposites: "open" on one side, "close" on the other;
* wording: all the same but for a word or two of content, or the same words of content in another order. There the rest of
  the sentence holds the score up ("weather in aarhus", "weather in odense"); in another wording altogether it cannot.
Texts whose words and signs are all the same pass at once; one that has none never does.
Inflected forms of a word count as the same word; spelling mistakes do not.
Source: hard near misses, see docs/how-to/cache.md for what they measured.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import msgspec

from turnout.core.lexicon import DANISH, ENGLISH, Lexicon

Conflict = Literal[
    "language", "numbers", "names", "negation", "measures", "question", "sense", "person", "opposites", "wording"
]

FEW_WORDS = 2
"""As many words of content exchanged for as many others are a small difference."""

_TOKEN = re.compile(r"\d+(?:[.,:/-]\d+)+|[^\W_]+(?:['\-][^\W_]+)*|[^\w\s.,;:!?'\"()\[\]{}\u2026\u2013\u2014-]")
"""Numbers, words, and any sign that is no punctuation: currencies, operators, pictures."""
_NUMBER = re.compile(r"\d+(?:[.,:/-]\d+)*")
_COUNTED_UNIT = re.compile(r"(\d+)([^\W\d_]+)")
_ENDINGS = (
    ("", "s", "es", "d", "ed", "ing"),
    ("", "n", "en", "t", "et", "r", "er", "e", "ne", "rne", "ene", "erne", "s"),
)
_STEM = 4


class Reading(msgspec.Struct, frozen=True):
    """What of a text is compared. words: all, case-folded, in order; content: those that are no function words.

    language: "da", "en", or "" if it is neither for sure. names: in order. numbers: in order, as digits.
    """

    words: tuple[str, ...]
    language: Literal["da", "en", ""]
    content: tuple[str, ...]
    numbers: tuple[str, ...]
    names: tuple[str, ...]
    negations: int
    measures: frozenset[str]
    questions: frozenset[str]
    senses: frozenset[str]
    persons: frozenset[str]


def read(text: str) -> Reading:
    """Return what of `text` is compared. O(characters), about 30 µs for a question of ten words."""
    shown, names = _tokens(text.replace("\u2019", "'"))
    words = tuple(one.casefold() for one in shown)
    language = _language(words)
    lexicon = DANISH if language == "da" else ENGLISH
    numbers = tuple(
        lexicon.numbers.get(word, word)
        for word in words
        if word in lexicon.numbers or word in "$€£%§" or _NUMBER.fullmatch(word)
    )
    measures = lexicon.measures
    return Reading(
        words=words,
        language=language,
        content=tuple(
            measures.get(word, lexicon.numbers.get(word, word)) for word in words if word not in lexicon.function
        ),
        numbers=numbers,
        names=names,
        negations=sum(word in lexicon.negations or word.endswith("n't") for word in words),
        measures=frozenset(measures[word] for word in words if word in measures),
        questions=lexicon.questions.intersection(words),
        senses=frozenset(lexicon.senses[word] for word in words if word in lexicon.senses),
        persons=frozenset(lexicon.persons[word] for word in words if word in lexicon.persons),
    )


def conflict(one: Reading, other: Reading) -> Conflict | None:
    """Return why the two cannot have the same answer, None if nothing says so. O(words)."""
    if one.words and one.words == other.words and one.names == other.names:
        return None
    if one.language != other.language or not one.language:
        return "language"
    if one.numbers != other.numbers:
        return "numbers"
    if not _same_names(one, other):
        return "names"
    if one.negations != other.negations:
        return "negation"
    if one.measures != other.measures:
        return "measures"
    if one.questions != other.questions:
        return "question"
    if one.senses != other.senses:
        return "sense"
    if one.persons - other.persons and other.persons - one.persons:
        return "person"
    lexicon = DANISH if one.language == "da" else ENGLISH
    if _opposed(frozenset(one.words), frozenset(other.words), lexicon):
        return "opposites"
    if _is_small_difference(one.content, other.content, _ENDINGS[one.language == "da"]):
        return "wording"
    return None


def _tokens(text: str) -> tuple[list[str], tuple[str, ...]]:
    """The words of a text as they stand, and which are names: with a capital where no sentence begins, or with digits."""
    shown: list[str] = []
    names: list[str] = []
    end = 0
    for found in _TOKEN.finditer(text):
        word = found[0]
        begins = not shown or any(mark in text[end : found.start()] for mark in '.!?:\n"«»“”')
        end = found.end()
        unit = _COUNTED_UNIT.fullmatch(word)
        if unit is not None:
            shown += unit.groups()
            continue
        if word.endswith("'s") and word[0].isupper():
            word = word[:-2]
        shown.append(word)
        has_digits = any(one.isdigit() for one in word) and any(one.isalpha() for one in word)
        inner = any(one.isupper() for one in word[1:])
        if has_digits or inner or (word[0].isupper() and not begins and word not in {"I", "I'm", "I'd", "I've"}):
            names.append(word.casefold())
    return shown, tuple(names)


def _language(words: Sequence[str]) -> Literal["da", "en", ""]:
    """Whose function words there are more of; a number in words counts half, a letter that only Danish has counts once."""
    danish, english = (
        sum(2 * (word in lexicon.function) + (word in lexicon.numbers) for word in words)
        for lexicon in (DANISH, ENGLISH)
    )
    danish += 2 * any(letter in "æøå" for word in words for letter in word)
    if danish == english:
        return ""
    return "da" if danish > english else "en"


def _same_names(one: Reading, other: Reading) -> bool:
    """Whether the names of each are words of the other, which may have been typed without capitals, in the same order."""
    names = frozenset(one.names + other.names)
    return [word for word in one.words if word in names] == [word for word in other.words if word in names]


def _opposed(one: frozenset[str], other: frozenset[str], lexicon: Lexicon) -> bool:
    """Whether a word that only `one` has means the contrary of a word that only `other` has."""
    left = other - one
    return any(not left.isdisjoint(lexicon.opposites.get(word, ())) for word in one - other)


def _is_small_difference(one: Sequence[str], other: Sequence[str], endings: Sequence[str]) -> bool:
    """Whether the content differs, and by a few words in one place, or by nothing but its order."""
    shared = min(len(one), len(other))
    begin = 0
    while begin < shared and _same_word(one[begin], other[begin], endings):
        begin += 1
    end = 0
    while end < shared - begin and _same_word(one[-1 - end], other[-1 - end], endings):
        end += 1
    here, there = one[begin : len(one) - end], other[begin : len(other) - end]
    if not here and not there:
        return False
    if max(len(here), len(there)) <= FEW_WORDS:
        return True
    return sorted(here) == sorted(there)


def _same_word(one: str, other: str, endings: Sequence[str]) -> bool:
    """Whether both are the same word, maybe inflected."""
    if one == other:
        return True
    stem = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        stem += 1
    return stem >= _STEM and one[stem:] in endings and other[stem:] in endings

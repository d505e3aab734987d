"""Finds the numbers that are somebody's: phones, cards, national identifiers.

A run of digits is looked at from the beginning of each of its groups, since two numbers may follow each other with only a
space between. What a kind makes of what begins there is a Guess with a score; the highest wins, and of two as high the
first of KINDS. Check digits, the way it is written and words nearby each raise the score; a number that only has the right
length scores nothing. A CPR needs its date and one of the three, as its check digit may be wrong since 2007.
Cost: linear; about 0.1 µs a character of a text that is nothing but short numbers, nothing for one without long ones.
Source: DEPENDENCIES §12; ITU-T E.164 (15 digits at most), E.123 (how phone numbers are written).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

import msgspec

from turnout.core.privacy import checksums
from turnout.core.privacy.kinds import NEAR_CHARACTERS, Kind, spoken_for, words_before

LONG_RUN: Final = "[0-9](?:[ \u00a0()./\u2013-]{0,2}[0-9]){6}"
"""Where there is anything to look at: seven digits, with at most two signs between one and the next."""

_RUN = re.compile("[0-9](?:[ \u00a0()./\u2013-]{0,2}[0-9]){6,}")
_GROUP = re.compile(r"[0-9]+")
_HETU = re.compile(r"[0-9]{6}[-+A-FU-Ya-fu-y][0-9]{3}[0-9A-Ya-y]")

_SEP = "[ \u00a0.\u2013-]"
_CPR = re.compile(r"([0-9]{6})([ \u2013-]?)([0-9]{4})")
_PERSONNUMMER = re.compile(r"((?:[0-9]{2})?[0-9]{6})([+\u2013-]?)([0-9]{4})")
_FODSELSNUMMER = re.compile(r"([0-9]{6}) ?([0-9]{5})")
_STEUER_ID = re.compile(r"([0-9]{2})([ ]?)([0-9]{3})\2([0-9]{3})\2([0-9]{3})")
_NHS = re.compile(r"([0-9]{3})([ -]?)([0-9]{3})\2([0-9]{4})")
_CVR = re.compile(r"[0-9]{8}|[0-9]{2} [0-9]{2} [0-9]{2} [0-9]{2}|[0-9]{4} [0-9]{4}")
_CARD = re.compile(
    r"[0-9]{13,19}|[0-9]{4}([ -])[0-9]{4}\1[0-9]{4}\1[0-9]{1,4}(?:\1[0-9]{3})?|[0-9]{4}([ -])[0-9]{6}\2[0-9]{4,5}"
)
_INTERNATIONAL = re.compile(rf"([1-9])(?:{_SEP}?[0-9()]|[ ]\([0-9]){{6,20}}")
_IN_PAIRS = re.compile(rf"[2-9][0-9]({_SEP})[0-9]{{2}}\1[0-9]{{2}}\1[0-9]{{2}}")
_AMERICAN = re.compile(r"[2-9][0-9]{2}(?:\) ?|[-.])[0-9]{3}[-.][0-9]{4}")
_NATIONAL = re.compile("[0-9](?:[ \u00a0()./\u2013-]{0,2}[0-9]){6,14}")
_PAIR_AFTER = re.compile(r"[^0-9][0-9]{2}(?![0-9])")
_PAIR_BEFORE = re.compile(r"(?<![0-9])[0-9]{2}[^0-9]\Z")
_00 = re.compile("00[ -]?(?=[1-9])")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{1,2}[./-][0-9]{1,2}[./-][0-9]{4}")

_FEWEST_DIGITS: Final = 7
_MOST_DIGITS: Final = 15

_PHONE_DIGITS: Final[Mapping[str, int]] = MappingProxyType(
    {"45": 8, "47": 8, "298": 6, "299": 6, "354": 7, "1": 10, "44": 10, "33": 9, "31": 9, "32": 9, "34": 9, "48": 9}
)
"""Of countries whose numbers all have the same length, how many digits follow the country's: so a number that comes after it
is not taken for its end."""


class Guess(msgspec.Struct, frozen=True):
    """Something that begins and ends there may be of this kind. score: 1 is enough, more is surer."""

    kind: Kind
    start: int
    end: int
    score: int


class _Place:
    """Where a number may begin. run_at: where its run of digits does. What stands before it is looked up once at most."""

    __slots__ = ("_before", "_told", "at", "length", "text")

    def __init__(self, text: str, at: int, length: int, run_at: int, before: str) -> None:
        self.text = text
        self.at = at
        self.length = length
        self._before = before
        self._told: frozenset[Kind] | None = None
        if at - run_at >= NEAR_CHARACTERS:
            self._told = frozenset()  # there is no word in a run

    def says(self, kind: Kind) -> bool:
        """Whether the words before speak for `kind`."""
        if self._told is None:
            self._told = spoken_for(words_before(self.text, self.at, self._before))
        return kind in self._told

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Return the match that begins here, if the number ends where the match does."""
        found = pattern.match(self.text, self.at)
        return found if found is not None and ends(self.text, found.end()) else None


_Guesser: TypeAlias = Callable[[_Place], "Guess | None"]


def ends(text: str, end: int) -> bool:
    """Whether a number may end there: no letter or digit follows, nor a sign and one more digit."""
    after = text[end : end + 2]
    if not after:
        return True
    if after[0].isalnum() or after[0] == "_":
        return False
    return not (after[0] in "-." and after[1:].isdigit())


def begins(text: str, at: int) -> bool:
    """Whether a number may begin there: no letter or digit is before it, nor a digit and a sign."""
    before = text[at - 1 : at]
    if before.isalnum() or before == "_":
        return False
    return not (before in {"-", "."} and text[at - 2 : at - 1].isdigit())


def numbers(text: str, kinds: Collection[Kind], before: str = "") -> Iterator[Guess]:
    """Yield what is a number of one of `kinds`, in order, none within another. before: words that come before the text."""
    if "hetu" in kinds:
        yield from _hetu(text)
    wanted = {length: [guess for kind, guess in told if kind in kinds] for length, told in _BY_LENGTH.items()}
    over = 0
    for run in _RUN.finditer(text):
        for group in _GROUP.finditer(text, run.start(), run.end()):
            at = group.start()
            if at < over:
                continue
            length = len(group[0])
            guessers = wanted.get(length, ())
            place = _Place(text, at, length, run.start(), before)
            if not begins(text, at):
                vat = _vat(place) if "cvr" in kinds and length == 8 else None
                guesses = [] if vat is None else [vat]
            else:
                guesses = [guess for guesser in guessers if (guess := guesser(place)) is not None]
                if "phone" in kinds and (phone := _phone(place)) is not None:
                    guesses.append(phone)
            if guesses:
                best = max(guesses, key=_score)
                yield best
                over = best.end


def _score(guess: Guess) -> int:
    return guess.score


# ── each kind ──


def _hetu(text: str) -> Iterator[Guess]:
    for found in _HETU.finditer(text):
        start, end = found.span()
        if begins(text, start) and ends(text, end) and checksums.is_hetu(found[0].upper()):
            yield Guess("hetu", start, end, 3)


def _cpr(place: _Place) -> Guess | None:
    found = place.match(_CPR)
    if found is None:
        return None
    digits = found[1] + found[3]
    if not checksums.cpr_date(digits):
        return None
    is_told = place.says("cpr")
    score = 2 * is_told + checksums.is_cpr(digits) + (found[2] in {"-", "\u2013"})
    if not score or (found[2] == " " and not is_told):
        return None
    return Guess("cpr", *found.span(), score)


def _personnummer(place: _Place) -> Guess | None:
    found = place.match(_PERSONNUMMER)
    if found is None or not checksums.is_personnummer(found[1] + found[3]):
        return None
    return Guess("personnummer", *found.span(), 1 + 2 * place.says("personnummer"))


def _kennitala(place: _Place) -> Guess | None:
    found = place.match(_CPR)
    if found is None or found[2] == " " or not checksums.is_kennitala(found[1] + found[3]):
        return None
    return Guess("kennitala", *found.span(), 1 + 2 * place.says("kennitala"))


def _fodselsnummer(place: _Place) -> Guess | None:
    found = place.match(_FODSELSNUMMER)
    if found is None or not checksums.is_fodselsnummer(found[1] + found[2]):
        return None
    return Guess("fodselsnummer", *found.span(), 2 + 2 * place.says("fodselsnummer"))


def _steuer_id(place: _Place) -> Guess | None:
    found = place.match(_STEUER_ID)
    if found is None or not checksums.is_steuer_id("".join(found.group(1, 3, 4, 5))):
        return None
    score = (found[2] == " ") + 2 * place.says("steuer_id")
    return Guess("steuer_id", *found.span(), score) if score else None


def _nhs(place: _Place) -> Guess | None:
    found = place.match(_NHS)
    if found is None or not checksums.is_nhs(found[1] + found[3] + found[4]):
        return None
    score = (found[2] == " ") + 2 * place.says("nhs")
    return Guess("nhs", *found.span(), score) if score else None


def _cvr(place: _Place) -> Guess | None:
    found = place.match(_CVR)
    return Guess("cvr", *found.span(), 3) if found is not None and place.says("cvr") else None


def _vat(place: _Place) -> Guess | None:
    """A CVR as tax authorities abroad write it, DK and eight digits."""
    start = place.at - 2
    if start < 0 or place.text[start : place.at].upper() != "DK" or not begins(place.text, start):
        return None
    found = place.match(_CVR)
    if found is None or not checksums.is_cvr(found[0]):
        return None
    return Guess("cvr", start, found.end(), 2)


def _card(place: _Place) -> Guess | None:
    found = place.match(_CARD)
    if found is None or not checksums.is_card(_digits(found[0])):
        return None
    return Guess("card", *found.span(), 2)


def _phone(place: _Place) -> Guess | None:
    """A phone number by how it is written, or by the words before it."""
    text, at = place.text, place.at
    start = at - 1 if text[at - 1 : at] == "(" else at
    if text[start - 1 : start] == "+":
        return _international(text, at, start - 1)
    abroad = _00.match(text, at)
    if abroad is not None and (told := _international(text, abroad.end(), at)) is not None:
        return told
    for pattern in (_IN_PAIRS, _AMERICAN) if place.length in {2, 3} else ():
        found = place.match(pattern)
        if found is not None and not (pattern is _IN_PAIRS and _is_in_a_row(text, found)):
            return Guess("phone", start if ")" in found[0] else at, found.end(), 1)
    if not place.says("phone") or _DATE.match(text, at) is not None:
        return None
    end = at + place.length  # what is long enough by itself is not joined to what follows
    if place.length < _FEWEST_DIGITS:
        end = _whole_groups(text, at)
    elif place.length > _MOST_DIGITS or not ends(text, end):
        return None
    return Guess("phone", start if ")" in text[at:end] else at, end, 2) if end else None


def _whole_groups(text: str, at: int) -> int:
    """Return where the longest national number that begins at `at` ends, 0 if there is none: it ends with a group."""
    found = _NATIONAL.match(text, at)
    while found is not None and not ends(text, found.end()):
        found = _NATIONAL.match(text, at, at + max(found[0].rfind(sign) for sign in " \u00a0"))
    return 0 if found is None else found.end()


def _is_in_a_row(text: str, found: re.Match[str]) -> bool:
    """Whether one more pair follows, or comes before: then it is a list of numbers."""
    start, end = found.span()
    after = _PAIR_AFTER.match(text, end)
    before = _PAIR_BEFORE.search(text[max(0, start - 4) : start])
    return (after is not None and after[0][0] == found[1]) or (before is not None and before[0][-1] == found[1])


def _international(text: str, at: int, start: int) -> Guess | None:
    """A number that begins with its country's. at: of the country's first digit; start: of the + or 00 before."""
    found = _INTERNATIONAL.match(text, at)
    if found is None or text[max(0, start - 1) : start].isalnum():
        return None
    digits = _digits(found[0])
    country = next((digits[:length] for length in (1, 2, 3) if digits[:length] in _PHONE_DIGITS), "")
    longest = min(_MOST_DIGITS, len(digits))
    counts = [*range(longest, _FEWEST_DIGITS - 1, -1)]
    if country:
        counts.insert(0, min(longest, len(country) + _PHONE_DIGITS[country] + ("(0)" in found[0])))
    for count in counts:
        end = at + _after_digits(found[0], count)
        if ends(text, end):
            return Guess("phone", start, end, 2)
    return None


def _digits(text: str) -> str:
    return "".join(sign for sign in text if sign.isdigit())


def _after_digits(text: str, count: int) -> int:
    """Return the place behind the digit number `count`."""
    return [at for at, sign in enumerate(text) if sign.isdigit()][count - 1] + 1


_BY_LENGTH: Final[Mapping[int, tuple[tuple[Kind, _Guesser], ...]]] = MappingProxyType(
    {
        2: (("steuer_id", _steuer_id), ("cvr", _cvr)),
        3: (("nhs", _nhs),),
        4: (("card", _card), ("cvr", _cvr)),
        6: (
            ("fodselsnummer", _fodselsnummer),
            ("cpr", _cpr),
            ("personnummer", _personnummer),
            ("kennitala", _kennitala),
        ),
        8: (("personnummer", _personnummer), ("cvr", _cvr)),
        10: (("cpr", _cpr), ("personnummer", _personnummer), ("kennitala", _kennitala), ("nhs", _nhs)),
        11: (("fodselsnummer", _fodselsnummer), ("steuer_id", _steuer_id)),
        12: (("personnummer", _personnummer),),
        **dict.fromkeys(range(13, 20), (("card", _card),)),
    }
)
"""Who can begin with a group of so many digits; a phone number can with any."""

"""Says whether digits can be a card, an account or a person's number: check digits and dates, nothing else.

Every function takes text that has been cut to its digits (letters too where the number has some), and returns False for
anything of another length. None reads a clock: a date only has to exist. O(1) each.
Sources: ISO/IEC 7812-1 (Luhn); ISO 13616 and the SWIFT IBAN registry (lengths); CPR-kontoret, "Personnummeret i CPR"
(centuries; since 2007 numbers whose check digit does not fit are given out too); Erhvervsstyrelsen (CVR); Skatteetaten,
"Fødselsnummer" (D-numbers too); Skatteverket SKV 704 (coordination numbers too); DVV, "Personal identity code" (signs of
2023 too); Þjóðskrá, "Kennitala"; BZSt, "Steuerliche Identifikationsnummer" (ISO 7064 MOD 11,10); NHS Data Dictionary.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from types import MappingProxyType
from typing import Final

_IBANS: Final = (
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 ES24 "
    "FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 "
    "LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 "
    "RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30"
)
IBAN_LENGTHS: Final[Mapping[str, int]] = MappingProxyType({one[:2]: int(one[2:]) for one in _IBANS.split()})

_CARD_LENGTHS: Final[Mapping[str, frozenset[int]]] = MappingProxyType(
    {
        "34": frozenset({15}),
        "37": frozenset({15}),
        "30": frozenset({14}),
        "36": frozenset({14}),
        "38": frozenset({14}),
        "39": frozenset({14}),
        "35": frozenset({16}),
        "62": frozenset({16, 17, 18, 19}),
        "4": frozenset({13, 16, 19}),
        "5": frozenset({16}),
        "6": frozenset({16, 18, 19}),
        "2": frozenset({16}),
    }
)
"""By how a number begins, the longest beginning first: American Express, Diners, JCB, UnionPay, Visa, Mastercard and Dankort,
Maestro and Discover."""

_HETU_SIGNS: Final = "0123456789ABCDEFHJKLMNPRSTUVWXY"
_HETU_CENTURIES: Final[Mapping[str, int]] = MappingProxyType(
    {"+": 1800, **dict.fromkeys("-YXWVU", 1900), **dict.fromkeys("ABCDEF", 2000)}
)


def is_luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of ISO/IEC 7812-1."""
    doubled = sum(sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (doubled + sum(map(int, digits[-1::-2]))) % 10 == 0


def is_card(digits: str) -> bool:
    """Whether it is as long as its issuer's numbers are, and its check digit is right."""
    begins = digits[:2] if digits[:2] in _CARD_LENGTHS else digits[:1]
    return len(digits) in _CARD_LENGTHS.get(begins, ()) and is_luhn(digits)


def is_iban(text: str) -> bool:
    """Whether it is as long as its country's are, and its check digits are right. text: capitals and digits, of any script."""
    if len(text) != IBAN_LENGTHS.get(text[:2]) or not text.isascii():
        return False
    return int("".join(str(int(sign, 36)) for sign in text[4:] + text[:4])) % 97 == 1


def cpr_date(digits: str) -> bool:
    """Whether a Danish CPR's date exists in the century that its seventh digit says."""
    if len(digits) != 10:
        return False
    year, seventh = int(digits[4:6]), digits[6]
    if seventh in "0123":
        century = 1900
    elif seventh in "49":
        century = 2000 if year <= 36 else 1900
    else:
        century = 2000 if year <= 57 else 1800
    return _is_date(century + year, digits[2:4], digits[:2])


def is_cpr(digits: str) -> bool:
    """Whether a Danish CPR's check digit is right, as all were until 2007. Its date is cpr_date's to judge."""
    return len(digits) == 10 and _weighed(digits, (4, 3, 2, 7, 6, 5, 4, 3, 2, 1)) == 0


def is_cvr(digits: str) -> bool:
    """Whether it can be a Danish company's number."""
    return len(digits) == 8 and digits[0] != "0" and _weighed(digits, (2, 7, 6, 5, 4, 3, 2, 1)) == 0


def is_fodselsnummer(digits: str) -> bool:
    """Whether it can be a Norwegian's number: both check digits, and a date (D-numbers add 40 to the day, H-numbers to the
    month).
    """
    if len(digits) != 11 or _weighed(digits[:10], (3, 7, 6, 1, 8, 9, 4, 5, 2, 1)):
        return False
    if _weighed(digits, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1)):
        return False
    return _in_some_century(digits[4:6], _less(digits[2:4], 40), _less(digits[:2], 40))


def is_personnummer(digits: str) -> bool:
    """Whether it can be a Swede's number, of ten digits or twelve: date (coordination numbers add 60 to the day), Luhn."""
    short = digits[-10:]
    if len(digits) not in {10, 12} or not is_luhn(short):
        return False
    day = _less(short[4:6], 60)
    if len(digits) == 12:
        return digits[:2] in {"18", "19", "20"} and _is_date(int(digits[:4]), short[2:4], day)
    return _in_some_century(short[:2], short[2:4], day)


def is_hetu(text: str) -> bool:
    """Whether it can be a Finn's number: DDMMYY, a sign for the century, three digits, a sign. text: in capitals."""
    if len(text) != 11 or text[6] not in _HETU_CENTURIES:
        return False
    digits = text[:6] + text[7:10]
    if not (digits.isascii() and digits.isdigit()) or _HETU_SIGNS[int(digits) % 31] != text[10]:
        return False
    return _is_date(_HETU_CENTURIES[text[6]] + int(digits[4:6]), digits[2:4], digits[:2])


def is_kennitala(digits: str) -> bool:
    """Whether it can be an Icelander's number: date (companies add 40 to the day), check digit, century."""
    if len(digits) != 10 or digits[9] not in "890" or _weighed(digits[:9], (3, 2, 7, 6, 5, 4, 3, 2, 1)):
        return False
    century = {"8": 1800, "9": 1900, "0": 2000}[digits[9]]
    return _is_date(century + int(digits[4:6]), digits[2:4], _less(digits[:2], 40))


def is_steuer_id(digits: str) -> bool:
    """Whether it can be a German's tax number: one digit of the first ten comes two or three times, and ISO 7064 MOD 11,10."""
    if len(digits) != 11 or digits[0] == "0":
        return False
    times = sorted(Counter(digits[:10]).values(), reverse=True)
    if times[0] not in {2, 3} or times[1] != 1:
        return False
    left = 10
    for digit in digits[:10]:
        left = ((left + int(digit)) % 10 or 10) * 2 % 11
    return (11 - left) % 10 == int(digits[10])


def is_nhs(digits: str) -> bool:
    """Whether it can be a patient's number in England."""
    return len(digits) == 10 and _weighed(digits, (10, 9, 8, 7, 6, 5, 4, 3, 2, 1)) == 0


def _weighed(digits: str, weights: Sequence[int]) -> int:
    return sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=True)) % 11


def _less(part: str, extra: int) -> str:
    """A day or month without what marks a special number."""
    return str(int(part) - extra) if int(part) > extra else part


def _in_some_century(year: str, month: str, day: str) -> bool:
    """Whether a date with a year of two digits exists; of the centuries in question only 1900 lacks a leap day."""
    return _is_date(2000 + int(year), month, day)


def _is_date(year: int, month: str, day: str) -> bool:
    try:
        date(year, int(month), int(day))
    except ValueError:
        return False
    return True

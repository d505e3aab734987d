"""Names what counts as personal, and the words that speak for each kind when digits alone do not.

A word counts when it stands shortly before the number, or names the member that holds it ("cpr": "…"). Words are those
of Danish, Norwegian, Swedish, Finnish, Icelandic, German and English. Nothing here decides; core/privacy/numbers.py does.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Final, Literal, TypeAlias, get_args

import msgspec

Kind: TypeAlias = Literal[
    "secret",
    "email",
    "iban",
    "ip",
    "card",
    "fodselsnummer",
    "hetu",
    "cpr",
    "personnummer",
    "kennitala",
    "steuer_id",
    "nhs",
    "cvr",
    "phone",
]

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
"""Every kind there is; of two that fit as well, the first."""

ALL: Final = frozenset(KINDS)

NEAR_CHARACTERS: Final = 40
"""How far before a number a word may stand: "telefonnummeret til vores kontor er" has 36."""

WORDS_BEFORE: Final = 6
"""And no more words than this lie between."""

_WORD = re.compile(r"[^\W\d_]+")


class Words(msgspec.Struct, frozen=True):
    """What speaks for a kind: whole words, and how longer ones begin ("mobil": mobilnummer, mobiltelefon)."""

    whole: frozenset[str]
    begins: tuple[str, ...] = ()


WORDS: Final[Mapping[Kind, Words]] = MappingProxyType(
    {
        "phone": Words(
            frozenset(
                {"tel", "tlf", "tlfnr", "telnr", "tfn", "mob", "mobnr", "gsm", "fax", "ring", "sms", "whatsapp", "sími"}
            ),
            ("telefon", "telephon", "phone", "mobil", "puhelin", "rufnummer", "handynummer", "cellphone"),
        ),
        "cpr": Words(frozenset({"cpr", "cprnr", "cprnummer"}), ("personnum", "personnr", "cpr")),
        "cvr": Words(frozenset({"cvr", "cvrnr", "vat", "moms"}), ("cvr", "momsn", "virksomhedsn")),
        "fodselsnummer": Words(frozenset({"fnr", "dnr"}), ("fødsels", "fodsels", "personnum", "personnr")),
        "personnummer": Words(frozenset({"pnr"}), ("personnum", "personnr", "samordning")),
        "kennitala": Words(frozenset({"kt"}), ("kennitala", "kennitölu")),
        "steuer_id": Words(frozenset({"idnr", "tin", "steuerid"}), ("steuer", "identifikationsnummer")),
        "nhs": Words(frozenset({"nhs"}), ("patient",)),
    }
)


def words_before(text: str, at: int, before: str = "") -> list[str]:
    """Return the words that stand shortly before `at`, in small letters; `before` is what comes before the text. O(1)."""
    near = text[max(0, at - NEAR_CHARACTERS) : at]
    if len(near) < NEAR_CHARACTERS and before:
        near = f"{before[-NEAR_CHARACTERS:]} {near}"
    return _WORD.findall(near.lower())[-WORDS_BEFORE:]


def spoken_for(words: Sequence[str]) -> frozenset[Kind]:
    """Return the kinds that the last of `words` speaks for which speaks for any ("tlf. 20304050, cpr" is about a CPR)."""
    for word in reversed(words):
        kinds = frozenset(kind for kind, told in WORDS.items() if word in told.whole or word.startswith(told.begins))
        if kinds:
            return kinds
    return frozenset()


def chosen(names: Collection[str]) -> frozenset[Kind]:
    """Return the kinds that a config names: "all", and no name, stand for every one. A name that is none is passed over."""
    return ALL if not names or "all" in names else frozenset(kind for kind in KINDS if kind in names)

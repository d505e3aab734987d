"""Finds everything personal in one text: a quick look that nearly every text passes, then a close one.

The quick look is one pattern for all kinds, by google-re2 where the extra `pii` is installed (about 4 µs for a kilobyte
that holds nothing), else by `re` (0.1 ms). Only where it sees something are the kinds looked for one by one. Every step is
linear in the text, whatever it holds: patterns are bounded or begin at a fixed sign, and nothing that was found, or
refused, is looked at again.
Rules: nothing that is found holds a quote, a backslash or a control character, so it may stand anywhere in a JSON text as
it is. Of two that overlap the one that begins first counts, and of those the first of KINDS.
Source: DEPENDENCIES §12; RFC 5321 §4.5.3.1 (lengths of an address).
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from importlib.util import find_spec
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network
from types import ModuleType
from typing import Final

import msgspec

from turnout.core.privacy.checksums import IBAN_LENGTHS, is_iban
from turnout.core.privacy.credentials import CREDENTIAL, credentials
from turnout.core.privacy.kinds import ALL, KINDS, Kind, words_before
from turnout.core.privacy.numbers import LONG_RUN, Guess, begins, ends, numbers

ENGINE: Final = importlib.import_module("re2" if find_spec("re2") else "re")
"""What does the quick look."""

SLICE: Final = 64 * 1024
"""A longer text is looked at in slices of so many characters: a search gives the interpreter away only between two of them,
and 10 MiB at a stretch would hold up everybody for 0.1 s, thread or not. Source: RELIABILITY F17, I8."""

LONGEST: Final = 16 * 1024
"""What begins in a slice may end so far behind it: tokens and private keys have 4 KiB."""

NEAR: Final = 128
"""What is seen of the text before a slice: an address's first part, the words before a number."""

_LOCAL_CHARACTERS: Final = 64
_DOMAIN_CHARACTERS: Final = 254

_NOT_LOCAL = re.compile(r"[^\w.%+'~-]")
"""What an address rather ends at than holds: RFC 5322 allows more, but `mail=a@b.dk` and `users/a@b.dk` are what is written."""

_NOT_FIRST: Final = "%'~.-"
"""Signs that may begin an address, but rather stand before it."""

_DOMAIN = re.compile(r"(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}(?:xn--[a-z0-9-]{2,59}(?<!-)|[^\W\d_]{2,24})")
_IBAN = re.compile(r"[A-Za-z]{2}[0-9]{2}")
_IPV4 = re.compile(r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}")
_IPV6 = re.compile(r"(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}")
_VERSIONS: Final = frozenset({"v", "version", "versions", "ver", "release", "udgave"})
_NOBODYS: Final = tuple(
    map(IPv4Network, ("0.0.0.0/8", "10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"))
)
_NOBODYS_6: Final = tuple(map(IPv6Network, ("::/127", "fc00::/7", "fe80::/10")))
"""This machine, and networks that everybody has one of: such an address says nothing of whose it is."""


class Look:
    """One pattern that says whether there is anything. engine: `re2` or `re`."""

    __slots__ = ("_search",)

    def __init__(self, pattern: str, engine: ModuleType = ENGINE) -> None:
        self._search: Callable[[str], object] = engine.compile(pattern).search

    def sees(self, text: str) -> bool:
        """Whether a closer look is worth it. Never raises."""
        try:
            return self._search(text) is not None
        except UnicodeEncodeError:  # half of a surrogate pair, which UTF-8 (and so RE2) has no bytes for
            return True


class _Family(msgspec.Struct, frozen=True):
    """Kinds that are found together. pattern: without which there is none of them."""

    kinds: frozenset[Kind]
    pattern: str
    scan: Callable[[str, Collection[Kind], str], Iterable[Guess]]


def find(text: str, kinds: Collection[Kind] = ALL, before: str = "") -> list[Guess]:
    """Return what is personal in `text`, in order, none within another.

    before: words that come before it, such as the name of the member that holds it. O(len(text)), never raises.
    """
    if len(text) <= SLICE + LONGEST:
        return _find(text, kinds, before)
    out: list[Guess] = []
    over = 0
    for at in range(0, len(text), SLICE):
        first = max(0, at - NEAR)
        for guess in _find(text[first : at + SLICE + LONGEST], kinds, "" if at else before):
            start, end = guess.start + first, guess.end + first
            if max(at, over) <= start < at + SLICE:
                out.append(Guess(guess.kind, start, end, guess.score))
                over = end
    return out


def _find(text: str, kinds: Collection[Kind], before: str) -> list[Guess]:
    """What `find` does, for a text that is not long."""
    if not _ANY.sees(text):
        return []
    found = [
        guess
        for family, look in _LOOKS
        if not family.kinds.isdisjoint(kinds) and look.sees(text)
        for guess in family.scan(text, kinds, before)
    ]
    found.sort(key=lambda guess: (guess.start, KINDS.index(guess.kind)))
    out: list[Guess] = []
    over = 0
    for guess in found:
        if guess.start < over:
            continue
        out.append(guess)
        over = guess.end
    return out


def _secrets(text: str, _kinds: Collection[Kind], _before: str) -> Iterator[Guess]:
    for start, end in credentials(text):
        yield Guess("secret", _after_escape(text, start), end, 3)


def _emails(text: str, _kinds: Collection[Kind], _before: str) -> Iterator[Guess]:
    at = text.find("@")
    while at >= 0:
        domain = _DOMAIN.match(text, at + 1, at + 1 + _DOMAIN_CHARACTERS)
        if domain is not None:
            first = max(0, at - _LOCAL_CHARACTERS)
            broken = [found.end() for found in _NOT_LOCAL.finditer(text, first, at)]
            local = text[broken[-1] if broken else first : at].lstrip(_NOT_FIRST)
            start = _after_escape(text, at - len(local))
            if start < at:
                yield Guess("email", start, domain.end(), 3)
        at = text.find("@", at + 1)


def _after_escape(text: str, start: int) -> int:
    """Behind a backslash the first letter belongs to an escape: the text is JSON, or code."""
    return start + 1 if text[start - 1 : start] == "\\" else start


def _ibans(text: str, _kinds: Collection[Kind], _before: str) -> Iterator[Guess]:
    over = 0
    for found in _IBAN.finditer(text):
        start = found.start()
        length = IBAN_LENGTHS.get(found[0][:2].upper())
        if start < over or length is None or not begins(text, start):
            continue
        end = _behind(text, start, length)
        if end and ends(text, end) and is_iban(text[start:end].replace(" ", "").upper()):
            yield Guess("iban", start, end, 3)
            over = end


def _behind(text: str, start: int, count: int) -> int:
    """Return the place behind `count` letters and digits, single spaces not counted; 0 if there are not so many."""
    end = start
    while count and end < len(text) and (text[end].isalnum() or text[end] == " "):
        count -= text[end] != " "
        end += 1
    return 0 if count else end


def _addresses(text: str, _kinds: Collection[Kind], before: str) -> Iterator[Guess]:
    for found in _IPV4.finditer(text):
        start, end = found.span()
        if not begins(text, start) or not ends(text, end):
            continue
        if _is_somebodys(found[0]) and _VERSIONS.isdisjoint(words_before(text, start, before)[-2:]):
            yield Guess("ip", start, end, 2)
    for found in _IPV6.finditer(text):
        start, end = found.span()
        is_whole = text[start - 1 : start] != ":" != text[end : end + 1] and begins(text, start) and ends(text, end)
        if is_whole and any(sign.isdigit() for sign in found[0]) and _is_somebodys(found[0]):
            yield Guess("ip", start, end, 2)


def _is_somebodys(written: str) -> bool:
    """Whether it is an address, and one that tells whose."""
    try:
        if ":" in written:
            six = IPv6Address(written)
            return len(written) > len("1::1") and not any(six in network for network in _NOBODYS_6)
        four = IPv4Address(written)
    except AddressValueError:
        return False
    return not any(four in network for network in _NOBODYS)


_FAMILIES: Final = (
    _Family(frozenset({"secret"}), CREDENTIAL, _secrets),
    _Family(frozenset({"email"}), r"[^\s@]@[^\s@]", _emails),
    _Family(frozenset({"iban"}), "[A-Za-z]{2}[0-9]{2}(?: ?[A-Za-z0-9]{4}){2}", _ibans),
    _Family(
        frozenset({"ip"}),
        r"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]|[0-9A-Fa-f]{1,4}::?[0-9A-Fa-f]{1,4}:|::[0-9A-Fa-f]",
        _addresses,
    ),
    _Family(
        ALL - {"secret", "email", "iban", "ip"}, f"{LONG_RUN}|[0-9]{{6}}[-+A-FU-Ya-fu-y][0-9]{{3}}[0-9A-Ya-y]", numbers
    ),
)
_LOOKS: Final = tuple((family, Look(family.pattern)) for family in _FAMILIES)
_ANY: Final = Look("|".join(family.pattern for family in _FAMILIES))

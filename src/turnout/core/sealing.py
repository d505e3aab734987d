"""Seals what is kept secret at rest: AES-256-GCM under a key of its own for each purpose, bound to where it belongs.

From one root key every purpose gets another key (HKDF-SHA256 with the purpose as its label), so that what was sealed for
one is nothing to another (CVE-2026-114612: one "salt key" for several purposes). The record's name and the origin that the
secret may go to are authenticated with it: what is copied to another row, or whose address was changed, does not open
(RELIABILITY R8, R10; CVE-2024-6587, CVE-2026-41487). A sealed text says which root key it was sealed with, by four bytes
that tell nothing of that key, so that a wrong one is told from a broken text.
Form: one byte of version, four of the root key's name, twelve of nonce, the ciphertext, sixteen of tag.
The nonce is an argument: twelve random bytes, of which 2^32 may be used with one key (NIST SP 800-38D §8.3).
Sources: RFC 5869, NIST SP 800-38D; docs/adr/0017-sealing-with-cryptography.md.
"""

from __future__ import annotations

from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

NONCE_BYTES: Final = 12
ROOT_BYTES: Final = 16
"""A root key is at least so long: 128 bits (RELIABILITY R10)."""

_VERSION: Final = b"\x01"
_LABEL: Final = b"turnout.v1."
_NAME_BYTES: Final = 4
_HEAD_BYTES: Final = len(_VERSION) + _NAME_BYTES + NONCE_BYTES
_TAG_BYTES: Final = 16


class Unreadable(msgspec.Struct, frozen=True):
    """Why a sealed text was not opened. It holds nothing of it."""

    why: str


class Sealer:
    """Seals and opens for one purpose. About 2 µs for a short text, and 1 µs for every 2 kB."""

    __slots__ = ("_cipher", "_name", "_purpose")

    def __init__(self, root: bytes, purpose: str) -> None:
        """root: the root key, at least ROOT_BYTES of it, else ValueError. purpose: as in "provider secret"; never reused."""
        if len(root) < ROOT_BYTES:
            raise ValueError(f"a root key has at least {ROOT_BYTES} bytes")
        self._purpose = purpose
        self._cipher = AESGCM(derived(root, f"seal.{purpose}"))
        self._name = derived(root, "name")[:_NAME_BYTES]

    def seal(self, plain: bytes, nonce: bytes, record: str, origin: str = "") -> bytes:
        """Return `plain` sealed. record: the row it stands in. origin: where alone it may be sent, "" for nowhere.

        nonce: twelve random bytes, never twice.
        """
        return _VERSION + self._name + nonce + self._cipher.encrypt(nonce, plain, self._bound(record, origin))

    def open(self, sealed: bytes, record: str, origin: str = "") -> bytes | Unreadable:
        """Return what was sealed for this purpose, record and origin; or why that cannot be."""
        if len(sealed) < _HEAD_BYTES + _TAG_BYTES or sealed[:1] != _VERSION:
            return Unreadable("this is no sealed text, or a newer Turnout's")
        if sealed[1 : 1 + _NAME_BYTES] != self._name:
            return Unreadable("it was sealed with another root key (TURNOUT_ROOT_KEY, or root.key in TURNOUT_HOME)")
        nonce = sealed[1 + _NAME_BYTES : _HEAD_BYTES]
        try:
            return self._cipher.decrypt(nonce, sealed[_HEAD_BYTES:], self._bound(record, origin))
        except InvalidTag:
            return Unreadable("it was changed, or sealed for another record or origin")

    def _bound(self, record: str, origin: str) -> bytes:
        return msgspec.json.encode([self._purpose, record, origin])  # as JSON: no name runs into the next

    def __repr__(self) -> str:
        return f"Sealer({self._purpose!r})"


def derived(root: bytes, label: str) -> bytes:
    """Return 32 bytes that are `label`'s alone. root: the root key. About 10 µs."""
    return HKDF(SHA256(), length=32, salt=None, info=_LABEL + label.encode()).derive(root)

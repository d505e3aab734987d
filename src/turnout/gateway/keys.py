"""Guards the door: the master key, made on first start, shown once, kept as a keyed hash.

A key is 256 random bits, so a fast keyed hash (BLAKE2b with a pepper of its own) is enough: there is nothing to guess
(DEPENDENCIES §13). The hash is looked up, never the text; a key in the environment is checked for weakness by `config`.
"""

from __future__ import annotations

import hashlib
import hmac

from turnout.core.secret import Secret
from turnout.gateway.clock import Clock
from turnout.stores import StateStore

PREFIX = "sk-turnout-"
_PEPPER = "key.pepper"
_HASH = "key.master"


class Principal:
    """Who asks. key_id: a stable name for a rollout's bucket and the books; "" for the master key, which is nobody."""

    __slots__ = ("is_admin", "key_id")

    def __init__(self, key_id: str, *, is_admin: bool) -> None:
        self.key_id = key_id
        self.is_admin = is_admin


MASTER = Principal("", is_admin=True)


class KeyRing:
    """Knows which keys open the door. Checking one costs about 1.5 µs and takes the same time for right and wrong."""

    __slots__ = ("_master", "_pepper")

    def __init__(self, pepper: bytes, master: bytes) -> None:
        self._pepper = pepper
        self._master = master

    def check(self, key: bytes) -> Principal | None:
        """Return whom `key` proves, None if nobody. An empty key proves nothing."""
        if key and hmac.compare_digest(_hash(key, self._pepper), self._master):
            return MASTER
        return None


def _hash(key: bytes, pepper: bytes) -> bytes:
    return hashlib.blake2b(key, digest_size=32, key=pepper, person=b"turnout.key").digest()


def open_ring(store: StateStore, clock: Clock, given: Secret | None, *, renew: bool = False) -> tuple[KeyRing, str]:
    """Return the ring, and the master key's text if it was made now (to be shown once), else "".

    given: the key from the environment or config: it alone holds while it is given, and is not stored.
    renew: make a new one although one exists (the old one is refused from then on). Raises StoreError.
    """
    pepper = store.get_fact(_PEPPER)
    if pepper is None:
        pepper = clock.token().encode()
        store.put_fact(_PEPPER, pepper)
    if given:
        return KeyRing(pepper, _hash(given.reveal().encode(), pepper)), ""
    master = store.get_fact(_HASH)
    if master is not None and not renew:
        return KeyRing(pepper, master), ""
    text = PREFIX + clock.token()
    master = _hash(text.encode(), pepper)
    store.put_fact(_HASH, master)
    return KeyRing(pepper, master), text

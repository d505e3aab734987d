"""Guards the door: who holds which key, in memory, as keyed hashes; and the master key, made on first start and shown once.

A key is 256 random bits, so a fast keyed hash (BLAKE2b with a pepper of its own) is enough: there is nothing to guess
(DEPENDENCIES §13). The hash is looked up, never the text, so a look-up takes the same time for right and wrong, and a flood
of wrong ones asks no database and leaves nothing. A key in the environment is checked for weakness by `config`.

What is held of a key is never changed, only replaced, and only by what has a higher revision: what was read before a key was
revoked cannot bring it back, however late it comes (RELIABILITY F13). Nobody writes back what is held.
Whether a key is *unknown* is known only as far as the books were followed (gateway/following.py): once they have not been
reached for longer than UNSURE_S, a key that is not held is told to come again (503), and those that are held go on.
Cost: 2 µs for a key without conditions.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from math import inf
from typing import Final

import msgspec

from turnout.core.books.keys import Admin, Holder, Key
from turnout.core.principal import ADMIN, MASTER, Principal
from turnout.core.resolving import resolve
from turnout.core.sealing import derived
from turnout.core.secret import Secret
from turnout.errors import GatewayError, PermissionDenied, StoreError, Unauthenticated
from turnout.gateway.clock import Clock
from turnout.stores import StateStore

PREFIX = "sk-turnout-"
ADMIN_PREFIX = "sk-turnout-admin-"
"""So that whoever finds one in a file sees what it opens."""

UNSURE_S = 1.0
"""How old what we know of the books may be, in seconds, before an unknown key may be one that we have not heard of."""

resolve(Admin, Holder, Key)

_LABEL: Final = "keys"
_PEPPER = "key.pepper"
_HASH = "key.master"
_UNKNOWN: Final = (
    "This key is not known here. Make one with `turnout keys create`; the master key is the one that `turnout serve` showed "
    "on its first start, or TURNOUT_MASTER_KEY."
)


class Door(msgspec.Struct, frozen=True):
    """What one text of a key opens. until: Unix seconds. networks: from where, () for everywhere.

    refusal: why it opens nothing, "" if it does.
    """

    principal: Principal
    until: float
    networks: tuple[object, ...]
    refusal: str


class Master(msgspec.Struct, frozen=True):
    """The master key as it is kept: its hash, and the pepper of this home that it is keyed with."""

    pepper: bytes
    hash: bytes


class KeyRing:
    """Knows which keys open the door. pepper: what the hashes of all but the master key are keyed with; gateways that share
    books share it, as it comes from their root key.
    """

    __slots__ = ("_clock", "_doors", "_held", "_master", "followed_at", "pepper", "unreadable")

    def __init__(self, pepper: bytes, master: Master, clock: Clock) -> None:
        self.pepper = pepper
        self._master = master
        self._clock = clock
        self._doors: dict[bytes, Door] = {}
        self._held: dict[tuple[str, bool], Holder] = {}
        self.unreadable: frozenset[tuple[str, str]] = frozenset()
        """Whose limits or budgets cannot be read, by scope and name: keys that have them are refused."""
        self.followed_at = inf
        """When the books were last read to their end, monotonic; inf: nobody follows any, and there are no other keys."""

    def __len__(self) -> int:
        return len(self._held)

    def check(self, key: bytes, address: str = "") -> Principal:
        """Return whom `key` proves. address: where its request comes from, "" if that is not known.

        Raises Unauthenticated (unknown, revoked, expired), PermissionDenied (blocked, from elsewhere), or StoreError if it
        may be one that we have not heard of. An empty key proves nothing.
        """
        door = self._doors.get(key_hash(key, self.pepper))
        if door is None:
            if key and hmac.compare_digest(key_hash(key, self._master.pepper), self._master.hash):
                return MASTER
            raise self._unknown()
        if door.refusal or door.networks or self.unreadable or door.until <= self._clock.wall():
            self._look_closely(door, address)
        return door.principal

    def whose(self, key: bytes) -> Principal | None:
        """Return whom a key that was refused is of, None if that is nobody known. It proves nothing: it may be revoked. 2 µs."""
        door = self._doors.get(key_hash(key, self.pepper))
        return None if door is None else door.principal

    def _unknown(self) -> GatewayError:
        if self._clock.now() - self.followed_at > UNSURE_S:
            return StoreError(
                "The books cannot be reached, or are not this gateway's (its log says which), so it is not known whether this"
                " key is one of ours.",
                retry_after_s=1.0,
            )
        return Unauthenticated(_UNKNOWN)

    def _look_closely(self, door: Door, address: str) -> None:
        if door.refusal:
            raise Unauthenticated(f"This key opens nothing: {door.refusal}.")
        if self.unreadable and (whose := self._unreadable(door.principal)):
            raise Unauthenticated(
                f"This key opens nothing: the limits or budgets of {whose} cannot be read in the books."
            )
        if door.until <= self._clock.wall():
            when = datetime.fromtimestamp(door.until, UTC).strftime("%Y-%m-%d %H:%M UTC")
            raise Unauthenticated(f"This key was valid until {when}. {_way_out(door)}")
        if not _is_from(address, door.networks):
            raise PermissionDenied("This key is not to be used from your address.")

    def _unreadable(self, who: Principal) -> str:
        scopes = (("key", who.key_id), ("user", who.user), ("workspace", who.workspace), ("team", who.team))
        return next((" ".join(one) for one in scopes if one in self.unreadable), "")

    def learn(self, holders: Iterable[Holder]) -> None:
        """Take what is new of these; what is older than what is held is left out. 5 µs each."""
        for holder in holders:
            who = (holder.id, holder.role == "key")
            held = self._held.get(who)
            if held is not None:
                if held.revision >= holder.revision:
                    continue
                self._doors.pop(held.hash, None)
                if held.old_hash is not None:
                    self._doors.pop(held.old_hash, None)
            self._held[who] = holder
            self._doors.update(_doors(holder))


def _way_out(door: Door) -> str:
    """What helps somebody whose key is past its time: a text that was replaced is another thing than a key that expired."""
    who = door.principal
    if door.until != who.grant.expires_at:
        return "It was given another text since: use that one."
    if who.role == "key":
        return f"`turnout keys change {who.key_id} --expires …` lets it hold longer; a new text would not."
    return "An owner can revoke it and make another: `turnout admins create`."


def _doors(holder: Holder) -> Iterable[tuple[bytes, Door]]:
    grant = holder.grant
    id_ = holder.id if holder.role == "key" else f"{ADMIN}{holder.id}"
    principal = Principal(id_, holder.role, holder.user, holder.workspace, holder.team, holder.tier, grant)
    networks = tuple(ip_network(text, strict=False) for text in grant.addresses)
    until = inf if grant.expires_at is None else grant.expires_at
    if holder.old_hash is not None:
        yield holder.old_hash, Door(principal, min(until, holder.old_until), networks, holder.refusal)
    yield holder.hash, Door(principal, until, networks, holder.refusal)


def _is_from(address: str, networks: tuple[object, ...]) -> bool:
    """Whether an address lies in one of the networks, or there are none. An IPv4 address in IPv6's clothes is the former."""
    if not networks:
        return True
    try:
        found: IPv4Address | IPv6Address = ip_address(address)
    except ValueError:  # a Unix socket's, or none
        return False
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return any(found in network for network in networks)  # type: ignore[operator]


def key_hash(key: bytes, pepper: bytes) -> bytes:
    """Return what is kept of a key. 0.75 µs."""
    return hashlib.blake2b(key, digest_size=32, key=pepper, person=b"turnout.key").digest()


def pepper_of(root: bytes) -> bytes:
    """Return what the hashes of keys are keyed with. root: the root key (gateway/vault.py)."""
    return derived(root, _LABEL)


def open_ring(
    store: StateStore, clock: Clock, given: Secret | None, root: bytes, *, renew: bool = False
) -> tuple[KeyRing, str]:
    """Return the ring, and the master key's text if it was made now (to be shown once), else "".

    given: the key from the environment or config: it alone holds while it is given, and is not stored.
    root: the root key (gateway/vault.py). renew: make a new one although one exists (the old one is refused from then on).
    Raises StoreError.
    """
    own = store.get_fact(_PEPPER)
    if own is None:
        own = clock.token().encode()
        store.put_fact(_PEPPER, own)
    pepper = pepper_of(root)
    if given:
        return KeyRing(pepper, Master(own, key_hash(given.reveal().encode(), own)), clock), ""
    kept = store.get_fact(_HASH)
    if kept is not None and not renew:
        return KeyRing(pepper, Master(own, kept), clock), ""
    text = PREFIX + clock.token()
    master = Master(own, key_hash(text.encode(), own))
    store.put_fact(_HASH, master.hash)
    return KeyRing(pepper, master, clock), text

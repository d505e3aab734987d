"""Keeps providers' keys that were given to `turnout secrets set`: sealed in the books, open in memory, each for one origin.

The root key is TURNOUT_ROOT_KEY, else the file root.key in TURNOUT_HOME, made on first use, readable by its owner alone.
Gateways that share books share it. A stored key is put into the account of its name, where the config gives none, as long as
the account's base_url has the scheme, host and port that the key was given for, and the same proxy and own certificates. Else it is not even opened (the origin is
part of the seal), nobody is asked at that account, and what is said is to give the key again: who can change an address
must not thereby get the key sent there (RELIABILITY R8, T93; CVE-2024-6587, CVE-2026-41487).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from turnout.config.accounts import origin_of
from turnout.config.environment import Environment
from turnout.config.rollouts import with_account
from turnout.config.secrets import is_sendable
from turnout.core.books.audit import Record, recorded
from turnout.core.books.root import known, leave, mark_of, renew
from turnout.core.books.secrets import SealedKey, kept, put, remove
from turnout.core.catalog import Account, Snapshot
from turnout.core.contracts import Provider
from turnout.core.sealing import NONCE_BYTES, ROOT_BYTES, Sealer, Unreadable
from turnout.core.secret import Secret
from turnout.core.secret_strength import weakness
from turnout.errors import ConfigError, InvalidRequest, StoreError
from turnout.gateway.clock import Clock
from turnout.stores import Database

VARIABLE: Final = "TURNOUT_ROOT_KEY"
FILE: Final = "root.key"
PURPOSE: Final = "provider secret"

SHOWN: Final = 20
"""A key at least this long is told by its last four characters."""


def root_key(home: Path, environment: Environment, clock: Clock) -> bytes:
    """Return the root key, made now if there is none. Raises ConfigError for one in the environment that is none,
    StoreError for a file that cannot be trusted.
    """
    given = environment.get(VARIABLE)
    if environment.is_set(VARIABLE):
        if why := weakness(given):
            raise ConfigError((f"{VARIABLE}: the key {why}; use 32 random bytes: openssl rand -hex 32",))
        return given.encode()
    path = home / FILE
    try:
        if not path.exists():
            _make(path, path.with_name(clock.request_id()), clock.token())
        if path.stat().st_mode & 0o077:
            raise StoreError(
                f"{path} can be read by others: `chmod 600 {path}`, and if it was, give all stored keys anew."
            )
        root = path.read_bytes().strip()
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}.") from error
    if len(root) < ROOT_BYTES:
        raise StoreError(
            f"{path} holds no key. Put it back from a backup, or delete it; then `turnout secrets new-root`."
        )
    return root


def root_origin(home: Path, environment: Environment) -> str:
    """Return where the root key is from, in words."""
    return VARIABLE if environment.is_set(VARIABLE) else str(home / FILE)


async def check_root(database: Database, root: bytes, origin: str) -> None:
    """Make sure that the keys in these books were made with this root key; in new books, note that they are.

    origin: where it is from. Raises ConfigError for another one, StoreError where the books cannot be asked.
    """
    ours = mark_of(root)
    there = await database.read(known) or await database.write(lambda: leave(ours))
    if there != ours:
        problem = (
            f"{origin}: the keys in these books were made with another root key, so none would open, and no stored key of a"
            f" provider. Put that one back: {VARIABLE}, or {FILE} in TURNOUT_HOME, as it is on other gateways of these"
            " books or in a backup. If it is lost: `turnout secrets new-root` goes on with this one, then rotate all keys."
        )
        raise ConfigError((problem,))


async def renew_root(database: Database, root: bytes, record: Record) -> bool:
    """Let these books go by this root key, with its row of the audit trail; return whether they did not before.

    What was made with the one before opens nothing any more. Raises StoreError.
    """
    mark = mark_of(root)
    if await database.read(known) == mark:
        return False
    await database.write(lambda: recorded(renew(mark), lambda _: record))
    return True


def _make(path: Path, draft: Path, text: str) -> None:
    """Write a new file whole or not at all; of several who do so at once, one succeeds."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, text.encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    with suppress(FileExistsError):
        os.link(draft, path)
    draft.unlink()


def nonce(clock: Clock) -> bytes:
    """Return twelve random bytes, for a Sealer."""
    return hashlib.blake2b(clock.token().encode(), digest_size=NONCE_BYTES).digest()


class StoredKey(msgspec.Struct, frozen=True):
    """What may be told of a stored key. state: "in use", or why it is not used."""

    provider: str
    origin: str
    last4: str
    set_at: str
    set_by: str
    state: str


class Vault:
    """The stored keys of these books. Before `load` it knows none, and accounts that need one are asked nothing."""

    def __init__(self, database: Database, root: bytes, clock: Clock, providers: Mapping[str, Provider]) -> None:
        self._database = database
        self._sealer = Sealer(root, PURPOSE)
        self._clock = clock
        self._providers = providers
        self._kept: Mapping[str, SealedKey] = {}

    async def load(self) -> bool:
        """Read what is stored; return whether it is other than before. Raises StoreError."""
        before = self._kept
        self._kept = {key.provider: key for key in await self._database.read(kept)}
        return self._kept != before

    def overlaid(self, snapshot: Snapshot) -> Snapshot:
        """Return `snapshot` with the stored keys in their accounts, and why not where one cannot be used. O(stored keys)."""
        wanted = {name for name, account in snapshot.accounts.items() if account.is_key_stored} | set(self._kept)
        for name in sorted(wanted & set(snapshot.accounts)):
            account = snapshot.accounts[name]
            if account.api_key is None:  # a key that the config gives is the one that holds
                snapshot = with_account(snapshot, self._with_key(account))
        return snapshot

    def _with_key(self, account: Account) -> Account:
        found = self._open(account)
        if isinstance(found, Secret):
            return msgspec.structs.replace(account, api_key=found, is_key_stored=True, key_problem="")
        return msgspec.structs.replace(account, is_key_stored=True, key_problem=found)

    def _open(self, account: Account) -> Secret | str:
        """The key for this account, or why there is none."""
        again = f"`turnout secrets set {account.name}`"
        sealed = self._kept.get(account.name)
        if sealed is None:
            return f"has no stored key: {again}"
        try:
            origin = self.origin(account)
        except InvalidRequest as error:
            return error.message
        if sealed.origin != origin:
            return f"has a stored key that was given for {sealed.origin}, and its address is now {origin}: {again}"
        opened = self._sealer.open(sealed.sealed, account.name, origin)
        if isinstance(opened, Unreadable):
            return f"has a stored key that does not open ({opened.why}): {again}"
        return Secret(opened.decode())

    def origin(self, account: Account) -> str:
        """Return what an account's key is bound to: scheme, host and port; and the proxy and the certificates in the config, by
        which somebody in between could read it. Raises InvalidRequest for an account that is asked over no network.
        """
        address = account.base_url or self._providers[account.kind].base_url
        scheme, host, port = origin_of(address)
        if scheme not in {"http", "https"} or not host:
            raise InvalidRequest(f"{account.name} is not asked over the network, so it needs no key.", param="provider")
        origin = f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
        through = f" through {account.proxy_url}" if account.proxy_url else ""
        trusting = f" trusting {account.ca_file}" if account.ca_file else ""
        return origin + through + trusting

    def listed(self, snapshot: Snapshot) -> list[StoredKey]:
        """Return what may be told of each stored key. snapshot: as configured, or overlaid."""
        return [self._told(key, snapshot.accounts.get(name)) for name, key in sorted(self._kept.items())]

    def _told(self, key: SealedKey, account: Account | None) -> StoredKey:
        last4 = ""
        if account is None:
            state = "no provider of that name is configured"
        elif account.api_key is not None and not account.is_key_stored:
            state = "not used: the config gives this provider a key"
        else:
            found = self._open(account)
            state = found if isinstance(found, str) else "in use"
            if isinstance(found, Secret) and len(found.reveal()) >= SHOWN:
                last4 = found.reveal()[-4:]
        at = datetime.fromtimestamp(key.set_at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        return StoredKey(key.provider, key.origin, last4, at, key.set_by, state)

    async def put(self, account: Account, key: Secret, by: str, record: Callable[[str], Record]) -> str:
        """Keep a key for an account, at the origin that it has now, with its row of the audit trail.

        by: who, in words. record: from the origin of the key that was there before, "" for none, which is returned.
        Raises StoreError, InvalidRequest for what is no key.
        """
        text = key.reveal()
        if not text or len(text) > 4096 or not is_sendable(key):
            raise InvalidRequest("A key is visible characters without spaces, at most 4,096.", param="key")
        origin = self.origin(account)
        sealed = self._sealer.seal(text.encode(), nonce(self._clock), account.name, origin)
        kept_key = SealedKey(account.name, origin, sealed, int(self._clock.wall() * 1000), by)
        return await self._database.write(lambda: recorded(put(kept_key), record))

    async def remove(self, provider: str, record: Callable[[str], Record]) -> str:
        """Forget a key, with its row of the audit trail. Return the origin it was for. Raises InvalidRequest, StoreError."""
        if provider not in self._kept:
            missing = InvalidRequest(f"No key is stored for {provider[:100]!r}.", param="provider")
            missing.status = 404
            raise missing
        return await self._database.write(lambda: recorded(remove(provider), record))

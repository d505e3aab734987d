"""Keeps the keys: virtual keys, which ask models, and the keys of admins, who look at the gateway or change it.

Two tables, so that nothing that is said of a virtual key can ever make it one of the other kind (RELIABILITY §2.1). A key's
text is nowhere here: only its keyed hash, and its last four characters for people. What lists show never has a hash.
A row is never taken away, and every change to it has a revision, from the number of changes: so whoever follows
(gateway/keys.py) learns of a key that was revoked, and cannot take an older state of one for a newer.
A failure is a value, and then nothing was changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from turnout.core.books.changes import latest
from turnout.core.books.people import (
    Changed,
    Kind,
    Rules,
    User,
    Workspace,
    bad_name,
    drop_rules,
    missing,
    moved,
    put_user,
    put_workspace,
    rules_of,
    set_rules,
    unknown,
    users,
)
from turnout.core.books.people import workspaces as known_workspaces
from turnout.core.books.reading import UNREADABLE, grant_in
from turnout.core.books.statements import Row, Sql, Steps
from turnout.core.granting import denied, may_make_people
from turnout.core.principal import Grant, Principal, Role
from turnout.errors import GatewayError, InvalidRequest

AdminRole = Literal["owner", "admin", "viewer"]

DEFAULT_TIER: Final = "default"
"""The tier of whoever was given none. Source: FACTS §6."""

_BROKEN: Final = "its row in the books cannot be read"


class Key(msgspec.Struct, frozen=True):
    """A virtual key, without anything that opens a door. Times: Unix seconds. team: its workspace's.

    old_until: how long the text before the last rotation holds, 0 if it does not.
    """

    id: str
    name: str
    user: str
    workspace: str
    team: str
    tier: str
    grant: Grant
    last4: str
    old_until: float
    created_at: int
    created_by: str
    revoked_at: int | None


class Admin(msgspec.Struct, frozen=True):
    """Who looks at the gateway (viewer), changes it (admin), and says who may (owner). As Key."""

    name: str
    role: AdminRole
    grant: Grant
    last4: str
    old_until: float
    created_at: int
    created_by: str
    revoked_at: int | None


class KeyTold(msgspec.Struct, frozen=True):
    """A virtual key with the limits and budgets that it was given."""

    key: Key
    rules: Rules


class Proof(msgspec.Struct, frozen=True):
    """What is kept of a key's text: its keyed hash (32 bytes), and its end."""

    hash: bytes
    last4: str


class Holder(msgspec.Struct, frozen=True):
    """Whom a key proves, with all that its user and its workspace add to it: what gateway/keys.py keeps in memory.

    id: the virtual key's, or the admin's name. refusal: why it opens nothing, in words; "" if it does. grant: UNREADABLE if
    its row is.
    revision: the number of the change that made it so.
    """

    id: str
    role: Role
    user: str
    workspace: str
    team: str
    tier: str
    grant: Grant
    hash: bytes
    old_hash: bytes | None
    old_until: float
    refusal: str
    revision: int


# ── virtual keys ──


def keys(user: str = "", workspace: str = "", *, with_revoked: bool = False) -> Steps[list[Key]]:
    """Return the virtual keys, newest last; only those of a user or a workspace if one is named."""
    rows = yield Sql(
        "SELECT k.id, k.name, k.person, k.workspace, coalesce(w.team, ''), k.tier, k.narrowed, k.last4, k.old_until,"
        " k.created_at, k.created_by, k.revoked_at FROM virtual_key k LEFT JOIN workspace w ON w.name = k.workspace"
        " WHERE (? = '' OR k.person = ?) AND (? = '' OR k.workspace = ?) AND (? = 1 OR k.revoked_at IS NULL)"
        " ORDER BY k.created_at, k.id",
        (user, user, workspace, workspace, int(with_revoked)),
    )
    return [_key(row) for row in rows]


def find_key(said: str) -> Steps[KeyTold | GatewayError]:
    """Return the virtual key of that id, or the only one of that name that was not revoked."""
    rows = yield Sql(
        "SELECT k.id, k.name, k.person, k.workspace, coalesce(w.team, ''), k.tier, k.narrowed, k.last4, k.old_until,"
        " k.created_at, k.created_by, k.revoked_at FROM virtual_key k LEFT JOIN workspace w ON w.name = k.workspace"
        " WHERE k.id = ? OR (k.name = ? AND k.revoked_at IS NULL) ORDER BY k.id LIMIT 3",
        (said, said),
    )
    found = [_key(row) for row in rows]
    exact = [key for key in found if key.id == said] or found
    if len(exact) > 1:
        ids = ", ".join(key.id for key in exact)
        return _conflict(f"More than one key is named {said[:100]!r} ({ids}): say its id.", "key")
    if not exact:
        return missing("key", said, ())
    rules = yield from rules_of("key", exact[0].id)
    return KeyTold(exact[0], rules)


def add_key(key: Key, proof: Proof, rules: Rules, by: Principal) -> Steps[Changed | GatewayError]:
    """Make a virtual key, and its user and workspace where they are new and `by` may make them (`Changed.new`).

    by: who does, and may give no more than they have.
    """
    revision = yield from moved()
    if (wrong := _wrong(key, by)) is not None:
        return wrong
    absent = yield from _absent(key)
    for kind, name in absent:
        if (wrong := bad_name(name, kind)) is not None:
            return wrong
        if not may_make_people(by):
            return (yield from unknown(kind, name))
    new = yield from _made(absent, key)
    yield Sql(
        "INSERT INTO virtual_key (id, name, person, workspace, tier, narrowed, last4, hash, old_hash, old_until,"
        " created_at, created_by, revoked_at, revision) VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL, 0, ?, ?, NULL, ?)",
        (
            *(key.id, key.name, key.user, key.workspace, key.tier, _text(key.grant), proof.last4, proof.hash),
            *(key.created_at, key.created_by, revision),
        ),
    )
    yield from set_rules("key", key.id, rules)
    made = yield from find_key(key.id)
    return made if isinstance(made, GatewayError) else Changed(None, made, new=new)


def change_key(key: Key, rules: Rules, by: Principal) -> Steps[Changed | GatewayError]:
    """Let a live virtual key have this name, user, workspace, tier and grant, and these rules; its text stays."""
    revision = yield from moved()
    before = yield from _live(key.id, by)
    if isinstance(before, GatewayError):
        return before
    if (wrong := _unreadable(before) or _wrong(key, by)) is not None:
        return wrong
    for kind, name in (yield from _absent(key)):
        return (yield from unknown(kind, name))
    yield Sql(
        "UPDATE virtual_key SET name = ?, person = ?, workspace = ?, tier = ?, narrowed = ?, revision = ? WHERE id = ?",
        (key.name, key.user, key.workspace, key.tier, _text(key.grant), revision, key.id),
    )
    yield from set_rules("key", key.id, rules)
    after = yield from find_key(key.id)
    return after if isinstance(after, GatewayError) else Changed(before, after)


def rotate_key(id_: str, proof: Proof, old_until: float, by: Principal) -> Steps[Changed | GatewayError]:
    """Let another text open for a virtual key. old_until: Unix seconds until which the one before does too, 0 for not."""
    revision = yield from moved()
    before = yield from _live(id_, by)
    if isinstance(before, GatewayError):
        return before
    yield Sql(
        "UPDATE virtual_key SET old_hash = CASE WHEN ? = 1 THEN hash ELSE NULL END, old_until = ?, hash = ?, last4 = ?,"
        " revision = ? WHERE id = ?",
        (int(old_until > 0), old_until, proof.hash, proof.last4, revision, id_),
    )
    after = yield from find_key(id_)
    return after if isinstance(after, GatewayError) else Changed(before, after)


def revoke_key(id_: str, at: int, by: Principal) -> Steps[Changed | GatewayError]:
    """Let a virtual key open nothing any more, for good."""
    revision = yield from moved()
    before = yield from _live(id_, by)
    if isinstance(before, GatewayError):
        return before
    yield Sql("UPDATE virtual_key SET revoked_at = ?, revision = ? WHERE id = ?", (at, revision, id_))
    yield from drop_rules("key", id_)
    after = yield from find_key(id_)
    return after if isinstance(after, GatewayError) else Changed(before, after, keys=1)


def _live(id_: str, by: Principal) -> Steps[KeyTold | GatewayError]:
    """The key of that id, if it was not revoked and `by` may touch it."""
    found = yield from find_key(id_)
    if isinstance(found, GatewayError):
        return found
    if found.key.revoked_at is not None:
        return _conflict(f"Key {found.key.id} was revoked: make another.")
    return denied(by, "key", found.key.grant) or found


def _wrong(key: Key, by: Principal) -> GatewayError | None:
    """What is wrong with a key as `by` wants it, whoever is there."""
    if key.name and (unnamed := bad_name(key.name, "name")) is not None:
        return unnamed
    if (over := denied(by, "key", key.grant)) is not None:
        return over
    if key.user and key.tier:
        return InvalidRequest("The tier of a key with a user is the user's: set it there.", param="tier")
    return None


def _absent(key: Key) -> Steps[list[tuple[Kind, str]]]:
    """Which of a key's user and workspace are not there."""
    absent: list[tuple[Kind, str]] = []
    if key.user and not (yield from users(key.user)):
        absent.append(("user", key.user))
    if key.workspace and not (yield from known_workspaces(key.workspace)):
        absent.append(("workspace", key.workspace))
    return absent


def _made(absent: Sequence[tuple[Kind, str]], key: Key) -> Steps[tuple[Workspace | User, ...]]:
    """Make those who are not there, as whoever makes the key; their names are good. A user has the default tier."""
    new: list[Workspace | User] = []
    for kind, name in absent:
        done = (
            (yield from put_user(name, None, None, key.created_at, key.created_by))
            if kind == "user"
            else (yield from put_workspace(name, None, key.created_at, key.created_by))
        )
        assert isinstance(done, Changed)
        new.append(done.after)
    return tuple(new)


def _key(row: Row) -> Key:
    told = dict(zip(Key.__struct_fields__, row, strict=True))
    return msgspec.convert(told | {"grant": grant_in(told["grant"])}, Key)


def _unreadable(told: KeyTold) -> InvalidRequest | None:
    """What it was narrowed to is not known, and must not become nothing by a change of something else."""
    if told.key.grant != UNREADABLE:
        return None
    return _conflict(f"What key {told.key.id} is narrowed to cannot be read from the books: revoke it, make another.")


def _conflict(message: str, param: str | None = None) -> InvalidRequest:
    error = InvalidRequest(message, param=param)
    error.status = 409
    return error


def _text(grant: Grant) -> str:
    return msgspec.json.encode(grant).decode()


# ── admins ──


def admins(name: str = "", *, with_revoked: bool = False) -> Steps[list[Admin]]:
    """Return the admins by name, or the one of that name."""
    rows = yield Sql(
        "SELECT name, role, narrowed, last4, old_until, created_at, created_by, revoked_at FROM admin"
        " WHERE (? = '' OR name = ?) AND (? = 1 OR revoked_at IS NULL) ORDER BY name",
        (name, name, int(with_revoked)),
    )
    found = []
    for row in rows:
        told = dict(zip(Admin.__struct_fields__, row, strict=True))
        found.append(msgspec.convert(told | {"grant": grant_in(told["grant"])}, Admin))
    return found


def add_admin(admin: Admin, proof: Proof, by: Principal) -> Steps[Changed | GatewayError]:
    """Make an admin; the name of one that was revoked may be used again. by: who does, and may give no more than they have."""
    if (wrong := bad_name(admin.name, "name") or denied(by, admin.role, admin.grant)) is not None:
        return wrong
    revision = yield from moved()
    there = yield from admins(admin.name, with_revoked=True)
    if there and there[0].revoked_at is None:
        return _conflict(f"There is an admin {admin.name!r} already: rotate or revoke that one.")
    yield Sql(
        "INSERT INTO admin (name, role, narrowed, last4, hash, old_hash, old_until, created_at, created_by, revoked_at,"
        " revision) VALUES (?, ?, ?, ?, ?, NULL, 0, ?, ?, NULL, ?) ON CONFLICT (name) DO UPDATE SET role = excluded.role,"
        " narrowed = excluded.narrowed, last4 = excluded.last4, hash = excluded.hash, old_hash = NULL, old_until = 0,"
        " created_at = excluded.created_at, created_by = excluded.created_by, revoked_at = NULL,"
        " revision = excluded.revision",
        (
            *(admin.name, admin.role, _text(admin.grant), proof.last4, proof.hash),
            *(admin.created_at, admin.created_by, revision),
        ),
    )
    made = yield from admins(admin.name)
    return Changed(None, made[0])


def rotate_admin(name: str, proof: Proof, old_until: float, by: Principal) -> Steps[Changed | GatewayError]:
    """Let another text open for an admin. As rotate_key."""
    revision = yield from moved()
    before = yield from _admin(name, by)
    if isinstance(before, GatewayError):
        return before
    yield Sql(
        "UPDATE admin SET old_hash = CASE WHEN ? = 1 THEN hash ELSE NULL END, old_until = ?, hash = ?, last4 = ?,"
        " revision = ? WHERE name = ?",
        (int(old_until > 0), old_until, proof.hash, proof.last4, revision, name),
    )
    after = yield from admins(name)
    return Changed(before, after[0])


def revoke_admin(name: str, at: int, by: Principal) -> Steps[Changed | GatewayError]:
    """Let an admin's key open nothing any more."""
    revision = yield from moved()
    before = yield from _admin(name, by)
    if isinstance(before, GatewayError):
        return before
    yield Sql("UPDATE admin SET revoked_at = ?, revision = ? WHERE name = ?", (at, revision, name))
    after = yield from admins(name, with_revoked=True)
    return Changed(before, after[0], keys=1)


def _admin(name: str, by: Principal) -> Steps[Admin | GatewayError]:
    """The admin of that name, if `by` may touch them."""
    found = yield from admins(name)
    if not found:
        return missing("admin", name, [one.name for one in (yield from admins())])
    return denied(by, found[0].role, found[0].grant) or found[0]


# ── whom keys prove ──


def holders(after: int) -> Steps[tuple[int, list[Holder]]]:
    """Return the number of the latest change, and everybody whose key has changed since the one numbered `after`.

    With 0: everybody there ever was. O(changed), about 6 µs each.
    """
    number = yield from latest()
    if number <= after:
        return number, []
    rows = yield Sql(
        "SELECT k.id, k.person, k.workspace, coalesce(w.team, ''), coalesce(nullif(u.tier, ''), nullif(k.tier, ''), ?),"
        " k.narrowed, k.hash, k.old_hash, k.old_until, CASE WHEN k.revoked_at IS NOT NULL THEN 'it was revoked'"
        " WHEN coalesce(u.is_blocked, 0) = 1 THEN 'its user is blocked' ELSE '' END, k.revision FROM virtual_key k"
        " LEFT JOIN workspace w ON w.name = k.workspace LEFT JOIN person u ON u.name = k.person WHERE k.revision > ?",
        (DEFAULT_TIER, after),
    )
    found = [_holder((row[0], "key", *row[1:])) for row in rows]
    rows = yield Sql(
        "SELECT name, role, name, '', '', '', narrowed, hash, old_hash, old_until, CASE WHEN revoked_at IS NOT NULL"
        " THEN 'it was revoked' ELSE '' END, revision FROM admin WHERE revision > ?",
        (after,),
    )
    return number, found + [_holder(row) for row in rows]


def _holder(row: Row) -> Holder:
    told = dict(zip(Holder.__struct_fields__, row, strict=True))
    grant = grant_in(told["grant"])
    refusal = told["refusal"] or (_BROKEN if grant == UNREADABLE else "")
    return msgspec.convert(told | {"grant": grant, "refusal": refusal}, Holder)

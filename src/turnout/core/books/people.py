"""Keeps who there is: teams, workspaces, users, and the limits and budgets that were given to each while the gateway ran.

A key belongs to a user and a workspace, and through that to a team (core/books/keys.py). Every change moves the number of
table `change` first: whoever follows it sees that something is new, and two who change something do so one after the other,
so that nothing moves between what one of them looks at and what it writes.
A failure is a value, and then nothing was changed.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, TypeVar

import msgspec

from turnout.core.books.reading import RulesRead, rules_in
from turnout.core.books.statements import Sql, Steps
from turnout.core.names import nearest
from turnout.core.resolving import resolve
from turnout.core.rules import Budget, Limit, Scope
from turnout.errors import GatewayError, InvalidRequest

LONGEST_NAME: Final = 256
"""Characters: as long as a request may say a user or a workspace."""

Kind = Literal["team", "workspace", "user"]

_HINTS: Final = {
    "team": " Make it: `turnout teams set {name}`.",
    "workspace": " Make it: `turnout workspaces set {name}`.",
    "user": " Make them: `turnout users set {name}`.",
    "key": " A key that was revoked is found by its id alone.",
    "tier": " `tiers` in the configuration has them.",
    "region": " `region` of a provider or a model in the configuration says where it is.",
}

_MADE: Final = ("team", "workspace", "user")
"""What may as well be made as be meant otherwise."""

T = TypeVar("T")


class Team(msgspec.Struct, frozen=True):
    """A group of workspaces. created_at: Unix seconds. created_by: who, in words."""

    name: str
    created_at: int
    created_by: str


class Workspace(msgspec.Struct, frozen=True):
    """Who shares a cache and pays together. team: "" for none."""

    name: str
    team: str
    created_at: int
    created_by: str


class User(msgspec.Struct, frozen=True):
    """A person or a program. tier: "" for the default one. is_blocked: their keys open nothing."""

    name: str
    tier: str
    is_blocked: bool
    created_at: int
    created_by: str


class Rules(msgspec.Struct, frozen=True):
    """What one team, workspace, user or key was given: at most one limit, and one budget for each period.

    broken: kinds of rows that cannot be read (core/books/reading.py).
    """

    limit: Limit | None = None
    budgets: tuple[Budget, ...] = ()
    broken: tuple[str, ...] = ()


class Inherited(msgspec.Struct, frozen=True):
    """What a virtual key has from whom it belongs to. tier: its user's, "" for the default one, or for no user.

    given: whoever of its user, its workspace and that one's team was given something: by kind, name and rules.
    """

    tier: str
    given: Mapping[Kind, tuple[str, Rules]]


class Changed(msgspec.Struct, frozen=True):
    """What a change did. before, after: the row as it was and is, None where there is none. keys: how many were revoked.

    new: who was made on the way, since what was changed names them.
    """

    before: Any
    after: Any
    keys: int = 0
    new: tuple[Workspace | User, ...] = ()


def bad_name(name: str, what: str) -> InvalidRequest | None:
    """Return what is wrong with a name that somebody gives, None if nothing. what: the field it stands in. O(length)."""
    if not 1 <= len(name) <= LONGEST_NAME:
        return InvalidRequest(f"`{what}` is 1 to {LONGEST_NAME} characters long.", param=what)
    if not name.isprintable() or name != name.strip() or "/" in name or name == "*":
        return InvalidRequest(
            f"`{what}` is printable text without / and without spaces around it, and not *.", param=what
        )
    return None


def unknown(kind: Kind, name: str) -> Steps[InvalidRequest]:
    """Return the error for a name that is not there, with those that may have been meant."""
    there: Sequence[Team | Workspace | User]
    if kind == "team":
        there = yield from teams()
    elif kind == "workspace":
        there = yield from workspaces()
    else:
        there = yield from users()
    return missing(kind, name, [one.name for one in there])


def missing(kind: str, name: str, known: Iterable[str]) -> InvalidRequest:
    """Return the error for a name that is not among those known. O(known)."""
    near = nearest(name, known, 2)
    meant = f" Did you mean {' or '.join(near)}?" if near else ""
    hint = "" if near and kind not in _MADE else _HINTS.get(kind, "").format(name=shlex.quote(name[:100]))
    error = InvalidRequest(f"There is no {kind} {name[:100]!r}.{meant}{hint}", param=kind)
    error.status = 404
    return error


def moved() -> Steps[int]:
    """Move the number of changes and return it; until the transaction ends, nobody else changes who may ask."""
    rows = yield Sql("UPDATE change SET number = number + 1 WHERE id = 1 RETURNING number")
    number = rows[0][0]
    assert isinstance(number, int)
    return number


# ── teams ──


def teams(name: str = "") -> Steps[list[Team]]:
    """Return all, by name; or the one of that name, if it is there."""
    rows = yield Sql(
        "SELECT name, created_at, created_by FROM team WHERE ? = '' OR name = ? ORDER BY name", (name, name)
    )
    return [msgspec.convert(dict(zip(Team.__struct_fields__, row, strict=True)), Team) for row in rows]


def put_team(name: str, at: int, by: str) -> Steps[Changed | GatewayError]:
    """Make a team; one that is there stays as it is. at: Unix seconds. by: who, in words."""
    if (wrong := bad_name(name, "team")) is not None:
        return wrong
    yield from moved()
    before = _only((yield from teams(name)))
    yield Sql(
        "INSERT INTO team (name, created_at, created_by) VALUES (?, ?, ?) ON CONFLICT (name) DO NOTHING", (name, at, by)
    )
    return Changed(before, before or Team(name, at, by))


def remove_team(name: str, at: int) -> Steps[Changed | GatewayError]:
    """Take a team away, its workspaces with it, and revoke their keys."""
    revision = yield from moved()
    before = _only((yield from teams(name)))
    if before is None:
        return (yield from unknown("team", name))
    keys = 0
    for workspace in (yield from workspaces()):
        if workspace.team == name:
            keys += yield from _remove_workspace(workspace.name, at, revision)
    yield Sql("DELETE FROM team WHERE name = ?", (name,))
    yield from drop_rules("team", name)
    return Changed(before, None, keys)


# ── workspaces ──


def workspaces(name: str = "") -> Steps[list[Workspace]]:
    """Return all, by name; or the one of that name, if it is there."""
    rows = yield Sql(
        "SELECT name, team, created_at, created_by FROM workspace WHERE ? = '' OR name = ? ORDER BY name", (name, name)
    )
    return [msgspec.convert(dict(zip(Workspace.__struct_fields__, row, strict=True)), Workspace) for row in rows]


def put_workspace(name: str, team: str | None, at: int, by: str) -> Steps[Changed | GatewayError]:
    """Make a workspace, or move one to another team: its keys go with it. team: None leaves it as it is, "" is none."""
    if (wrong := bad_name(name, "workspace")) is not None:
        return wrong
    revision = yield from moved()
    if team and not (yield from teams(team)):
        return (yield from unknown("team", team))
    before = _only((yield from workspaces(name)))
    if before is None:
        after = Workspace(name, team or "", at, by)
    else:
        after = before if team is None else msgspec.structs.replace(before, team=team)
    yield Sql(
        "INSERT INTO workspace (name, team, created_at, created_by) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (name) DO UPDATE SET team = excluded.team",
        (after.name, after.team, after.created_at, after.created_by),
    )
    yield Sql("UPDATE virtual_key SET revision = ? WHERE workspace = ?", (revision, name))
    return Changed(before, after)


def remove_workspace(name: str, at: int) -> Steps[Changed | GatewayError]:
    """Take a workspace away, and revoke its keys."""
    revision = yield from moved()
    before = _only((yield from workspaces(name)))
    if before is None:
        return (yield from unknown("workspace", name))
    keys = yield from _remove_workspace(name, at, revision)
    return Changed(before, None, keys)


def _remove_workspace(name: str, at: int, revision: int) -> Steps[int]:
    rows = yield Sql(
        "UPDATE virtual_key SET revoked_at = ?, revision = ? WHERE workspace = ? AND revoked_at IS NULL RETURNING id",
        (at, revision, name),
    )
    for row in rows:
        yield from drop_rules("key", str(row[0]))
    yield Sql("DELETE FROM workspace WHERE name = ?", (name,))
    yield from drop_rules("workspace", name)
    return len(rows)


# ── users ──


def users(name: str = "") -> Steps[list[User]]:
    """Return all, by name; or the one of that name, if it is there."""
    rows = yield Sql(
        "SELECT name, tier, is_blocked, created_at, created_by FROM person WHERE ? = '' OR name = ? ORDER BY name",
        (name, name),
    )
    return [
        msgspec.convert(dict(zip(User.__struct_fields__, row, strict=True)), User, strict=False)  # 0 and 1 are booleans
        for row in rows
    ]


def put_user(name: str, tier: str | None, is_blocked: bool | None, at: int, by: str) -> Steps[Changed | GatewayError]:  # noqa: FBT001 - a value of the row
    """Make a user, or change one: their keys follow. tier, is_blocked: None leaves it as it is."""
    if (wrong := bad_name(name, "user")) is not None:
        return wrong
    revision = yield from moved()
    before = _only((yield from users(name)))
    after = before or User(name, "", False, at, by)
    if tier is not None:
        after = msgspec.structs.replace(after, tier=tier)
    if is_blocked is not None:
        after = msgspec.structs.replace(after, is_blocked=is_blocked)
    yield Sql(
        "INSERT INTO person (name, tier, is_blocked, created_at, created_by) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (name) DO UPDATE SET tier = excluded.tier, is_blocked = excluded.is_blocked",
        (after.name, after.tier, int(after.is_blocked), after.created_at, after.created_by),
    )
    yield Sql("UPDATE virtual_key SET revision = ? WHERE person = ?", (revision, name))
    return Changed(before, after)


def remove_user(name: str, at: int) -> Steps[Changed | GatewayError]:
    """Take a user away, and revoke their keys."""
    revision = yield from moved()
    before = _only((yield from users(name)))
    if before is None:
        return (yield from unknown("user", name))
    rows = yield Sql(
        "UPDATE virtual_key SET revoked_at = ?, revision = ? WHERE person = ? AND revoked_at IS NULL RETURNING id",
        (at, revision, name),
    )
    for row in rows:
        yield from drop_rules("key", str(row[0]))
    yield Sql("DELETE FROM person WHERE name = ?", (name,))
    yield from drop_rules("user", name)
    return Changed(before, None, len(rows))


# ── rules ──


def rules() -> Steps[RulesRead]:
    """Return every limit and budget that was given to a team, workspace, user or key, and the rows that cannot be read."""
    return rules_in((yield Sql("SELECT scope, name, kind, body FROM rule ORDER BY scope, name, kind")))


def given(scope: Scope) -> Steps[dict[str, Rules]]:
    """Return what was given to each of a scope, by name; nothing for those who were given nothing. O(rules)."""
    found: dict[str, Rules] = {}
    everything = yield from rules()
    for limit in everything.limits:
        if limit.scope == scope:
            found[limit.match] = Rules(limit)
    for budget in everything.budgets:
        if budget.scope == scope:
            before = found.get(budget.match, Rules())
            found[budget.match] = Rules(before.limit, (*before.budgets, budget))
    for row in everything.broken:
        if row.scope == scope:
            before = found.get(row.name, Rules())
            found[row.name] = msgspec.structs.replace(before, broken=(*before.broken, row.kind))
    return found


def inherited(user: str, workspace: str, team: str) -> Steps[Inherited]:
    """Return what a virtual key has from whom it belongs to. "": from nobody."""
    there = yield from users(user)
    rows: dict[Kind, tuple[str, Rules]] = {}
    owners: tuple[tuple[Kind, str], ...] = (("user", user), ("workspace", workspace), ("team", team))
    for kind, name in owners:
        if name and (found := (yield from rules_of(kind, name))) != Rules():
            rows[kind] = (name, found)
    return Inherited(there[0].tier if user and there else "", rows)


def rules_of(scope: Scope, name: str) -> Steps[Rules]:
    """Return what one was given."""
    rows = yield Sql(
        "SELECT scope, name, kind, body FROM rule WHERE scope = ? AND name = ? ORDER BY kind", (scope, name)
    )
    found = rules_in(rows)
    broken = tuple(one.kind for one in found.broken)
    return Rules(found.limits[0] if found.limits else None, tuple(found.budgets), broken)


def set_rules(scope: Scope, name: str, wanted: Rules) -> Steps[None]:
    """Let these be what one was given, and nothing else. A budget of a period that was there goes on as it began.

    A row that cannot be read stays until one of its kind replaces it: nobody is freed of a limit by a change to their name.
    """
    before = yield from rules_of(scope, name)
    begun = {budget.period: budget.starts_at for budget in before.budgets}
    for kind in (*_kinds(before), *_kinds(wanted)):
        yield Sql("DELETE FROM rule WHERE scope = ? AND name = ? AND kind = ?", (scope, name, kind))
    found: list[tuple[str, Limit | Budget]] = [] if wanted.limit is None else [("limit", wanted.limit)]
    for budget in wanted.budgets:
        starts_at = begun.get(budget.period, budget.starts_at)
        found.append((f"budget/{budget.period}", msgspec.structs.replace(budget, starts_at=starts_at)))
    for kind, rule in found:
        yield Sql(
            "INSERT INTO rule (scope, name, kind, body) VALUES (?, ?, ?, ?)",
            (scope, name, kind, msgspec.json.encode(rule).decode()),
        )


def drop_rules(scope: Scope, name: str) -> Steps[None]:
    """Take away what one was given."""
    yield Sql("DELETE FROM rule WHERE scope = ? AND name = ?", (scope, name))


def _kinds(given: Rules) -> list[str]:
    return ["limit"] * (given.limit is not None) + [f"budget/{budget.period}" for budget in given.budgets]


def _only(rows: list[T]) -> T | None:
    return rows[0] if rows else None


resolve(Team, Workspace, User)

"""Makes, changes and revokes keys, and keeps teams, workspaces, users and admins, for the admin API and the command line.

Each change is one transaction together with its row in the audit trail, also one that was refused: who did it, and what was
before and after. A key's text is made here, returned once to be shown, and kept nowhere.
What names something of the configuration (a tier, a model, a task) is compared with the one in force, so that a slip of the
pen is told at once. What a key may never be given is decided in the transaction (core/granting.py), against the state that
is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from ipaddress import ip_network
from typing import Final, TypeVar

import msgspec

from turnout.core.books import keys, people
from turnout.core.books.audit import Outcome, Record, append, recorded
from turnout.core.books.keys import Admin, AdminRole, Key, KeyTold, Proof
from turnout.core.books.people import Changed, Inherited, Kind, Rules, Team, User, Workspace
from turnout.core.books.statements import Steps
from turnout.core.catalog import Snapshot
from turnout.core.principal import Grant, Principal
from turnout.core.rules import Budget, Limit, Period, Rates, Scope
from turnout.errors import GatewayError, InvalidRequest, PermissionDenied, StoreError
from turnout.gateway.audit import Actor, Trail
from turnout.gateway.clock import Clock
from turnout.gateway.following import Following
from turnout.gateway.keys import ADMIN_PREFIX, PREFIX, key_hash
from turnout.stores import Database

T = TypeVar("T")

NO_RULES: Final = Rules()


class By(msgspec.Struct, frozen=True):
    """Who does something: what they may, and how the trail names them."""

    principal: Principal
    actor: Actor


class Sum(msgspec.Struct, frozen=True):
    """Money for a period. zone: of the tz database."""

    nano_usd: int
    period: Period = "month"
    zone: str = "UTC"


class Allowance(msgspec.Struct, frozen=True):
    """What somebody is given: rates, None for none, and at most one sum for each period."""

    rates: Rates | None = None
    sums: tuple[Sum, ...] = ()


class Wanted(msgspec.Struct, frozen=True):
    """A virtual key as somebody wants it. "" for none."""

    name: str = ""
    user: str = ""
    workspace: str = ""
    tier: str = ""
    grant: Grant = Grant()
    allowance: Allowance = Allowance()


class Told(msgspec.Struct, frozen=True):
    """A team, workspace or user with what it was given."""

    of: Team | Workspace | User
    rules: Rules


class Made(msgspec.Struct, frozen=True):
    """A key's text, to be shown once, and what it opens. new: who was made with it."""

    text: str
    of: KeyTold | Admin
    new: tuple[Workspace | User, ...] = ()


class People:
    """Over one database. pepper: as the ring's. snapshot: returns the configuration in force. following: of this process, which
    then knows a change at once; None in a command.
    """

    def __init__(
        self,
        database: Database,
        trail: Trail,
        clock: Clock,
        pepper: bytes,
        snapshot: Callable[[], Snapshot],
        following: Following | None = None,
    ) -> None:
        self._database = database
        self._trail = trail
        self._clock = clock
        self._pepper = pepper
        self._snapshot = snapshot
        self._following = following

    # ── virtual keys ──

    async def keys(self, user: str = "", workspace: str = "", *, with_revoked: bool = False) -> list[KeyTold]:
        """Return the virtual keys, oldest first. Raises StoreError, as everything here."""
        return await self._database.read(lambda: _keys_told(keys.keys(user, workspace, with_revoked=with_revoked)))

    async def key(self, said: str) -> KeyTold:
        """Return the virtual key of that id or name. Raises InvalidRequest."""
        return _or_raise(await self._database.read(lambda: keys.find_key(said)))

    async def inherited(self, key: Key) -> Inherited:
        """Return what a virtual key has from its user, workspace and team."""
        return await self._database.read(lambda: people.inherited(key.user, key.workspace, key.team))

    async def create_key(self, by: By, wanted: Wanted) -> Made:
        """Make a virtual key; and its user and workspace, where they are new and `by` may make them: each has a row of the
        audit trail of its own, in the same transaction. Raises InvalidRequest, PermissionDenied.
        """
        self._check(wanted)
        text, proof, id_ = self._made(PREFIX)
        key = Key(
            id=id_,
            name=wanted.name,
            user=wanted.user,
            workspace=wanted.workspace,
            team="",
            tier=wanted.tier,
            grant=wanted.grant,
            last4=proof.last4,
            old_until=0,
            created_at=self._now(),
            created_by=by.actor.name,
            revoked_at=None,
        )
        rules = self._rules("key", id_, wanted.allowance)
        changed = await self._change(by, "key.create", id_, lambda: keys.add_key(key, proof, rules, by.principal))
        assert isinstance(changed.after, KeyTold)
        return Made(text, changed.after, changed.new)

    async def change_key(self, by: By, id_: str, wanted: Wanted) -> KeyTold:
        """Let a virtual key be as wanted; its text stays. Raises InvalidRequest, PermissionDenied."""
        self._check(wanted)
        key = msgspec.structs.replace(
            (await self.key(id_)).key,
            name=wanted.name,
            user=wanted.user,
            workspace=wanted.workspace,
            tier=wanted.tier,
            grant=wanted.grant,
        )
        rules = self._rules("key", key.id, wanted.allowance)
        changed = await self._change(by, "key.change", key.id, lambda: keys.change_key(key, rules, by.principal))
        assert isinstance(changed.after, KeyTold)
        return changed.after

    async def rotate_key(self, by: By, said: str, grace_s: float) -> Made:
        """Make another text for a virtual key; the one before holds for grace_s more. Raises as change_key; also for a key that
        has expired, whose new text would open no more than the old one.
        """
        key = (await self.key(said)).key
        id_ = key.id
        if key.revoked_at is None:  # else it is said further on that it was
            self._must_hold(
                key.grant, f"`turnout keys change {id_} --expires 30d` lets it hold again, with the text it has"
            )
        text, proof, _ = self._made(PREFIX)
        until = self._clock.wall() + grace_s if grace_s else 0.0
        changed = await self._change(by, "key.rotate", id_, lambda: keys.rotate_key(id_, proof, until, by.principal))
        assert isinstance(changed.after, KeyTold)
        return Made(text, changed.after)

    async def revoke_key(self, by: By, said: str) -> KeyTold:
        """Let a virtual key open nothing any more. Raises as change_key."""
        id_ = (await self.key(said)).key.id
        at = self._now()
        changed = await self._change(by, "key.revoke", id_, lambda: keys.revoke_key(id_, at, by.principal))
        assert isinstance(changed.after, KeyTold)
        return changed.after

    # ── admins ──

    async def admins(self, *, with_revoked: bool = False) -> list[Admin]:
        """Return the admins, by name."""
        return await self._database.read(lambda: keys.admins(with_revoked=with_revoked))

    async def create_admin(self, by: By, name: str, role: AdminRole, grant: Grant) -> Made:
        """Make an admin and their key. Raises InvalidRequest, PermissionDenied."""
        self._check(Wanted(grant=grant))
        text, proof, _ = self._made(ADMIN_PREFIX)
        admin = Admin(name, role, grant, proof.last4, 0, self._now(), by.actor.name, None)
        changed = await self._change(by, "admin.create", name, lambda: keys.add_admin(admin, proof, by.principal))
        assert isinstance(changed.after, Admin)
        return Made(text, changed.after)

    async def rotate_admin(self, by: By, name: str, grace_s: float) -> Made:
        """Make another key for an admin; the one before holds for grace_s more. Raises as rotate_key."""
        for one in await self.admins():
            if one.name == name:
                self._must_hold(one.grant, "revoke it, and make another with `turnout admins create`")
        text, proof, _ = self._made(ADMIN_PREFIX)
        until = self._clock.wall() + grace_s if grace_s else 0.0
        changed = await self._change(
            by, "admin.rotate", name, lambda: keys.rotate_admin(name, proof, until, by.principal)
        )
        assert isinstance(changed.after, Admin)
        return Made(text, changed.after)

    async def revoke_admin(self, by: By, name: str) -> Admin:
        """Let an admin's key open nothing any more. Raises InvalidRequest, PermissionDenied."""
        at = self._now()
        changed = await self._change(by, "admin.revoke", name, lambda: keys.revoke_admin(name, at, by.principal))
        assert isinstance(changed.after, Admin)
        return changed.after

    # ── teams, workspaces, users ──

    async def teams(self) -> list[Told]:
        """Return the teams, by name."""
        return await self._database.read(lambda: _all(people.teams(), "team"))

    async def workspaces(self) -> list[Told]:
        """Return the workspaces, by name."""
        return await self._database.read(lambda: _all(people.workspaces(), "workspace"))

    async def users(self) -> list[Told]:
        """Return the users, by name."""
        return await self._database.read(lambda: _all(people.users(), "user"))

    async def put_team(self, by: By, name: str, allowance: Allowance | None = None) -> Told:
        """Make a team, or change what it is given. allowance: None leaves it as it is. Raises InvalidRequest."""
        at, who = self._now(), by.actor.name
        changed = await self._put(by, "team", name, lambda: people.put_team(name, at, who), allowance)
        assert isinstance(changed.after, Told)
        return changed.after

    async def put_workspace(self, by: By, name: str, team: str | None, allowance: Allowance | None = None) -> Told:
        """Make a workspace, or change it. team: None leaves it as it is, "" is none. As put_team."""
        at, who = self._now(), by.actor.name
        changed = await self._put(by, "workspace", name, lambda: people.put_workspace(name, team, at, who), allowance)
        assert isinstance(changed.after, Told)
        return changed.after

    async def put_user(
        self, by: By, name: str, tier: str | None, *, is_blocked: bool | None, allowance: Allowance | None = None
    ) -> Told:
        """Make a user, or change one. tier, is_blocked: None leaves it as it is. As put_team."""
        self._check(Wanted(tier=tier or ""))
        at, who = self._now(), by.actor.name
        changed = await self._put(by, "user", name, lambda: people.put_user(name, tier, is_blocked, at, who), allowance)
        assert isinstance(changed.after, Told)
        return changed.after

    async def remove(self, by: By, kind: Kind, name: str) -> int:
        """Take a team, workspace or user away; return how many keys were revoked with it. Raises InvalidRequest."""
        at = self._now()
        remove = {"team": people.remove_team, "workspace": people.remove_workspace, "user": people.remove_user}[kind]
        return (await self._change(by, f"{kind}.remove", name, lambda: remove(name, at))).keys

    async def _put(
        self,
        by: By,
        kind: Kind,
        name: str,
        put: Callable[[], Steps[Changed | GatewayError]],
        allowance: Allowance | None,
    ) -> Changed:
        rules = None if allowance is None else self._rules(kind, name, allowance)
        return await self._change(by, f"{kind}.set", name, lambda: _with_rules(put(), kind, name, rules))

    # ── how ──

    async def _change(
        self, by: By, action: str, target: str, steps: Callable[[], Steps[Changed | GatewayError]]
    ) -> Changed:
        """Make a change with its row of the audit trail; have it known here. Raises what the change returned as its failure."""

        def row(done: Changed | GatewayError) -> Record:
            if not isinstance(done, GatewayError):
                return self._trail.record(by.actor, action, target, before=done.before, after=done.after)
            outcome: Outcome = "refused" if isinstance(done, PermissionDenied) else "failed"
            return self._trail.record(by.actor, action, target, outcome=outcome, reason=done.code)

        def with_new() -> Steps[Changed | GatewayError]:
            done = yield from steps()
            for one in () if isinstance(done, GatewayError) else done.new:
                what = f"{kind_of(one)}.set"
                yield from append(self._trail.record(by.actor, what, one.name, after=Told(one, NO_RULES)))
            return done

        done = _or_raise(await self._database.write(lambda: recorded(with_new(), row)))
        if self._following is not None:
            with suppress(StoreError):  # it holds; this process hears of it as the others do
                await self._following.read()
        return done

    def _made(self, prefix: str) -> tuple[str, Proof, str]:
        """A new text, what is kept of it, and an id that is made of it and tells nothing of it."""
        text = prefix + self._clock.token()
        hash_ = key_hash(text.encode(), self._pepper)
        return text, Proof(hash_, text[-4:]), f"k_{key_hash(hash_, self._pepper)[:8].hex()}"

    def _rules(self, scope: Scope, name: str, allowance: Allowance) -> Rules:
        """The rules of an allowance. A budget is named after its scope and period, and does not change its name."""
        limit = None if allowance.rates in (None, Rates()) else Limit(scope, name, allowance.rates or Rates())
        budgets = {
            one.period: Budget(
                name=f"{scope}:{name}/{one.period}",
                scope=scope,
                match=name,
                limit_nano_usd=one.nano_usd,
                period=one.period,
                zone=one.zone,
                starts_at=self._now() if one.period == "30d" else 0,
            )
            for one in allowance.sums
        }
        if len(budgets) < len(allowance.sums):
            raise InvalidRequest("Give one budget for each period.", param="budgets")
        return Rules(limit, tuple(budgets.values()))

    def _check(self, wanted: Wanted) -> None:
        """Raise InvalidRequest for what cannot be, or names what is not configured."""
        snapshot, grant = self._snapshot(), wanted.grant
        if wanted.tier and wanted.tier not in snapshot.tiers:
            raise people.missing("tier", wanted.tier, snapshot.tiers)
        _all_known("task", grant.tasks, snapshot.tasks)
        regions = {one.region for one in snapshot.accounts.values()} | {one.region for one in snapshot.models.values()}
        _all_known("region", grant.regions, regions - {""})
        models = {*snapshot.models, *snapshot.routes, *snapshot.aliases}
        made_up = {name for name in grant.models if name.partition("/")[0] in snapshot.accounts}  # ACCOUNT/ID
        _all_known("model", grant.models - made_up, models)
        for address in grant.addresses:
            try:
                ip_network(address, strict=False)
            except ValueError:
                what = f"{address[:100]!r} is no address or network, write such as 192.0.2.7 or 192.0.2.0/24."
                raise InvalidRequest(what, param="addresses") from None
        if grant.expires_at is not None and grant.expires_at <= self._clock.wall():
            raise InvalidRequest("`expires_at` is past.", param="expires_at")

    def _must_hold(self, grant: Grant, what_helps: str) -> None:
        if grant.expires_at is not None and grant.expires_at <= self._clock.wall():
            error = InvalidRequest(f"It has expired, and a new text would have, too: {what_helps}.", param="expires_at")
            error.status = 409
            raise error

    def _now(self) -> int:
        return int(self._clock.wall())


def _with_rules(
    put: Steps[Changed | GatewayError], scope: Kind, name: str, wanted: Rules | None
) -> Steps[Changed | GatewayError]:
    done = yield from put
    if isinstance(done, GatewayError):
        return done
    before = yield from people.rules_of(scope, name)
    if wanted is not None:
        yield from people.set_rules(scope, name, wanted)
    after = yield from people.rules_of(scope, name)
    return Changed(None if done.before is None else Told(done.before, before), Told(done.after, after))


def _all(rows: Steps[list[Team]] | Steps[list[Workspace]] | Steps[list[User]], scope: Kind) -> Steps[list[Told]]:
    found: Sequence[Team | Workspace | User] = yield from rows
    given = yield from people.given(scope)
    return [Told(one, given.get(one.name, NO_RULES)) for one in found]


def _keys_told(found: Steps[list[Key]]) -> Steps[list[KeyTold]]:
    listed = yield from found
    given = yield from people.given("key")
    return [KeyTold(one, given.get(one.id, NO_RULES)) for one in listed]


def kind_of(one: Team | Workspace | User) -> Kind:
    """Return what somebody is. O(1)."""
    return "team" if isinstance(one, Team) else "workspace" if isinstance(one, Workspace) else "user"


def _all_known(kind: str, wanted: Iterable[str], known: Iterable[str]) -> None:
    for name in sorted(set(wanted) - set(known)):
        raise people.missing(kind, name, known)


def _or_raise(done: GatewayError | T) -> T:
    if isinstance(done, GatewayError):
        raise done
    return done

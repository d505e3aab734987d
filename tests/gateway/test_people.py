"""Making, changing and revoking keys: what is checked, what is kept, and its row in the audit trail."""

from __future__ import annotations

import json

import msgspec
import pytest

from tests.gateway.lab import CONFIG, StillClock
from turnout.config.environment import Environment
from turnout.config.load import load
from turnout.core.books.audit import Wanted as Asked
from turnout.core.books.audit import latest
from turnout.core.books.people import Rules
from turnout.core.books.statements import Sql
from turnout.core.catalog import FREE
from turnout.core.principal import MASTER, Grant, Principal
from turnout.core.rules import Budget, Limit, Rates
from turnout.errors import InvalidRequest, PermissionDenied, Unauthenticated
from turnout.gateway.audit import Actor, Trail
from turnout.gateway.following import Following
from turnout.gateway.keys import KeyRing, Master
from turnout.gateway.people import Allowance, By, People, Sum, Wanted, kind_of

OWNER = By(MASTER, Actor("master", "owner", "127.0.0.1"))
ADMIN = By(Principal("admin:bo", "admin"), Actor("admin:bo", "admin", "127.0.0.1"))


class Clock(StillClock):
    """Each token is another."""

    def token(self):
        return f"token-{self.request_id()}"


class Desk:
    """People over one database, with the ring that follows it."""

    def __init__(self, database, folder):
        self.clock = Clock()
        self.database = database
        config = folder / "turnout.yaml"
        config.write_text(CONFIG + "routes:\n  fast: {models: [first]}\naliases: {quick: fast}\n", encoding="utf-8")
        self.snapshot = load(config, Environment({"TURNOUT_HOME": str(folder)})).snapshot
        self.ring = KeyRing(b"pepper", Master(b"own", b"none"), self.clock)
        self.following = Following(database, self.ring, self.clock)
        self.people = self.over(self.following)

    def over(self, following):
        """People, with or without a ring to tell."""
        trail = Trail(self.database, self.clock, lambda text: text)
        return People(self.database, trail, self.clock, b"pepper", lambda: self.snapshot, following)

    async def trail(self):
        """The audit trail, oldest first."""
        found = await self.database.read(lambda: latest(Asked(), 100))
        return [record for _, record in reversed(found)]


@pytest.fixture
def desk(database, tmp_path):
    """Over either database."""
    return Desk(database, tmp_path)


async def test_a_key_opens_as_soon_as_it_is_made_and_not_once_it_is_revoked(desk):
    """In this process, without waiting for anything; its text is nowhere in the books or the trail."""
    made = await desk.people.create_key(OWNER, Wanted(name="app", tier="premium"))
    assert made.text.startswith("sk-turnout-token-")
    assert (made.text[-4:], made.of.key.created_by, made.of.key.created_at) == (
        made.of.key.last4,
        "master",
        int(desk.clock.wall()),
    )
    assert (made.of.key.id, "premium") == (desk.ring.check(made.text.encode()).key_id, "premium")
    rotated = await desk.people.rotate_key(OWNER, "app", 60.0)
    assert desk.ring.check(rotated.text.encode()) == desk.ring.check(made.text.encode())
    assert desk.clock.wall() + 60 == rotated.of.key.old_until
    revoked = await desk.people.revoke_key(OWNER, "app")
    assert revoked.key.revoked_at == int(desk.clock.wall())
    for text in (made.text, rotated.text):
        with pytest.raises(Unauthenticated):
            desk.ring.check(text.encode())
    trail = await desk.trail()
    assert ["key.create", "key.rotate", "key.revoke"] == [record.action for record in trail]
    assert {("master", "owner", "127.0.0.1", made.of.key.id, "done")} == {
        (record.actor, record.role, record.address, record.target, record.outcome) for record in trail
    }
    assert ("", "app") == (trail[0].before, json.loads(trail[0].after)["key"]["name"])
    assert not any(made.text in record.after + record.before for record in trail)


async def test_without_a_ring_to_tell_it_holds_all_the_same(desk):
    """As in a command."""
    made = await desk.over(None).create_key(OWNER, Wanted())
    await desk.following.read()
    assert made.of.key.id == desk.ring.check(made.text.encode()).key_id


async def test_rules_are_named_after_whom_they_are_about(desk):
    """One budget for each period; those of 30 days begin now."""
    allowance = Allowance(Rates(5), (Sum(10**9), Sum(5, "30d", "Europe/Copenhagen")))
    made = await desk.people.create_key(OWNER, Wanted(allowance=allowance))
    id_ = made.of.key.id
    assert Limit("key", id_, Rates(5)) == made.of.rules.limit
    month = Budget(f"key:{id_}/month", "key", id_, 10**9)
    thirty = Budget(
        f"key:{id_}/30d", "key", id_, 5, period="30d", zone="Europe/Copenhagen", starts_at=int(desk.clock.wall())
    )
    assert {month, thirty} == set(made.of.rules.budgets)
    with pytest.raises(InvalidRequest, match="one budget for each period"):
        await desk.people.create_key(OWNER, Wanted(allowance=Allowance(None, (Sum(1), Sum(2)))))
    none = await desk.people.change_key(OWNER, id_, Wanted(allowance=Allowance(Rates())))
    assert Rules() == none.rules


@pytest.mark.parametrize(
    ("wanted", "param"),
    [
        (Wanted(tier="gold"), "tier"),
        (Wanted(grant=Grant(models=frozenset({"firts"}))), "model"),
        (Wanted(grant=Grant(tasks=frozenset({"wrok"}))), "task"),
        (Wanted(grant=Grant(addresses=("10.0.0.1/99",))), "addresses"),
        (Wanted(grant=Grant(expires_at=1.0)), "expires_at"),
        (Wanted(grant=Grant(regions=frozenset({"mars"}))), "region"),
        (Wanted(user="no/body"), "user"),
    ],
)
async def test_a_slip_of_the_pen_is_told_and_no_key_is_made(desk, wanted, param):
    """Whatever names what is not there."""
    with pytest.raises(InvalidRequest) as caught:
        await desk.people.create_key(OWNER, wanted)
    assert param == caught.value.param
    assert [] == await desk.people.keys()


async def test_a_grant_may_name_what_a_request_may(desk):
    """Models, routes, aliases, and ids at an account."""
    grant = Grant(
        models=frozenset({"first", "fast", "quick", "stub/any:free"}), tasks=frozenset({"work"}), price_ceiling=FREE
    )
    made = await desk.people.create_key(OWNER, Wanted(grant=grant))
    assert grant == (await desk.people.key(made.of.key.id)).key.grant


async def test_a_region_is_one_that_a_provider_or_a_model_is_in(desk):
    """One that nobody is in would let nothing through; the nearest is named."""
    account = msgspec.structs.replace(desk.snapshot.accounts["stub"], region="eu")
    model = msgspec.structs.replace(desk.snapshot.models["first"], region="us-east")
    accounts, models = {**desk.snapshot.accounts, "stub": account}, {**desk.snapshot.models, "first": model}
    desk.snapshot = msgspec.structs.replace(desk.snapshot, accounts=accounts, models=models)
    grant = Grant(regions=frozenset({"eu", "us-east"}))
    assert grant == (await desk.people.create_key(OWNER, Wanted(grant=grant))).of.key.grant
    with pytest.raises(InvalidRequest, match=r"There is no region 'us-eats'. Did you mean us-east?"):
        await desk.people.create_key(OWNER, Wanted(grant=Grant(regions=frozenset({"us-eats"}))))


async def test_a_key_that_has_expired_is_not_rotated_but_prolonged(desk):
    """A new text would open nothing either: it is refused with what helps, and the old text stays the key's."""
    grant = Grant(expires_at=desk.clock.wall() + 60)
    made = await desk.people.create_key(OWNER, Wanted(name="app", grant=grant))
    eve = await desk.people.create_admin(OWNER, "eve", "viewer", grant)
    desk.clock.at += 60
    with pytest.raises(
        InvalidRequest, match=f"It has expired, .* `turnout keys change {made.of.key.id} --expires"
    ) as refused:
        await desk.people.rotate_key(OWNER, "app", 0.0)
    with pytest.raises(InvalidRequest, match=r"It has expired, .* make another with `turnout admins create`"):
        await desk.people.rotate_admin(OWNER, "eve", 0.0)
    assert 409 == refused.value.status
    await desk.people.change_key(OWNER, made.of.key.id, Wanted(name="app"))
    assert made.of.key.id == desk.ring.check(made.text.encode()).key_id
    with pytest.raises(Unauthenticated, match="valid until"):
        desk.ring.check(eve.text.encode())
    await desk.people.revoke_key(OWNER, "app")
    with pytest.raises(InvalidRequest, match="revoked"):
        await desk.people.rotate_key(OWNER, made.of.key.id, 0.0)


async def test_a_failure_and_a_refusal_have_their_rows_too(desk):
    """What was tried, and why nothing came of it."""
    with pytest.raises(InvalidRequest):
        await desk.people.create_key(OWNER, Wanted(user="no/body"))
    with pytest.raises(PermissionDenied):
        await desk.people.create_admin(ADMIN, "eve", "owner", Grant())
    assert [("key.create", "failed", "invalid_request"), ("admin.create", "refused", "permission_denied")] == [
        (record.action, record.outcome, record.reason) for record in await desk.trail()
    ]
    assert [] == await desk.people.admins()


async def test_who_is_made_with_a_key_has_a_row_and_a_refused_one_makes_nobody(desk):
    """In one transaction: rows and people come together or not at all, and a narrowed admin gains nothing."""
    cheap = Grant(price_ceiling=FREE)
    narrowed = By(Principal("admin:eve", "admin", grant=cheap), Actor("admin:eve", "admin", "127.0.0.1"))
    with pytest.raises(InvalidRequest, match="turnout users set anna"):
        await desk.people.create_key(narrowed, Wanted(user="anna", workspace="blue", grant=cheap))
    assert ([], []) == (await desk.people.users(), await desk.people.workspaces())
    made = await desk.people.create_key(ADMIN, Wanted(user="anna", workspace="blue"))
    assert [("anna", "user"), ("blue", "workspace")] == [(one.name, kind_of(one)) for one in made.new]
    assert "anna" == desk.ring.check(made.text.encode()).user
    await desk.people.create_key(narrowed, Wanted(user="anna", workspace="blue", grant=cheap))
    refused, *done, last = await desk.trail()
    assert ("key.create", "failed", "key.create", "done") == (
        refused.action,
        refused.outcome,
        last.action,
        last.outcome,
    )
    assert [("user.set", "anna"), ("workspace.set", "blue"), ("key.create", made.of.key.id)] == [
        (row.action, row.target) for row in done
    ]
    assert {("admin:bo", "done", "")} == {(row.actor, row.outcome, row.before) for row in done}
    assert ("anna", "admin:bo") == tuple(json.loads(done[0].after)["of"][name] for name in ("name", "created_by"))


async def test_admins_are_made_rotated_and_revoked(desk):
    """Their keys look otherwise than those that ask models."""
    made = await desk.people.create_admin(OWNER, "bo", "viewer", Grant())
    assert made.text.startswith("sk-turnout-admin-")
    assert ("admin:bo", "viewer") == (
        desk.ring.check(made.text.encode()).key_id,
        desk.ring.check(made.text.encode()).role,
    )
    rotated = await desk.people.rotate_admin(ADMIN, "bo", 0.0)
    with pytest.raises(Unauthenticated):
        desk.ring.check(made.text.encode())
    await desk.people.revoke_admin(ADMIN, "bo")
    with pytest.raises(Unauthenticated, match="revoked"):
        desk.ring.check(rotated.text.encode())
    assert ["bo"] == [admin.name for admin in await desk.people.admins(with_revoked=True)]


async def test_teams_workspaces_and_users_are_told_with_what_they_were_given(desk):
    """And keep it where nothing is said."""
    people = desk.people
    await people.put_team(OWNER, "sales", Allowance(Rates(7), (Sum(3),)))
    await people.put_workspace(OWNER, "blue", "sales")
    told = await people.put_user(
        OWNER, "anna", "premium", is_blocked=None, allowance=Allowance(None, (Sum(1), Sum(2, "day")))
    )
    assert ("anna", "premium", False) == (told.of.name, told.of.tier, told.of.is_blocked)
    assert {"user:anna/month", "user:anna/day"} == {budget.name for budget in told.rules.budgets}
    assert told == await people.put_user(OWNER, "anna", None, is_blocked=None)
    assert [told] == await people.users()
    (team,), (workspace,) = await people.teams(), await people.workspaces()
    assert (Limit("team", "sales", Rates(7)), 1, Rules()) == (
        team.rules.limit,
        len(team.rules.budgets),
        workspace.rules,
    )
    with pytest.raises(InvalidRequest, match="no tier 'gold'"):
        await people.put_user(OWNER, "anna", "gold", is_blocked=None)
    with pytest.raises(InvalidRequest, match="no team"):
        await people.put_workspace(OWNER, "blue", "none")
    await people.create_key(OWNER, Wanted(user="anna", workspace="blue"))
    assert (0, 1) == (
        await people.remove(OWNER, "user", (await _bob(people))),
        await people.remove(OWNER, "team", "sales"),
    )
    row = (await desk.trail())[2]
    assert ("user.set", "premium", 2) == (
        row.action,
        json.loads(row.after)["of"]["tier"],
        len(json.loads(row.after)["rules"]["budgets"]),
    )


async def test_what_cannot_be_read_is_told_with_whose_it_is(desk):
    """Nobody else's limits or budgets are missing."""

    def broken():
        yield Sql("UPDATE rule SET body = ? WHERE name = ? AND kind = ?", ("", "anna", "budget/day"))

    anna = await desk.people.put_user(
        OWNER, "anna", None, is_blocked=None, allowance=Allowance(Rates(1), (Sum(2, "day"),))
    )
    bob = await desk.people.put_user(OWNER, "bob", None, is_blocked=None, allowance=Allowance(Rates(3)))
    await desk.database.write(broken)
    assert [Rules(anna.rules.limit, (), ("budget/day",)), bob.rules] == [one.rules for one in await desk.people.users()]


async def _bob(people):
    """A user without keys."""
    return (await people.put_user(OWNER, "bob", None, is_blocked=True)).of.name

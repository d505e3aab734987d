"""core/books/keys.py: virtual keys and admins, and whom they prove."""

from __future__ import annotations

import msgspec
import pytest

from turnout.core.books import keys, people
from turnout.core.books.changes import latest
from turnout.core.books.keys import Admin, Holder, Key, KeyTold, Proof
from turnout.core.books.people import Changed, Rules, User, Workspace
from turnout.core.books.reading import UNREADABLE
from turnout.core.books.statements import Sql
from turnout.core.catalog import FREE
from turnout.core.principal import MASTER, Grant, Principal
from turnout.core.rules import Limit, Rates
from turnout.errors import InvalidRequest, PermissionDenied

AT = 1_700_000_000
WIDE = Grant()
NARROW = Grant(models=frozenset({"glm"}), price_ceiling=FREE, addresses=("10.0.0.0/8",), expires_at=AT + 9.5)
NONE = Rules()
ADMIN = Principal("admin:bo", "admin")


def a_key(id_="k_1", **more):
    """A virtual key as somebody wants it."""
    told = {"name": "", "user": "", "workspace": "", "tier": "", "grant": WIDE} | more
    return Key(id=id_, team="", last4="", old_until=0, created_at=AT, created_by="me", revoked_at=None, **told)


def proof(text):
    """What is kept of a text; not a real hash."""
    return Proof(text.encode().ljust(32, b"."), text[-4:])


async def add(database, key, text="text-1", rules=NONE, by=MASTER):
    """Make a key."""
    return await database.write(lambda: keys.add_key(key, proof(text), rules, by))


async def holders(database, after=0):
    """Whose key changed since, by id."""
    _, found = await database.read(lambda: keys.holders(after))
    return {one.id: one for one in found}


@pytest.fixture
async def peopled(database):
    """Books with a team, a workspace and a user."""
    await database.write(lambda: people.put_team("sales", AT, "me"))
    await database.write(lambda: people.put_workspace("blue", "sales", AT, "me"))
    await database.write(lambda: people.put_user("anna", "premium", None, AT, "me"))
    return database


async def test_a_key_is_kept_with_all_that_is_said_of_it(peopled):
    """And what is told has its workspace's team, and no hash."""
    rules = Rules(Limit("key", "k_1", Rates(9)))
    wanted = a_key(name="app", user="anna", workspace="blue", grant=NARROW)
    made = await add(peopled, wanted, rules=rules)
    told = msgspec.structs.replace(wanted, team="sales", last4="xt-1")
    assert Changed(None, KeyTold(told, rules)) == made
    assert [told] == await peopled.read(lambda: keys.keys())
    assert KeyTold(told, rules) == await peopled.read(lambda: keys.find_key("k_1"))
    assert KeyTold(told, rules) == await peopled.read(lambda: keys.find_key("app"))
    assert not {"hash", "old_hash"} & set(Key.__struct_fields__)


async def test_keys_are_listed_by_user_workspace_and_state(peopled):
    """Those that were revoked only if asked for."""
    await add(peopled, a_key("k_1", user="anna"), "text-1")
    await add(peopled, a_key("k_2", workspace="blue"), "text-2")
    await add(peopled, a_key("k_3"), "text-3")
    await peopled.write(lambda: keys.revoke_key("k_3", AT, MASTER))

    async def ids(**asked):
        return [key.id for key in await peopled.read(lambda: keys.keys(**asked))]

    assert ["k_1", "k_2"] == await ids()
    assert ["k_1", "k_2", "k_3"] == await ids(with_revoked=True)
    assert (["k_1"], ["k_2"]) == (await ids(user="anna"), await ids(workspace="blue"))


@pytest.mark.parametrize(
    ("wanted", "param", "status"),
    [
        (a_key(user="a/b"), "user", 400),
        (a_key(user="ann", workspace="a/b"), "workspace", 400),
        (a_key(name="a/b"), "name", 400),
        (a_key(user="anna", tier="premium"), "tier", 400),
    ],
)
async def test_a_key_that_cannot_be_is_refused_and_is_not_there(peopled, wanted, param, status):
    """Neither made, nor made of one that is there."""
    refused = await add(peopled, wanted)
    assert (param, status) == (refused.param, refused.status)
    assert [] == await peopled.read(lambda: keys.keys())
    assert ["anna"] == [user.name for user in await peopled.read(lambda: people.users())]
    await add(peopled, a_key())
    changed = await peopled.write(lambda: keys.change_key(wanted, Rules(), MASTER))
    assert isinstance(changed, InvalidRequest)
    assert a_key() == msgspec.structs.replace((await peopled.read(lambda: keys.keys()))[0], last4="")


async def test_who_is_new_is_made_with_the_key(peopled):
    """By whoever may make them: then, and by them; who is there stays as they are."""
    made = await add(peopled, a_key(user="bo", workspace="green"))
    bo, green = User("bo", "", False, AT, "me"), Workspace("green", "", AT, "me")
    assert (bo, green) == made.new
    assert [bo] == await peopled.read(lambda: people.users("bo"))
    assert [green] == await peopled.read(lambda: people.workspaces("green"))
    assert ("bo", "green") == (made.after.key.user, made.after.key.workspace)
    again = await add(peopled, a_key("k_2", user="anna", workspace="blue"), "text-2")
    assert () == again.new
    assert "premium" == (await peopled.read(lambda: people.users("anna")))[0].tier
    _, held = await peopled.read(lambda: keys.holders(0))
    assert {("k_1", "bo", "default"), ("k_2", "anna", "premium")} == {(one.id, one.user, one.tier) for one in held}


@pytest.mark.parametrize("by", [Principal("admin:bo", "admin", grant=NARROW), Principal("admin:bo", "viewer")])
async def test_who_may_not_make_people_makes_none_on_the_way(peopled, by):
    """A narrowed admin makes keys within their grant, for those who are there; the command is told."""
    for wanted, words in (
        (a_key(user="bo b", grant=NARROW), "There is no user 'bo b'. Make them: `turnout users set 'bo b'`."),
        (a_key(workspace="bleu", grant=NARROW), "Did you mean blue? Make it: `turnout workspaces set bleu`."),
    ):
        refused = await peopled.write(lambda wanted=wanted: keys.add_key(wanted, proof("text-1"), NONE, by))
        assert (404, True) == (refused.status, words in refused.message)
    assert (["anna"], ["blue"], []) == (
        [one.name for one in await peopled.read(lambda: people.users())],
        [one.name for one in await peopled.read(lambda: people.workspaces())],
        await peopled.read(lambda: keys.keys()),
    )


@pytest.mark.parametrize(("wanted", "param"), [(a_key(user="ann"), "user"), (a_key(workspace="bleu"), "workspace")])
async def test_a_change_makes_nobody(peopled, wanted, param):
    """A slip of the pen would take a key from its user."""
    await add(peopled, a_key())
    refused = await peopled.write(lambda: keys.change_key(wanted, Rules(), MASTER))
    assert (param, 404, True) == (refused.param, refused.status, "Did you mean" in refused.message)
    assert ["anna"] == [user.name for user in await peopled.read(lambda: people.users())]


async def test_what_is_not_said_well_is_told(peopled):
    """Two keys of one name need their ids; a name that is not there is a 404."""
    await add(peopled, a_key("k_1", name="app"), "text-1")
    await add(peopled, a_key("k_2", name="app"), "text-2")
    two = await peopled.read(lambda: keys.find_key("app"))
    assert (409, "key") == (two.status, two.param)
    assert "k_1, k_2" in two.message
    none = await peopled.read(lambda: keys.find_key("k_9"))
    assert (404, "key") == (none.status, none.param)
    await peopled.write(lambda: keys.revoke_key("k_1", AT, MASTER))
    assert "k_2" == (await peopled.read(lambda: keys.find_key("app"))).key.id
    assert "k_1" == (await peopled.read(lambda: keys.find_key("k_1"))).key.id


async def test_an_id_that_is_another_keys_name_is_the_ids(peopled):
    """Nobody can name a key so that another is meant by it."""
    await add(peopled, a_key("k_1"), "text-1")
    await add(peopled, a_key("k_2", name="k_1"), "text-2")
    assert "k_1" == (await peopled.read(lambda: keys.find_key("k_1"))).key.id


async def test_a_key_is_changed_whole_and_its_text_stays(peopled):
    """Name, user, workspace, tier, grant and rules."""
    made = await add(peopled, a_key(name="old"))
    wanted = a_key(name="new", workspace="blue", tier="gold", grant=NARROW)
    rules = Rules(Limit("key", "k_1", Rates(1)))
    changed = await peopled.write(lambda: keys.change_key(wanted, rules, MASTER))
    assert made.after == changed.before
    assert ("new", "sales", "gold", NARROW, rules) == (
        changed.after.key.name,
        changed.after.key.team,
        changed.after.key.tier,
        changed.after.key.grant,
        changed.after.rules,
    )
    assert proof("text-1").hash == (await holders(peopled))["k_1"].hash


async def test_rotating_leaves_the_old_text_only_as_long_as_was_said(peopled):
    """At once, or until an instant."""
    await add(peopled, a_key())
    done = await peopled.write(lambda: keys.rotate_key("k_1", proof("text-2"), AT + 60.5, MASTER))
    assert ("xt-1", "xt-2", AT + 60.5) == (done.before.key.last4, done.after.key.last4, done.after.key.old_until)
    held = (await holders(peopled))["k_1"]
    assert (proof("text-2").hash, proof("text-1").hash, AT + 60.5) == (held.hash, held.old_hash, held.old_until)
    await peopled.write(lambda: keys.rotate_key("k_1", proof("text-3"), 0, MASTER))
    held = (await holders(peopled))["k_1"]
    assert (proof("text-3").hash, None, 0) == (held.hash, held.old_hash, held.old_until)


async def test_revoking_is_for_good(peopled):
    """Whatever is tried with the key afterwards; its rules go, its row stays."""
    await add(peopled, a_key(), rules=Rules(Limit("key", "k_1", Rates(1))))
    done = await peopled.write(lambda: keys.revoke_key("k_1", AT + 5, MASTER))
    assert (AT + 5, 1, Rules()) == (done.after.key.revoked_at, done.keys, done.after.rules)
    for again in (
        lambda: keys.revoke_key("k_1", AT + 6, MASTER),
        lambda: keys.rotate_key("k_1", proof("text-2"), 0, MASTER),
        lambda: keys.change_key(a_key(), Rules(), MASTER),
    ):
        refused = await peopled.write(again)
        assert (409, "Key k_1 was revoked: make another.") == (refused.status, refused.message)
    for gone in (
        lambda: keys.revoke_key("k_9", AT, MASTER),
        lambda: keys.rotate_key("k_9", proof("x"), 0, MASTER),
        lambda: keys.change_key(a_key("k_9"), Rules(), MASTER),
    ):
        assert 404 == (await peopled.write(gone)).status


async def test_nobody_gives_or_touches_more_than_they_have(peopled):
    """A grant within the giver's own, before and after the change."""
    some = Principal("admin:bo", "admin", grant=Grant(models=frozenset({"glm", "gemma"})))
    assert isinstance(await add(peopled, a_key(), by=some), PermissionDenied)
    assert isinstance(await add(peopled, a_key(grant=NARROW), by=some), Changed)
    assert isinstance(await add(peopled, a_key("k_2"), "text-2"), Changed)
    wider = await peopled.write(lambda: keys.change_key(a_key(), Rules(), some))
    assert "`models` must be some of gemma, glm" in wider.message
    for beyond in (
        lambda: keys.change_key(a_key("k_2", grant=NARROW), Rules(), some),
        lambda: keys.rotate_key("k_2", proof("text-3"), 0, some),
        lambda: keys.revoke_key("k_2", AT, some),
    ):
        assert isinstance(await peopled.write(beyond), PermissionDenied)
    assert isinstance(await peopled.write(lambda: keys.revoke_key("k_1", AT, some)), Changed)


# ── whom keys prove ──


async def test_a_holder_has_what_user_and_workspace_say(peopled):
    """The tier is the user's, else the key's, else the default one."""
    await add(peopled, a_key("k_1", user="anna", workspace="blue", grant=NARROW), "text-1")
    await add(peopled, a_key("k_2", tier="enterprise"), "text-2")
    await add(peopled, a_key("k_3"), "text-3")
    number = await peopled.read(latest)
    assert (
        Holder(
            *("k_1", "key", "anna", "blue", "sales", "premium", NARROW, proof("text-1").hash, None, 0, "", number - 2)
        )
        == (await holders(peopled))["k_1"]
    )
    assert ["premium", "enterprise", "default"] == [one.tier for one in (await holders(peopled)).values()]


async def test_only_what_changed_since_is_told_and_all_that_it_changes(peopled):
    """A user who is blocked, a workspace that moves, a key that is revoked: their keys are told anew, with a higher number."""
    await add(peopled, a_key("k_1", user="anna"), "text-1")
    await add(peopled, a_key("k_2", workspace="blue"), "text-2")
    seen = await peopled.read(latest)
    assert (seen, []) == await peopled.read(lambda: keys.holders(seen))

    await peopled.write(lambda: people.put_user("anna", None, True, AT, "me"))
    (blocked,) = (await holders(peopled, seen)).values()
    assert ("k_1", "its user is blocked", seen + 1) == (blocked.id, blocked.refusal, blocked.revision)
    await peopled.write(lambda: people.put_workspace("blue", "", AT, "me"))
    (moved,) = (await holders(peopled, seen + 1)).values()
    assert ("k_2", "", seen + 2) == (moved.id, moved.team, moved.revision)
    await peopled.write(lambda: people.remove_workspace("blue", AT))
    (revoked,) = (await holders(peopled, seen + 2)).values()
    assert ("k_2", "it was revoked") == (revoked.id, revoked.refusal)


# ── admins ──


def an_admin(name="bo", role="admin", grant=WIDE):
    """An admin as somebody wants them."""
    return Admin(name, role, grant, "adm1", 0, AT, "me", None)


async def add_admin(database, admin, text="text-adm1", by=MASTER):
    """Make an admin."""
    return await database.write(lambda: keys.add_admin(admin, proof(text), by))


async def test_an_admin_is_made_listed_rotated_and_revoked(database):
    """And their name may be used again after that."""
    assert Changed(None, an_admin(grant=NARROW)) == await add_admin(database, an_admin(grant=NARROW))
    assert [an_admin(grant=NARROW)] == await database.read(lambda: keys.admins())
    assert 409 == (await add_admin(database, an_admin(), "text-2")).status
    done = await database.write(lambda: keys.rotate_admin("bo", proof("text-adm2"), AT + 1.0, MASTER))
    assert ("adm1", "adm2", AT + 1.0) == (done.before.last4, done.after.last4, done.after.old_until)
    held = (await holders(database))["bo"]
    assert ("admin", "bo", "", NARROW, proof("text-adm1").hash) == (
        held.role,
        held.user,
        held.tier,
        held.grant,
        held.old_hash,
    )
    done = await database.write(lambda: keys.revoke_admin("bo", AT + 5, MASTER))
    assert (AT + 5, 1) == (done.after.revoked_at, done.keys)
    assert "it was revoked" == (await holders(database))["bo"].refusal
    assert [] == await database.read(lambda: keys.admins())
    again = await add_admin(database, an_admin(role="viewer"), "text-adm1")
    assert Changed(None, an_admin(role="viewer")) == again
    held = (await holders(database))["bo"]
    assert ("viewer", "", None) == (held.role, held.refusal, held.old_hash)


async def test_only_an_owner_makes_or_touches_an_owner(database):
    """An admin makes admins and viewers."""
    refused = await add_admin(database, an_admin(role="owner"), by=ADMIN)
    assert "ask an owner" in refused.message
    await add_admin(database, an_admin("eve", "owner"), "text-eve1")
    for beyond in (
        lambda: keys.rotate_admin("eve", proof("text-2"), 0, ADMIN),
        lambda: keys.revoke_admin("eve", AT, ADMIN),
    ):
        assert isinstance(await database.write(beyond), PermissionDenied)
    assert isinstance(await add_admin(database, an_admin("kim", "viewer"), "text-kim1", ADMIN), Changed)
    assert isinstance(await database.write(lambda: keys.revoke_admin("kim", AT, ADMIN)), Changed)


async def test_an_admin_who_is_not_there_is_told(database):
    """With the nearest name."""
    await add_admin(database, an_admin("kim"))
    wrong = await database.write(lambda: keys.revoke_admin("kin", AT, MASTER))
    assert (404, True) == (wrong.status, "Did you mean kim?" in wrong.message)
    assert 404 == (await database.write(lambda: keys.rotate_admin("x", proof("y"), 0, MASTER))).status
    bad = await add_admin(database, an_admin("a/b"))
    assert isinstance(bad, InvalidRequest)


# ── rows that cannot be read ──


async def test_a_key_whose_row_cannot_be_read_opens_nothing_and_can_only_be_revoked(peopled):
    """What it was narrowed to must not become nothing by a change of its name; all others are as they were."""

    def broken():
        yield Sql("UPDATE virtual_key SET narrowed = ? WHERE id = ?", ("{", "k_1"))

    await add(peopled, a_key("k_1", grant=NARROW), "text-1")
    await add(peopled, a_key("k_2", grant=NARROW), "text-2")
    await peopled.write(broken)
    there = await holders(peopled)
    assert ("its row in the books cannot be read", UNREADABLE) == (there["k_1"].refusal, there["k_1"].grant)
    assert ("", NARROW) == (there["k_2"].refusal, there["k_2"].grant)
    assert [UNREADABLE, NARROW] == [key.grant for key in await peopled.read(keys.keys)]
    refused = await peopled.write(lambda: keys.change_key(a_key("k_1", name="other"), Rules(), MASTER))
    assert (409, True) == (refused.status, "cannot be read" in refused.message)
    assert isinstance(await peopled.write(lambda: keys.revoke_key("k_1", AT, MASTER)), Changed)
    assert "it was revoked" == (await holders(peopled))["k_1"].refusal


async def test_an_admin_whose_row_cannot_be_read_opens_nothing(database):
    """Until they are revoked and made anew."""

    def broken():
        yield Sql("UPDATE admin SET narrowed = ?", ("null",))

    bo = Admin("bo", "admin", WIDE, "xt-1", 0, AT, "me", None)
    await database.write(lambda: keys.add_admin(bo, proof("text-1"), MASTER))
    await database.write(broken)
    assert "its row in the books cannot be read" == (await holders(database))["bo"].refusal
    assert [UNREADABLE] == [one.grant for one in await database.read(keys.admins)]
    await database.write(lambda: keys.revoke_admin("bo", AT, MASTER))
    await database.write(lambda: keys.add_admin(bo, proof("text-2"), MASTER))
    assert "" == (await holders(database))["bo"].refusal

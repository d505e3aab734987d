"""core/books/people.py: teams, workspaces, users, and what each was given."""

from __future__ import annotations

import pytest

from turnout.core.books import people
from turnout.core.books.changes import latest
from turnout.core.books.keys import Key, Proof, add_key, keys
from turnout.core.books.people import Changed, Inherited, Rules, Team, User, Workspace
from turnout.core.books.reading import Broken, RulesRead
from turnout.core.books.statements import Sql
from turnout.core.principal import MASTER, Grant
from turnout.core.rules import Budget, Limit, Rates
from turnout.errors import InvalidRequest

AT = 1_700_000_000


async def make_key(database, id_, *, user="", workspace=""):
    """A virtual key, its hash made of its id."""
    key = Key(id_, "", user, workspace, "", "", Grant(), "last", 0, AT, "me", None)
    rules = Rules(Limit("key", id_, Rates(5)))
    made = await database.write(lambda: add_key(key, Proof(id_.encode().ljust(32), "last"), rules, MASTER))
    assert isinstance(made, Changed), made


async def live(database):
    """The ids of the keys that were not revoked."""
    return [key.id for key in await database.read(lambda: keys())]


@pytest.mark.parametrize("name", ["", "x" * 257, " a", "a ", "a/b", "a\nb", "*"])
async def test_a_name_that_cannot_be_is_refused_and_changes_nothing(database, name):
    """Everywhere that one is made."""
    before = await database.read(latest)
    for made in (
        await database.write(lambda: people.put_team(name, AT, "me")),
        await database.write(lambda: people.put_workspace(name, None, AT, "me")),
        await database.write(lambda: people.put_user(name, None, None, AT, "me")),
    ):
        assert isinstance(made, InvalidRequest)
        assert made.param in {"team", "workspace", "user"}
    assert before == await database.read(latest)


async def test_a_team_is_made_once_and_listed(database):
    """Made again, it stays who made it first; and the number of changes moves."""
    first = await database.write(lambda: people.put_team("sales", AT, "anna"))
    again = await database.write(lambda: people.put_team("sales", AT + 9, "bo"))
    team = Team("sales", AT, "anna")
    assert (Changed(None, team), Changed(team, team)) == (first, again)
    assert [team] == await database.read(lambda: people.teams())
    assert 2 == await database.read(latest)


async def test_a_workspace_is_made_moved_and_stays_where_nothing_is_said(database):
    """Its team must be there, and a wrong one is told with the nearest."""
    await database.write(lambda: people.put_team("sales", AT, "me"))
    wrong = await database.write(lambda: people.put_workspace("blue", "sale", AT, "me"))
    assert (404, "team") == (wrong.status, wrong.param)
    assert "Did you mean sales?" in wrong.message
    made = await database.write(lambda: people.put_workspace("blue", "sales", AT, "me"))
    blue = Workspace("blue", "sales", AT, "me")
    assert Changed(None, blue) == made
    assert Changed(blue, blue) == await database.write(lambda: people.put_workspace("blue", None, AT + 1, "x"))
    out = await database.write(lambda: people.put_workspace("blue", "", AT + 1, "x"))
    assert Workspace("blue", "", AT, "me") == out.after
    assert [out.after] == await database.read(lambda: people.workspaces("blue"))


async def test_a_user_is_made_and_changed_field_by_field(database):
    """What is not said stays."""
    made = await database.write(lambda: people.put_user("anna", None, None, AT, "me"))
    assert Changed(None, User("anna", "", False, AT, "me")) == made
    tiered = await database.write(lambda: people.put_user("anna", "premium", None, AT + 1, "x"))
    blocked = await database.write(lambda: people.put_user("anna", None, True, AT + 2, "x"))
    assert User("anna", "premium", False, AT, "me") == tiered.after
    assert User("anna", "premium", True, AT, "me") == blocked.after
    assert [blocked.after] == await database.read(lambda: people.users())


async def test_whoever_is_removed_takes_their_keys_and_rules_along(database):
    """A user's keys, a workspace's, and those of every workspace of a team; nobody else's."""
    await database.write(lambda: people.put_team("sales", AT, "me"))
    for name, team in (("blue", "sales"), ("red", "sales"), ("grey", "")):
        await database.write(lambda name=name, team=team: people.put_workspace(name, team, AT, "me"))
    await database.write(lambda: people.put_user("anna", None, None, AT, "me"))
    for id_, user, workspace in (("k_1", "anna", ""), ("k_2", "", "blue"), ("k_3", "", "red"), ("k_4", "", "grey")):
        await make_key(database, id_, user=user, workspace=workspace)
    await database.write(lambda: people.set_rules("user", "anna", Rules(Limit("user", "anna", Rates(1)))))

    gone = await database.write(lambda: people.remove_user("anna", AT))
    assert (User("anna", "", False, AT, "me"), None, 1) == (gone.before, gone.after, gone.keys)
    assert ["k_2", "k_3", "k_4"] == await live(database)
    gone = await database.write(lambda: people.remove_team("sales", AT))
    assert ("sales", 2) == (gone.before.name, gone.keys)
    assert ["k_4"] == await live(database)
    gone = await database.write(lambda: people.remove_workspace("grey", AT))
    assert ("grey", 1) == (gone.before.name, gone.keys)
    assert [] == await live(database)
    for left in (people.teams, people.workspaces, people.users):
        assert [] == await database.read(lambda left=left: left())
    assert RulesRead([], [], []) == await database.read(people.rules)


async def test_nobody_can_be_removed_who_is_not_there(database):
    """With what to do."""
    for remove, kind in (
        (people.remove_team, "team"),
        (people.remove_workspace, "workspace"),
        (people.remove_user, "user"),
    ):
        done = await database.write(lambda remove=remove: remove("nobody", AT))
        assert (404, kind) == (done.status, done.param)
        assert f"turnout {kind}s set" in done.message


def test_a_wrong_name_of_another_kind_has_no_hint():
    """Where nothing can be made by hand."""
    assert "There is no task 'x'." == people.missing("task", "x", ["long-name"]).message


async def test_rules_are_set_whole_and_a_budget_goes_on_as_it_began(database):
    """What is given anew replaces what was; a period that was there keeps its beginning."""
    monthly = Budget("key:k_1/30d", "key", "k_1", 10, period="30d", starts_at=AT)
    daily = Budget("key:k_1/day", "key", "k_1", 5, period="day")
    limit = Limit("key", "k_1", Rates(100, 5000, 3))
    await database.write(lambda: people.set_rules("key", "k_1", Rules(limit, (monthly, daily))))
    await database.write(lambda: people.set_rules("team", "t", Rules(Limit("team", "t", Rates(7)))))
    assert Rules(limit, (monthly, daily)) == await database.read(lambda: people.rules_of("key", "k_1"))
    read = await database.read(people.rules)
    assert RulesRead([limit, Limit("team", "t", Rates(7))], [monthly, daily], []) == read

    later = Budget("key:k_1/30d", "key", "k_1", 20, period="30d", starts_at=AT + 999)
    await database.write(lambda: people.set_rules("key", "k_1", Rules(None, (later,))))
    kept = Budget("key:k_1/30d", "key", "k_1", 20, period="30d", starts_at=AT)
    assert Rules(None, (kept,)) == await database.read(lambda: people.rules_of("key", "k_1"))
    await database.write(lambda: people.drop_rules("key", "k_1"))
    assert Rules() == await database.read(lambda: people.rules_of("key", "k_1"))


async def test_a_rule_that_cannot_be_read_stays_until_one_of_its_kind_replaces_it(database):
    """So that nobody is freed of a limit by a change of something else; whoever goes takes it along."""

    def broken():
        yield Sql("UPDATE rule SET body = ? WHERE scope = ? AND name = ? AND kind = ?", ("{", "user", "anna", "limit"))

    limit, daily = Limit("user", "anna", Rates(1)), Budget("user:anna/day", "user", "anna", 5, period="day")
    await database.write(lambda: people.set_rules("user", "anna", Rules(limit, (daily,))))
    await database.write(broken)
    row = Broken("user", "anna", "limit")
    assert RulesRead([], [daily], [row]) == await database.read(people.rules)
    await database.write(lambda: people.set_rules("user", "anna", Rules()))
    assert Rules(None, (), ("limit",)) == await database.read(lambda: people.rules_of("user", "anna"))
    await database.write(lambda: people.set_rules("user", "anna", Rules(limit)))
    assert Rules(limit) == await database.read(lambda: people.rules_of("user", "anna"))
    await database.write(broken)
    await database.write(lambda: people.drop_rules("user", "anna"))
    assert RulesRead([], [], []) == await database.read(people.rules)


async def test_what_a_key_has_from_whom_it_belongs_to(database):
    """Its user's tier; what each of its user, its workspace and that one's team was given; nothing from nobody."""
    limit, budget = Limit("team", "sales", Rates(7)), Budget("user:anna/day", "user", "anna", 5, period="day")
    await database.write(lambda: people.put_user("anna", "premium", None, AT, "me"))
    await database.write(lambda: people.put_user("bo", None, None, AT, "me"))
    await database.write(lambda: people.set_rules("team", "sales", Rules(limit)))
    await database.write(lambda: people.set_rules("user", "anna", Rules(None, (budget,))))
    told = await database.read(lambda: people.inherited("anna", "blue", "sales"))
    assert Inherited("premium", {"user": ("anna", Rules(None, (budget,))), "team": ("sales", Rules(limit))}) == told
    assert Inherited("", {}) == await database.read(lambda: people.inherited("bo", "", ""))
    assert Inherited("", {}) == await database.read(lambda: people.inherited("", "", ""))
    assert Inherited("", {}) == await database.read(lambda: people.inherited("nobody", "", ""))


async def test_what_was_given_by_name(database):
    """Of one scope: limits and budgets together, and which rows cannot be read."""
    limit = Limit("user", "anna", Rates(7))
    budgets = tuple(Budget(f"user:anna/{period}", "user", "anna", 5, period=period) for period in ("day", "month"))
    await database.write(lambda: people.set_rules("user", "anna", Rules(limit, budgets)))
    await database.write(lambda: people.set_rules("team", "sales", Rules(Limit("team", "sales", Rates(1)))))

    def broken():
        yield Sql("INSERT INTO rule (scope, name, kind, body) VALUES ('user', 'bo', 'limit', 'torn')")

    await database.write(broken)
    assert {"anna": Rules(limit, budgets), "bo": Rules(broken=("limit",))} == await database.read(
        lambda: people.given("user")
    )
    assert {} == await database.read(lambda: people.given("key"))

"""T94: no field of anything changes over HTTP unless its route names it, and nobody gives more than they have.

Every route that takes a body gets, one at a time, the name of every column of every table and names made up by chance: each is
a 422, and the database is as it was, to the last value.
"""

from __future__ import annotations

import json
import random
import sqlite3

import msgspec
import pytest

from tests.faults.peopled import bearer, client_of
from tests.rig import CONFIG, Rig
from turnout.api.app import App
from turnout.api.key_forms import KeyChange
from turnout.core.granting import exceeding
from turnout.core.principal import Grant

ROLLOUT = "rollouts:\n  litellm: {{tasks: all, percent: 10, candidate: {{provider: backup}}}}\n"

BODIES = {
    ("POST", "/admin/explain"): ("/admin/explain", {"task": "cheap"}),
    ("PUT", "/admin/rollouts/{name}"): ("/admin/rollouts/litellm", {"percent": 5}),
    ("POST", "/admin/keys"): ("/admin/keys", {"name": "new"}),
    ("PATCH", "/admin/keys/{key}"): ("/admin/keys/app", {"name": "app"}),
    ("POST", "/admin/keys/{key}/rotate"): ("/admin/keys/app/rotate", {"grace_s": 1}),
    ("PUT", "/admin/users/{name}"): ("/admin/users/anna", {"tier": "premium"}),
    ("PUT", "/admin/workspaces/{name}"): ("/admin/workspaces/blue", {"team": "sales"}),
    ("PUT", "/admin/teams/{name}"): ("/admin/teams/sales", {}),
    ("PUT", "/admin/secrets/{provider}"): ("/admin/secrets/stub", {"key": "sk-canary-another-key-9"}),
    ("POST", "/admin/admins"): ("/admin/admins", {"name": "eve", "role": "viewer"}),
    ("POST", "/admin/admins/{name}/rotate"): ("/admin/admins/bo/rotate", {}),
}
"""A body that each route takes."""

WITHOUT = {("POST", "/admin/reload")}
TAKEN = {"percent", *KeyChange.__struct_fields__}
VALUES = ("owner", True, 0, 10**18, [], {"role": "owner"}, None)
REVISION = {"revision", "number"}


def dumped(rig):
    """Every value of every table of the books, but for the audit trail, and of the state."""
    found = {}
    for file in ("books.sqlite3", "state.sqlite3"):
        database = sqlite3.connect(f"file:{rig.home}/home/{file}?mode=ro", uri=True)
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            names = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
            if not table.startswith("audit"):
                found[table] = [
                    dict(zip(names, row, strict=True))
                    for row in database.execute(f"SELECT * FROM {table}")  # noqa: S608 - our own tables
                ]
            else:
                found[table] = [dict.fromkeys(names)]
        database.close()
    return found


def without_writers(dump):
    """Without what a running gateway writes for itself."""
    return {
        table: rows
        for table, rows in dump.items()
        if table in {"team", "workspace", "person", "virtual_key", "admin", "rule", "change", "fact", "rollout_change"}
    }


def columns(rig):
    """The names of all columns that there are."""
    return {name for rows in dumped(rig).values() for row in rows for name in row} | {
        *("role", "is_admin", "hash", "old_hash", "revision", "revoked_at", "created_by", "id", "key_id", "narrowed"),
        *("allowed_routes", "user_role", "spent", "limit_nano_usd", "__class__", "__dict__", "constructor"),
    }


@pytest.fixture
async def rig(tmp_path):
    """With a team, a workspace, a user, a key and an admin."""
    config = CONFIG + ROLLOUT
    for key, region in (("stub-key-1", "eu"), ("backup-key-2", "us")):
        config = config.replace(f"sk-canary-{key}}}", f"sk-canary-{key}, region: {region}}}", 1)
    async with Rig(tmp_path, config=config) as running, running.http() as client:
        for path in ("teams/sales", "workspaces/blue", "users/anna"):
            assert (await client.put(f"/admin/{path}", json={})).status_code == 200
        await client.post("/admin/keys", json={"name": "app", "user": "anna", "workspace": "blue"})
        await client.post("/admin/admins", json={"name": "bo", "role": "admin"})
        yield running


async def test_t94_every_route_that_takes_a_body_is_tried(rig):
    """Taken from the router: a new one is added to the list, or it fails here."""
    routes = App(rig.service)._admin.routes
    there = {(method, route.path) for route in routes for method in route.methods & {"POST", "PUT", "PATCH"}}
    assert there == set(BODIES) | WITHOUT


async def test_t94_a_field_that_a_route_does_not_name_is_refused_and_changes_nothing(rig, size, seed, proof):
    """Columns of ours, names out of attacks on others, and names by chance."""
    chance = random.Random(seed)
    made_up = [
        "".join(chance.choices("abcdefghijklmnop_.-$ æ", k=chance.randrange(1, 30))) for _ in range(size(40, 1000))
    ]
    fields, asked = sorted(columns(rig) | set(made_up)), 0
    before = without_writers(dumped(rig))
    async with rig.http() as client:
        for (method, route), (path, body) in BODIES.items():
            for field in fields:
                if field in body or field in TAKEN or (field in {"blocked", "team", "role"} and route.count("{") == 1):
                    continue
                answer = await client.request(method, path, json={**body, field: chance.choice(VALUES)})
                if answer.status_code != 422:
                    assert field in {
                        "model",
                        "task",
                        "user",
                        "session",
                        "stream",
                        "needs",
                        "input_tokens",
                        "grace_s",
                    }, (
                        route,
                        field,
                        answer.text,
                    )
                    assert answer.status_code == 200
                asked += 1
    assert before == without_writers(dumped(rig))
    proof(f"{asked} bodies with a field that is not the route's: each refused, no value of any table changed")


@pytest.mark.parametrize(
    ("change", "table", "column"),
    [
        ({"name": "other"}, "virtual_key", {"name"}),
        ({"user": ""}, "virtual_key", {"person"}),
        ({"workspace": ""}, "virtual_key", {"workspace"}),
        ({"models": ["first"]}, "virtual_key", {"narrowed"}),
        ({"price_ceiling": "free"}, "virtual_key", {"narrowed"}),
        ({"addresses": ["10.0.0.0/8"]}, "virtual_key", {"narrowed"}),
        ({"expires_at": "2099-01-01T00:00:00Z"}, "virtual_key", {"narrowed"}),
        ({"limit": {"at_once": 1}}, "rule", {"scope", "name", "kind", "body"}),
        ({"budgets": [{"usd": 1}]}, "rule", {"scope", "name", "kind", "body"}),
        ({}, "virtual_key", set()),
    ],
)
async def test_t94_a_change_changes_what_it_says_and_nothing_else(rig, change, table, column):
    """Of the row that it is about; and its revision."""
    before = without_writers(dumped(rig))
    async with rig.http() as client:
        assert (await client.patch("/admin/keys/app", json=change)).status_code == 200
    after = without_writers(dumped(rig))
    differing = {
        (name, field)
        for name, rows in after.items()
        for at, row in enumerate(rows)
        for field, value in row.items()
        if at >= len(before[name]) or before[name][at][field] != value
    }
    assert {(table, one) for one in column} == {(name, field) for name, field in differing if field not in REVISION}
    assert {name for name, field in differing if field in REVISION} == {"virtual_key", "change"}


def some_grant(chance):
    """A grant by chance, as a body has it."""
    return {
        "models": chance.sample(["first", "second", "third"], chance.randrange(4)),
        "tasks": chance.sample(["work", "cheap"], chance.randrange(3)),
        "regions": chance.sample(["eu", "us"], chance.randrange(3)),
        "price_ceiling": chance.choice([None, "free", {"input": 3, "output": 15}]),
        "addresses": chance.choice([[], ["127.0.0.0/8"], ["127.0.0.1"], ["0.0.0.0/0"]]),
        "expires_at": chance.choice([None, "2090-01-01T00:00:00Z", "2099-01-01T00:00:00Z"]),
    }


async def test_t94_nobody_gives_more_than_they_have(rig, size, seed, proof):
    """Admins with grants by chance make and change keys by chance: what comes of it is within the giver's grant."""
    chance = random.Random(seed)
    given = refused = 0
    async with rig.http() as master, client_of(rig) as client:
        for number in range(size(8, 60)):
            body = {"name": f"ad-{number}", "role": "admin", **some_grant(chance)}
            made = (await master.post("/admin/admins", json=body)).json()
            (own,) = [one.grant for one in await rig.service.people.admins() if one.name == f"ad-{number}"]
            headers = bearer(made["key"])
            had = {name: value for name, value in body.items() if name not in {"name", "role"}}
            for _ in range(12):
                wanted = {**had, **dict(chance.sample(list(some_grant(chance).items()), chance.randrange(3)))}
                answer = await client.post("/admin/keys", headers=headers, json=wanted)
                assert answer.status_code in {201, 403}, answer.text
                if answer.status_code == 201:
                    path = f"/admin/keys/{answer.json()['id']}"
                    changed = await client.patch(path, headers=headers, json=some_grant(chance))
                    assert changed.status_code in {200, 403}
                    given += 1
                refused += answer.status_code == 403
            for key in (one.key for one in await rig.service.people.keys()):
                if key.created_by == f"admin:ad-{number}":
                    assert exceeding(key.grant, own) == "", (key.grant, own)
        app = await client.patch("/admin/keys/app", headers=headers, json={"models": ["first"]})
        assert (own == Grant()) == (app.status_code == 200)
    proof(f"{given} keys given within the giver's grant, {refused} refused as beyond it, none beyond")


async def test_t94_an_admin_makes_and_touches_no_owner(rig):
    """And a virtual key not even itself, though its owner is one."""
    async with rig.http() as master, client_of(rig) as client:
        admin = bearer((await master.post("/admin/admins", json={"name": "ad", "role": "admin"})).json()["key"])
        await master.post("/admin/admins", json={"name": "ow", "role": "owner"})
        key = (await master.post("/admin/keys", json={"name": "ow"})).json()
        own = bearer(key["key"])
        for answer in (
            await client.post("/admin/admins", headers=admin, json={"name": "x", "role": "owner"}),
            await client.post("/admin/admins/ow/rotate", headers=admin),
            await client.delete("/admin/admins/ow", headers=admin),
            await client.patch(f"/admin/keys/{key['id']}", headers=own, json={"models": []}),
            await client.post(f"/admin/keys/{key['id']}/rotate", headers=own),
            await client.get("/admin/keys", headers=own),
        ):
            assert (403, "permission_denied") == (answer.status_code, answer.json()["error"]["code"])
        names = [one["name"] for one in (await master.get("/admin/admins")).json()["admins"]]
    assert {"bo", "ad", "ow"} == set(names)


async def test_t94_no_list_tells_a_hash(rig):
    """Answers name their fields one by one."""
    async with rig.http() as client:
        texts = [
            (await client.get(path)).text
            for path in ("/admin/keys?revoked=true", "/admin/keys/app", "/admin/admins", "/admin/users")
        ]
    secrets = [
        value
        for table in ("virtual_key", "admin")
        for row in dumped(rig)[table]
        for value in row.values()
        if type(value) is bytes
    ]
    assert len(secrets) == 2
    for secret in secrets:
        for text in texts:
            assert secret.hex() not in text
            assert msgspec.json.encode(secret).decode().strip('"') not in text
            assert "hash" not in json.dumps(list(json.loads(text)))

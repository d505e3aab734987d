"""The admin routes about who may ask, over HTTP; and what a key then may."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.rig import CONFIG, Rig
from turnout.api.openapi import describe

ASK = {"model": "first", "messages": [{"role": "user", "content": "hej"}]}


@pytest.fixture
async def client(rig):
    """A client with the master key."""
    async with rig.http() as opened:
        yield opened


def bearer(made):
    """The header of a key that was just made."""
    return {"authorization": f"Bearer {made.json()['key']}"}


async def test_a_key_is_made_told_changed_rotated_and_revoked(client):
    """Its text is in two answers, and in no other."""
    made = await client.post("/admin/keys", json={"name": "app", "models": ["first"], "limit": {"at_once": 9}})
    told = made.json()
    assert (201, True) == (made.status_code, told["key"].startswith("sk-turnout-"))
    assert (told["key"][-4:], "master", ["first"]) == (told["ends_in"], told["created_by"], told["models"])
    assert 200 == (await client.post("/v1/chat/completions", json=ASK, headers=bearer(made))).status_code
    shown = (await client.get(f"/admin/keys/{told['id']}")).json()
    assert shown == (await client.get("/admin/keys/app")).json()
    assert {"tier": "default"} == shown.pop("inherited")
    assert shown == {name: told[name] for name in told if name != "key"}
    changed = (await client.patch("/admin/keys/app", json={"name": "app2", "budgets": [{"usd": 5}]})).json()
    assert ("app2", 5.0, 9) == (changed["name"], changed["budgets"][0]["usd"], changed["limit"]["at_once"])
    rotated = await client.post("/admin/keys/app2/rotate", json={"grace_s": 60})
    assert (200, True) == (rotated.status_code, rotated.json()["old_text_until"] is not None)
    for one in (made, rotated):
        assert 200 == (await client.post("/v1/chat/completions", json=ASK, headers=bearer(one))).status_code
    again = await client.post("/admin/keys/app2/rotate")  # a body is not needed
    for one, status in ((made, 401), (rotated, 401), (again, 200)):
        assert status == (await client.post("/v1/chat/completions", json=ASK, headers=bearer(one))).status_code
    revoked = await client.delete("/admin/keys/app2")
    assert "revoked" == revoked.json()["status"]
    refused = await client.post("/v1/chat/completions", json=ASK, headers=bearer(again))
    assert (401, True) == (refused.status_code, "it was revoked" in refused.json()["error"]["message"])
    assert 409 == (await client.delete(f"/admin/keys/{told['id']}")).status_code


async def test_who_is_new_is_made_with_the_key_but_not_by_a_narrowed_admin(client):
    """The answer says who; a second key of theirs makes nobody."""
    eve = await client.post("/admin/admins", json={"name": "eve", "role": "admin", "models": ["first"]})
    wanted = {"user": "anna", "workspace": "blue", "models": ["first"]}
    refused = await client.post("/admin/keys", json=wanted, headers=bearer(eve))
    assert (404, []) == (refused.status_code, (await client.get("/admin/users")).json()["users"])
    made = await client.post("/admin/keys", json=wanted)
    assert (201, {"user": "anna", "workspace": "blue"}) == (made.status_code, made.json()["new"])
    again = await client.post("/admin/keys", json=wanted, headers=bearer(eve))
    assert (201, False) == (again.status_code, "new" in again.json())
    assert ["anna"] == [one["name"] for one in (await client.get("/admin/users")).json()["users"]]


async def test_keys_are_listed_by_whom_they_belong_to(client):
    """And those that were revoked if they are asked for."""
    await client.put("/admin/users/anna", json={})
    await client.put("/admin/workspaces/blue", json={})
    for name, of in (("a", {"user": "anna"}), ("b", {"workspace": "blue"}), ("c", {})):
        await client.post("/admin/keys", json={"name": name, **of})
    await client.delete("/admin/keys/c")

    async def names(query=""):
        return [one["name"] for one in (await client.get(f"/admin/keys{query}")).json()["keys"]]

    assert ["a", "b"] == sorted(await names())
    assert ["a", "b", "c"] == sorted(await names("?revoked=true"))
    assert (["a"], ["b"]) == (await names("?user=anna"), await names("?workspace=blue"))
    assert ["a", "b"] == sorted(await names("?user=&workspace=&revoked="))
    for wrong in ("?revoked=yes", "?users=anna"):
        assert 400 == (await client.get(f"/admin/keys{wrong}")).status_code


async def test_a_key_is_listed_with_what_it_was_given_and_shown_with_what_it_inherits(client):
    """Its own limit and budgets in the list; of one key also what its user, its workspace and that one's team have."""
    await client.put("/admin/teams/sales", json={"budgets": [{"usd": 100}]})
    await client.put("/admin/workspaces/blue", json={"team": "sales"})
    await client.put("/admin/users/anna", json={"tier": "premium", "limit": {"at_once": 3}})
    wanted = {"name": "app", "user": "anna", "workspace": "blue", "limit": {"requests_per_minute": 7}}
    await client.post("/admin/keys", json={**wanted, "budgets": [{"usd": 5, "period": "day"}]})
    await client.post("/admin/keys", json={"name": "bare", "tier": "premium"})
    listed = {one["name"]: one for one in (await client.get("/admin/keys")).json()["keys"]}
    assert (7, [(5, "day")]) == (
        listed["app"]["limit"]["requests_per_minute"],
        [(one["usd"], one["period"]) for one in listed["app"]["budgets"]],
    )
    assert (None, []) == (listed["bare"]["limit"], listed["bare"]["budgets"])
    inherited = (await client.get("/admin/keys/app")).json()["inherited"]
    assert ("premium", {"tier", "user", "team"}) == (inherited["tier"], set(inherited))
    assert ("anna", 3, "sales", 100) == (
        *(inherited["user"]["name"], inherited["user"]["limit"]["at_once"]),
        *(inherited["team"]["name"], inherited["team"]["budgets"][0]["usd"]),
    )
    assert {"tier": "premium"} == (await client.get("/admin/keys/bare")).json()["inherited"]


async def test_users_workspaces_and_teams_are_set_listed_and_removed(client):
    """What is not said stays; removing says how many keys went along."""
    await client.put("/admin/teams/sales", json={"budgets": [{"usd": 100, "period": "week"}]})
    blue = await client.put("/admin/workspaces/blue", json={"team": "sales", "limit": {"tokens_per_minute": 7}})
    assert ("sales", 7) == (blue.json()["team"], blue.json()["limit"]["tokens_per_minute"])
    again = await client.put("/admin/workspaces/blue", json={})
    assert ("sales", 7) == (again.json()["team"], again.json()["limit"]["tokens_per_minute"])
    anna = await client.put("/admin/users/anna", json={"tier": "premium", "blocked": False})
    assert ("premium", False) == (anna.json()["tier"], anna.json()["blocked"])
    made = await client.post("/admin/keys", json={"user": "anna", "workspace": "blue"})
    assert ("sales", "") == (made.json()["team"], made.json()["tier"])
    lists = {kind: (await client.get(f"/admin/{kind}")).json()[kind] for kind in ("users", "workspaces", "teams")}
    assert (["anna"], ["blue"], ["sales"]) == tuple([one["name"] for one in rows] for rows in lists.values())
    assert {"revoked_keys": 1} == (await client.delete("/admin/users/anna")).json()
    assert {"revoked_keys": 0} == (await client.delete("/admin/workspaces/blue")).json()
    assert {"revoked_keys": 0} == (await client.delete("/admin/teams/sales")).json()
    assert 404 == (await client.delete("/admin/teams/sales")).status_code


async def test_admins_are_made_rotated_and_revoked(client):
    """And may what their role says."""
    made = await client.post("/admin/admins", json={"name": "vi", "role": "viewer"})
    assert (201, True) == (made.status_code, made.json()["key"].startswith("sk-turnout-admin-"))
    assert 200 == (await client.get("/admin/config", headers=bearer(made))).status_code
    assert 403 == (await client.post("/admin/reload", headers=bearer(made))).status_code
    assert 403 == (await client.post("/v1/chat/completions", json=ASK, headers=bearer(made))).status_code
    rotated = await client.post("/admin/admins/vi/rotate")
    assert (401, 200) == tuple(
        [(await client.get("/admin/config", headers=bearer(one))).status_code for one in (made, rotated)]
    )
    assert ["vi"] == [one["name"] for one in (await client.get("/admin/admins")).json()["admins"]]
    assert "revoked" == (await client.delete("/admin/admins/vi")).json()["status"]
    assert 401 == (await client.get("/admin/config", headers=bearer(rotated))).status_code


# ── what a key may ──


async def test_a_key_asks_for_what_it_is_granted_and_is_shown_no_more(client):
    """403, which says what may be asked; and the list of models."""
    made = await client.post("/admin/keys", json={"models": ["second"]})
    refused = await client.post("/v1/chat/completions", json=ASK, headers=bearer(made))
    error = refused.json()["error"]
    assert (403, "permission_denied", "model") == (refused.status_code, error["code"], error["param"])
    assert "which may ask second" in error["message"]
    task = await client.post("/v1/chat/completions", json=ASK | {"model": "task:work"}, headers=bearer(made))
    assert (200, "second") == (task.status_code, task.headers["x-turnout-model"])
    models = (await client.get("/v1/models", headers=bearer(made))).json()["data"]
    assert ["second", "task:work"] == [one["id"] for one in models]
    assert 403 == (await client.get("/metrics", headers=bearer(made))).status_code


async def test_a_key_is_its_workspaces_whatever_a_header_says(tmp_path):
    """What one workspace has asked no other sees; a key that names another's is told so."""
    async with Rig(tmp_path, config=CONFIG + "cache: {{ttl: 60}}\n") as rig, rig.http() as client:
        keys = []
        for name in ("blue", "red"):
            await client.put(f"/admin/workspaces/{name}", json={})
            keys.append(await client.post("/admin/keys", json={"workspace": name}))
        keys.append(await client.post("/admin/keys", json={}))
        answers = [await client.post("/v1/chat/completions", json=ASK, headers=bearer(key)) for key in keys]
        same = await client.post(
            "/v1/chat/completions", json=ASK, headers=bearer(keys[0]) | {"x-turnout-workspace": "blue"}
        )
        assert ["miss", "miss", "miss", "hit"] == [one.headers["x-turnout-cache"] for one in (*answers, same)]
        for key, of in ((keys[1], "the workspace red"), (keys[2], "no workspace")):
            refused = await client.post(
                "/v1/chat/completions", json=ASK, headers=bearer(key) | {"x-turnout-workspace": "blue"}
            )
            assert (403, True) == (refused.status_code, of in refused.json()["error"]["message"])


async def test_a_request_is_counted_for_the_keys_user_whatever_it_says(rig, client):
    """In the trace: the key's own user; without one, whom the request names."""
    await client.put("/admin/users/anna", json={})
    own = await client.post("/admin/keys", json={"user": "anna"})
    app = await client.post("/admin/keys", json={})
    users = []
    for key in (own, app):
        asked = ASK | {"user": "bo"}
        answer = await client.post("/v1/chat/completions", json=asked, headers=bearer(key) | {"x-turnout-user": "bo"})
        assert answer.status_code == 200, answer.text
        users.append((await rig.traced())[0].user)
    assert ["anna", "bo"] == users


async def test_a_blocked_user_and_an_expired_key_are_refused(client):
    """And let in again, where that can be."""
    await client.put("/admin/users/anna", json={})
    made = await client.post("/admin/keys", json={"user": "anna"})
    for blocked, status in ((True, 401), (False, 200)):
        await client.put("/admin/users/anna", json={"blocked": blocked})
        assert status == (await client.post("/v1/chat/completions", json=ASK, headers=bearer(made))).status_code
    past = await client.post("/admin/keys", json={"expires_at": "2020-01-01T00:00:00Z"})
    assert (400, "expires_at") == (past.status_code, past.json()["error"]["param"])


async def test_two_changes_at_once_both_hold(client):
    """One after the other; none is lost."""
    await asyncio.gather(*(client.post("/admin/keys", json={"name": f"key-{number}"}) for number in range(8)))
    listed = (await client.get("/admin/keys")).json()["keys"]
    assert {f"key-{number}" for number in range(8)} == {one["name"] for one in listed}


async def test_money_is_a_number_or_a_text_and_a_name_said_twice_counts_once(client):
    """Both exactly; as the description says."""
    for usd in (0.1, "0.1", 5, "5"):
        made = await client.post("/admin/keys", json={"models": ["first", "first"], "budgets": [{"usd": usd}]})
        assert (201, ["first"], float(usd)) == (
            made.status_code,
            made.json()["models"],
            made.json()["budgets"][0]["usd"],
        )


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"budgets": [{"usd": ""}]}, 422),
        ({"budgets": [{"usd": None}]}, 422),
        ({"budgets": [{"usd": 1, "period": "day"}] * 6}, 422),
        ({"budgets": [{"usd": 1, "period": "day"}] * 2}, 400),
        ({"budgets": [{"usd": 0}]}, 400),
        ({"budgets": [{"usd": 0.0000000001}]}, 400),
        ({"budgets": [{"usd": 1, "zone": ""}]}, 400),
        ({"budgets": [{"usd": 1, "zone": "Mars/Olympus"}]}, 400),
        ({"price_ceiling": {"input": "", "output": ""}}, 422),
        ({"price_ceiling": {"input": 1}}, 422),
        ({"addresses": ["example.com"]}, 400),
        ({"addresses": ["192.0.2.7"] * 1001}, 422),
        ({"expires_at": "2000-01-01T00:00:00Z"}, 400),
        ({"expires_at": "9999-12-31T23:59:59-01:00"}, 400),
        ({"name": "a/b"}, 400),
        ({"user": " "}, 400),
        ({"user": "anna", "tier": "premium"}, 400),
        ({"tier": "none such"}, 404),
        ({"models": ["none such"]}, 404),
        ({"models": ["x" * 256] * 300}, 413),
    ],
)
async def test_what_cannot_be_is_refused_with_a_described_status(client, body, status):
    """422 is what the body's shape rules out, 400 what the world does, 404 who is not there; nothing is made."""
    refused = await client.post("/admin/keys", json=body)
    assert status == refused.status_code, refused.text
    assert str(status) in json.loads(describe())["paths"]["/admin/keys"]["post"]["responses"]
    assert [] == (await client.get("/admin/keys")).json()["keys"]


@pytest.mark.parametrize("name", ["", "a/b", " a", "*", "x" * 257])
async def test_an_admin_needs_a_name(client, name):
    """That the books take."""
    assert (await client.post("/admin/admins", json={"name": name, "role": "viewer"})).status_code in {400, 422}

"""The control plane over HTTP."""

import json

import httpx2
import pytest

from tests.rig import CONFIG, KEY, Rig

ROLLOUT = "rollouts:\n  litellm: {{tasks: all, percent: 10, candidate: {{provider: backup}}, include: [boss]}}\n"


@pytest.fixture
async def admin(tmp_path):
    """A gateway with a rollout, and a client with the master key."""
    async with (
        Rig(tmp_path, config=CONFIG + ROLLOUT) as rig,
        httpx2.AsyncClient(base_url=rig.url, headers={"authorization": f"Bearer {KEY}"}) as client,
    ):
        yield client


ROUTES = [
    ("GET", "/admin/rollouts"),
    ("PUT", "/admin/rollouts/litellm"),
    ("GET", "/admin/traces/req_1"),
    ("POST", "/admin/explain"),
    ("GET", "/admin/config"),
    ("GET", "/admin/quotas"),
    ("GET", "/admin/cache"),
    ("DELETE", "/admin/cache"),
    ("POST", "/admin/reload"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("key", ["", "Bearer sk-wrong", "Basic abc"])
async def test_every_route_asks_for_the_key(admin, method, path, key):
    """Authorisation belongs to the handler: 401 without, whatever the body."""
    reply = await admin.request(method, path, headers={"authorization": key}, content=b"{}")
    assert reply.status_code == 401
    assert reply.json()["error"]["code"] == "unauthenticated"


async def test_a_rollout_is_shown_and_set_and_its_new_value_holds_at_once(admin):
    """With where the percentage came from."""
    before = (await admin.get("/admin/rollouts")).json()["rollouts"][0]
    assert (before["name"], before["percent"], before["tasks"]) == ("litellm", 10, "all")
    assert before["from"].endswith("turnout.yaml:20") or "turnout.yaml" in before["from"]
    after = (await admin.put("/admin/rollouts/litellm", json={"percent": 25})).json()
    assert after["percent"] == 25
    assert after["from"].startswith("the admin API, master, 20")
    assert (await admin.get("/admin/rollouts")).json()["rollouts"][0]["percent"] == 25


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        ("/admin/rollouts/litellm", b'{"percent": 101}', 400, "percent"),
        ("/admin/rollouts/litellm", b'{"percent": "x"}', 422, None),
        ("/admin/rollouts/litellm", b'{"percent": 5, "role": "owner"}', 422, None),
        ("/admin/rollouts/litellm", b"not json", 400, None),
        ("/admin/rollouts/litellm", b"", 400, None),
        ("/admin/rollouts/litellm", b"x" * 70_000, 413, None),
        ("/admin/rollouts/litellm", b'{"\xff": 5}', 400, None),
        ("/admin/rollouts/litellm", b"[" * 60_000, 422, None),
        ("/admin/rollouts/nope", b'{"percent": 5}', 404, "name"),
    ],
)
async def test_a_body_that_is_not_what_the_route_takes_changes_nothing(admin, path, body, status, param):
    """Unknown fields included."""
    reply = await admin.put(path, content=body)
    assert (reply.status_code, reply.json()["error"]["param"]) == (status, param)
    assert (await admin.get("/admin/rollouts")).json()["rollouts"][0]["percent"] == 10


async def test_a_trace_is_found_right_after_its_request(admin):
    """By the x-request-id of the answer."""
    answer = await admin.post(
        "/v1/chat/completions", json={"model": "task:work", "messages": [{"role": "user", "content": "hej"}]}
    )
    trace = (await admin.get(f"/admin/traces/{answer.headers['x-request-id']}")).json()
    assert trace["target"] == "task work"
    assert trace["attempts"][0]["outcome"] == "ok"
    missing = await admin.get("/admin/traces/req_nope")
    assert (missing.status_code, missing.json()["error"]["param"]) == (404, "request_id")


async def test_what_would_happen_is_told_without_a_call(admin):
    """The plan, as values and as text."""
    told = (await admin.post("/admin/explain", json={"task": "cheap", "user": "boss"})).json()
    assert told["plan"]["arm"] == "candidate"
    assert [(one["model"], one["provider"]) for one in told["plan"]["choices"]] == [
        ("first", "backup"),
        ("first", "stub"),
    ]
    assert told["plan"]["passed_over"][0]["code"] == "price"
    assert any("third" in line for line in told["text"])
    nobody = await admin.post("/admin/explain", json={"model": "first", "needs": ["wings"], "input_tokens": 10**9})
    assert (nobody.status_code, nobody.json()["plan"]) == (200, None)
    assert nobody.json()["text"][0].startswith("nobody can serve model first: ")
    refused = await admin.post("/admin/explain", json={"task": "nope"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")


async def test_the_config_is_shown_with_origins_and_without_secrets(admin):
    """Where each value came from."""
    body = (await admin.get("/admin/config")).text
    told = json.loads(body)
    assert "turnout.yaml" in told["origins"]["rollouts.litellm.percent"]
    assert "canary" not in body
    assert KEY not in body


async def test_the_quotas_are_told(tmp_path):
    """Each with its numbers; none where none is known."""
    config = CONFIG.replace("key-1}}", "key-1, quota: {{requests_per_minute: 16, margin: 25 %}}}}")
    async with Rig(tmp_path, config=config) as rig, rig.http() as client:
        (told,) = (await client.get("/admin/quotas")).json()["quotas"]
    assert (told["name"], told["account"], told["models"], told["margin"]) == ("stub", "stub", "*", 0.25)
    assert [(one["what"], one["limit"], one["vendor"]) for one in told["gauges"]] == [("requests_minute", 12, 16)]


async def test_the_cache_is_told_and_emptied(tmp_path):
    """All of it, or one workspace's; a parameter that it does not know empties nothing."""
    body = {"model": "first", "messages": [{"role": "user", "content": "hej"}]}
    async with Rig(tmp_path, config=CONFIG + "cache: {{ttl: 60}}\n") as rig, rig.http() as client:
        for _ in range(2):
            await client.post("/v1/chat/completions", json=body)
        told = (await client.get("/admin/cache")).json()
        assert (told["entries"], told["hits"], told["misses"], told["hit_ratio"]) == (1, 1, 1, 0.5)
        wrong = await client.delete("/admin/cache?work_space=blue")
        assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "work_space")
        blue = {"x-turnout-workspace": "blue"}
        await client.post("/v1/chat/completions", json=body, headers=blue)
        assert (await client.delete("/admin/cache?workspace=red")).json() == {"cleared": 0}
        assert (await client.delete("/admin/cache?workspace=")).json() == {"cleared": 1}  # the one of no name, not all
        await client.post("/v1/chat/completions", json=body)
        assert (await client.delete("/admin/cache?workspace=blue")).json() == {"cleared": 1}
        assert (await client.get("/admin/cache")).json()["entries"] == 1
        assert (await client.delete("/admin/cache")).json() == {"cleared": 1}
        assert (await client.get("/admin/cache")).json()["entries"] == 0
        refused = await client.put("/admin/cache")
        assert sorted(refused.headers["allow"].split(", ")) == ["DELETE", "GET", "HEAD"]


async def test_an_unknown_admin_route_is_a_404_in_our_shape(admin):
    """And a wrong method a 405."""
    missing, wrong = await admin.get("/admin/nope"), await admin.delete("/admin/rollouts")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "invalid_request")
    assert (wrong.status_code, sorted(wrong.headers["allow"].split(", "))) == (405, ["GET", "HEAD"])


async def test_a_reload_over_http_says_what_is_wrong_or_which_revision_holds(tmp_path):
    """All valid, or nothing changes."""
    async with (
        Rig(tmp_path) as rig,
        httpx2.AsyncClient(base_url=rig.url, headers={"authorization": f"Bearer {KEY}"}) as client,
    ):
        first = rig.service.snapshot.revision
        rig.config_path.write_text("models: {x: {provider: nobody}}\n")
        refused = await client.post("/admin/reload")
        assert refused.status_code == 422
        assert refused.json()["revision"] == first
        assert "nobody" in refused.json()["problems"][0]
        rig.write_config(CONFIG + ROLLOUT)
        taken = await client.post("/admin/reload")
        assert taken.json()["problems"] == []
        assert taken.json()["revision"] != first

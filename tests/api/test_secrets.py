"""The admin routes about stored keys (T93 has what they are used for)."""

import pytest

from tests.rig import CONFIG, Rig

STORED = CONFIG.replace(
    "models:\n", '  kept: {{kind: compatible, base_url: "{url}/v1", api_key: stored}}\nmodels:\n', 1
)
STORED = STORED.replace("models:\n", "models:\n  fourth: {{provider: kept, price: free}}\n", 1)
KEY = "sk-canary-stored-0123456789-wxyz"
ASK = {"model": "fourth", "messages": [{"role": "user", "content": "hej"}]}


@pytest.fixture
async def rig(tmp_path):
    async with Rig(tmp_path, config=STORED) as made:
        yield made


@pytest.fixture
async def client(rig):
    async with rig.http() as made:
        yield made


async def test_a_key_is_stored_used_at_once_listed_and_forgotten(rig, client):
    """No answer holds more of it than its last four characters."""
    assert (await client.post("/v1/chat/completions", json=ASK)).status_code == 503
    stored = await client.put("/admin/secrets/kept", json={"key": KEY})
    assert {"provider": "kept", "origin": rig.vendor_url, "replaced": False} == stored.json()
    assert (await client.post("/v1/chat/completions", json=ASK)).status_code == 200
    (listed,) = (await client.get("/admin/secrets")).json()["secrets"]
    assert ("kept", rig.vendor_url, "wxyz", "master", "in use") == tuple(
        listed[name] for name in ("provider", "origin", "last4", "set_by", "state")
    )
    assert (await client.put("/admin/secrets/kept", json={"key": "another"})).json()["replaced"]
    assert rig.vendor_url == (await client.delete("/admin/secrets/kept")).json()["origin"]
    assert (await client.post("/v1/chat/completions", json=ASK)).status_code == 503
    assert [] == (await client.get("/admin/secrets")).json()["secrets"]


async def test_each_change_is_in_the_audit_trail_without_the_key(client):
    """With the address before and after."""
    for key in (KEY, "another"):
        await client.put("/admin/secrets/kept", json={"key": key})
    await client.delete("/admin/secrets/kept")
    rows = (await client.get("/admin/audit?what=secret")).json()["rows"]
    assert ["secret.delete", "secret.set", "secret.set"] == [row["action"] for row in rows]
    assert [False, True, True] == [row["after"] is not None for row in rows]
    assert [True, True, False] == [row["before"] is not None for row in rows]
    assert "canary" not in str(rows)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PUT", "/admin/secrets/nobody", {"key": KEY}, 404),
        ("DELETE", "/admin/secrets/kept", None, 404),
        ("PUT", "/admin/secrets/kept", {"key": ""}, 400),
        ("PUT", "/admin/secrets/kept", {"key": "a b"}, 400),
        ("PUT", "/admin/secrets/kept", {"key": KEY, "base_url": "http://evil"}, 422),
        ("PUT", "/admin/secrets/kept", {}, 422),
        ("PUT", "/admin/secrets/kept", {"key": 1}, 422),
    ],
)
async def test_what_cannot_be_is_refused_and_nothing_changes(client, method, path, body, status):
    """A key is never repeated, and where it goes is the config's to say."""
    answer = await client.request(method, path, json=body)
    assert answer.status_code == status
    assert "canary" not in answer.text
    assert [] == (await client.get("/admin/secrets")).json()["secrets"]
